"""What Flyte 2's scripts ask a server for, asked of this machine's journal.

``Artifact.get(...)`` is :func:`perdure.artifacts.get`, ``Artifact.create(...)`` is
:func:`perdure.artifacts.publish`, ``Run.get(...)`` is :func:`perdure.get_run`. New code is better
off with those.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from perdure import _absent, artifacts
from perdure._api.artifacts import checked_partitions
from perdure._serde import typecheck
from perdure.client.handle import Run as Run  # noqa: PLC0414  # theirs is called that
from perdure.client.twofold import Twofold
from perdure.errors import ConfigurationError, NotSupportedError, TypeCheckError

__all__ = ["Artifact"]


def _create(
    value: Any,
    *,
    name: str,
    version: str | None = None,
    description: str | None = None,
    attrs: Mapping[str, str] | None = None,
    kind: str | None = None,
    python_type: Any = None,
    partitions: Mapping[str, Any] | None = None,
    **flyte_options: Any,
) -> artifacts.Artifact:
    """Publish a value.

    Args:
        value: Any value that can be passed to a task.
        name: Name of the artifact.
        version: Name of the version. Default: the next number.
        description: In words; becomes the metadata's ``description``.
        attrs: The metadata.
        kind: What it is.
        python_type: What the value must be.
        partitions: Which part of the whole it is.
        **flyte_options: Flyte 2's other options are refused by name.

    Raises:
        TypeCheckError: The value is not a ``python_type``.
    """
    _refuse("Artifact.create", flyte_options)
    if python_type is not None:
        try:
            value = typecheck.checker(python_type)(value)
        except typecheck.Mismatch as mismatch:
            raise TypeCheckError(f"Artifact.create({name!r}): {mismatch}") from None
    metadata = artifacts.Metadata(
        name=name, version=version, description=description, attrs=attrs, kind=kind,
        partitions=partitions,
    )  # fmt: skip
    return artifacts.published(value, metadata)


def _listall(
    name: str | None = None,
    *,
    limit: int = -1,
    kind: str | None = None,
    latest_per_partition: bool = False,
    partitions: Mapping[str, Any] | None = None,
    **partition_kwargs: Any,
) -> Iterator[artifacts.Artifact]:
    """Yield the versions of an artifact, or the newest of each, newest first.

    Args:
        name: Name of the artifact; None: of each one.
        limit: At most so many; -1: all.
        kind: Only of this kind.
        latest_per_partition: Only the newest of those with the same partitions.
        partitions: Only with these: a value; a list, of which it is one; or a pair of the first and
            the last, both included.
        **partition_kwargs: The same, as keywords.

    Raises:
        ConfigurationError: The versions of one artifact are asked for, but not which.
    """
    if latest_per_partition and name is None:
        raise ConfigurationError("latest_per_partition needs the name of an artifact")
    wanted = {**(partitions or {}), **partition_kwargs}
    found = artifacts.list(name, kind=kind, limit=-1)
    fitting = [each for each in found if _fits(each.partitions, wanted)]
    if latest_per_partition:
        newest = {tuple(each.partitions.items()): each for each in reversed(fitting)}
        fitting = [each for each in fitting if newest[tuple(each.partitions.items())] is each]
    return iter(fitting if limit < 0 else fitting[:limit])


def _fits(partitions: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    return all(key in partitions and _is_one(partitions[key], wanted[key]) for key in wanted)


def _is_one(text: str, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        first, last = map(_text, wanted)
        return first <= text <= last
    return text in map(_text, wanted if isinstance(wanted, list) else [wanted])


def _text(value: Any) -> str:
    return checked_partitions({"value": value})["value"]


def _refuse(method: str, options: Mapping[str, Any]) -> None:
    for option, value in options.items():
        if value is not None:
            raise NotSupportedError(f"{method}({option}=...) is not supported", hint="leave it out")


class Artifact(artifacts.Artifact):
    """Where Flyte 2's scripts look for artifacts."""

    get = artifacts.get
    create = Twofold(_create)
    listall = Twofold(_listall)


def __getattr__(name: str) -> NoReturn:
    _absent.refuse_in(__name__, name)
