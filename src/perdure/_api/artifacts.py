"""What users ask of artifacts, checked; and how a task asks.

In a task, publishing and finding are steps: recorded, so that an attempt that runs again neither
publishes twice nor finds another version than the first time.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from perdure import _serde
from perdure._api.scope import Scope
from perdure._api.steps import Step, settled, settled_aio
from perdure._core.artifacts import LATEST, ArtifactRow, Publication, Request, Wanted
from perdure._ports import Blobs
from perdure._secrets import masking
from perdure.errors import ConfigurationError, SerializationError

_NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
_WORD = re.compile(r"\w[\w.+-]*")
_LONGEST = 200

_to_json = msgspec.json.Encoder(order="deterministic").encode


def publication(
    value: object,
    blobs: Blobs,
    *,
    name: str,
    version: str | None,
    kind: str,
    metadata: Mapping[str, Any] | None,
    tags: Iterable[str],
    partitions: Mapping[str, Any] | None,
) -> Publication:
    """Store a value, and return what is to be published.

    Raises:
        ConfigurationError: A name, a tag, the metadata or a partition makes no sense.
        SerializationError: The value cannot be stored, or holds a future.
    """
    checked = (
        _checked_name(name),
        "" if version is None else _checked_word("version", version),
        _checked_word("kind", kind),
    )
    about = _checked_metadata(metadata)
    labels = checked_tags(tags)
    parts = checked_partitions(partitions)
    encoded = _serde.dumps(value, blobs)
    masking.refuse(f"the value published as {name!r}", encoded.data)
    encoded = _serde.store(encoded, blobs)
    if encoded.needs:
        raise SerializationError(
            f"the value published as {name!r} holds a future",
            hint="await it (or take its .result()), and publish what it gives",
        )
    return Publication(*checked, encoded.digest, encoded.data, encoded.blobs, about, labels, parts)


def wanted(name: str, version: str | int, partitions: Mapping[str, Any]) -> Wanted:
    """Return what is to be found; ``name`` may be ``name@version``."""
    name, at, given = name.partition("@")
    if at and version != LATEST:
        raise ConfigurationError(
            f"{name}@{given} is asked for in version {version!r}", hint="give one of them"
        )
    return Wanted(
        _checked_name(name),
        _checked_word("version", given if at else str(version)),
        checked_partitions(partitions),
    )


def checked_partitions(partitions: Mapping[str, Any] | None) -> dict[str, str]:
    """Return partitions as text, keys in order: dates as ISO writes them, the rest by ``str``."""
    texts: dict[str, str] = {}
    for key, value in sorted((partitions or {}).items()):
        if not key.isidentifier():
            raise ConfigurationError(
                f"{key!r} cannot name a partition", hint="use letters, digits and _"
            )
        if not isinstance(value, str | int | float | dt.date):
            raise ConfigurationError(
                f"partition {key} is {value!r}", hint="use a text, a number, a date or a datetime"
            )
        texts[key] = value.isoformat() if isinstance(value, dt.date) else str(value)
    return texts


def _checked_name(name: object) -> str:
    if isinstance(name, str) and len(name) <= _LONGEST and _NAME.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{name!r} cannot be the name of an artifact",
        hint="use up to 200 letters, digits and . _ + - in parts separated by /, "
        'for example name="flights/clean"',
    )


def _checked_word(what: str, text: object) -> str:
    if isinstance(text, str) and len(text) <= _LONGEST and _WORD.fullmatch(text):
        return text
    raise ConfigurationError(
        f"{text!r} cannot be the {what} of an artifact",
        hint='use letters, digits and . _ + -, for example "1.2"',
    )


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags in order, each once; a text is one tag."""
    given = [tags] if isinstance(tags, str) else tags
    return tuple(dict.fromkeys(_checked_word("tag", each) for each in given))


def _checked_metadata(metadata: Mapping[str, Any] | None) -> str:
    try:
        return _to_json(dict(metadata or {})).decode()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"metadata must be what JSON can hold: {error}",
            hint="publish other values as artifacts of their own",
        ) from None


# --- in a task ------------------------------------------------------------------------------------


def ask(scope: Scope, request: Request) -> ArtifactRow:
    """Have the controller do it, as a step of the action; blocks until it is recorded."""
    step = _step(scope, request, blocking=True)
    found = step.lookup()
    if found is None or not settled(found):
        found = step.request(request)
    return _row(found.result())


async def ask_aio(scope: Scope, request: Request) -> ArtifactRow:
    """Do the same on an event loop."""
    step = _step(scope, request, blocking=False)
    found = step.lookup()
    if found is None or not await settled_aio(found):
        found = step.request(request)
    return _row(await found)


def _step(scope: Scope, request: Request, *, blocking: bool) -> Step:
    publishing = isinstance(request, Publication)
    inputs = msgspec.structs.asdict(request)
    if publishing:
        del inputs["value"], inputs["blobs"]  # the digest says it
    name = "artifacts.publish" if publishing else "artifacts.get"
    return Step(scope, name, inputs, blocking=blocking)


def _row(recorded: Any) -> ArtifactRow:
    return msgspec.convert(recorded, ArtifactRow)
