"""Published values: ``perdure.artifacts.publish`` gives a value a name and a version.

An artifact outlives the run that made it. Others find it by its name and pass it to their tasks as
if it were its value; where it came from is told by ``perdure lineage NAME``.

In a task, ``publish`` and ``get`` are recorded steps: an attempt that runs again publishes nothing
twice, and gets the version it got before. On an event loop write ``await publish.aio(...)``.
"""

import builtins
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar

import msgspec

from perdure import _serde
from perdure._api import artifacts as _asked
from perdure._api.scope import current
from perdure._core.artifacts import LATEST, ArtifactRow, Publication, Request, Wanted
from perdure.errors import ConfigurationError, NotSupportedError, PerdureError

if TYPE_CHECKING:
    from perdure._ports import Blobs

__all__ = [
    "Artifact",
    "Metadata",
    "Query",
    "get",
    "list",
    "new",
    "publish",
    "query",
    "tag",
    "untag",
]

_LACKING = {
    "Card": "publish a report as an artifact of its own",
    "Daily": "partitions may be any dates",
    "Granularity": "partitions may be any dates",
    "Hourly": "partitions may be any times",
    "Monthly": "partitions may be any texts",
    "TimePartition": "give the partition as a text",
    "TimeRange": "get each version by its partition",
    "Weekly": "partitions may be any texts",
    "produces": "publish what the task returned: perdure.artifacts.new(value, metadata)",
}

P = ParamSpec("P")
T = TypeVar("T")


class Artifact(_serde.Named):
    """A version of a published value. Passed to a task, or returned from one, it is its value.

    Attributes:
        name: Name of the artifact.
        version: Name of this version.
        kind: What it is, such as ``model`` or ``dataset``.
        metadata: What was said about it when it was published.
        partitions: Which part of the whole it is.
        tags: Movable names that pointed to this version when it was looked up.
        created: When it was first published (UTC).
        run: Name of the run that published it, "" if that was done outside any run.
        action: Id (hex) of the action that did, "" outside.
    """

    def __init__(self, row: ArtifactRow) -> None:
        self.name = row.name
        self.version = row.version
        self.kind = row.kind
        self.metadata: dict[str, Any] = msgspec.json.decode(row.metadata)
        self.partitions = row.partitions
        self.tags = row.tags
        self.created = datetime.fromtimestamp(row.created, UTC)
        self.run = row.run
        self.action = row.action.hex()
        self._row = row

    @property
    def label(self) -> str:
        """Name and version as they are written: ``flights@3``."""
        return f"{self.name}@{self.version}"

    @property
    def stored(self) -> _serde.Encoded:
        """The value as it is stored."""
        return _serde.Encoded(self._row.value, self._row.digest, self._row.blobs)

    def value(self) -> Any:
        """Return the value; arrays and tables are read in place.

        Raises:
            BlobMissingError: A part of it is gone.
            BlobCorruptError: A part of it is not what was stored.
        """
        try:
            return _serde.loads(self._row.value, blobs_here())
        except PerdureError as error:  # it knows only which blob
            error.locate(run=self.run, action=self.action, task="")
            error.add_note(f"of artifact {self.label}, which was published there")
            raise

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self._row.key == other._row.key

    def __hash__(self) -> int:
        return hash(self.label)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (msgspec.msgpack.encode(self._row),)


def __getattr__(name: str) -> NoReturn:
    if name in _LACKING:
        raise NotSupportedError(
            f"perdure.artifacts.{name} is not supported yet", hint=_LACKING[name]
        )
    raise AttributeError(f"module 'perdure.artifacts' has no attribute {name!r}")


def _restored(row: bytes) -> Artifact:
    return Artifact(msgspec.msgpack.decode(row, type=ArtifactRow))


class _Verb(Generic[P]):
    """A function that asks for an artifact, and its awaitable form, ``.aio``."""

    def __init__(self, request: Callable[P, Request]) -> None:
        self._request = request
        functools.update_wrapper(self, request)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Artifact:
        """Do it and wait for it."""
        scope = current()
        request = self._request(*args, **kwargs)
        return Artifact(_outside(request) if scope is None else _asked.ask(scope, request))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> Artifact:
        """Do the same without blocking the event loop."""
        from perdure.client.twofold import on_thread

        scope = current()
        request = await on_thread(functools.partial(self._request, *args, **kwargs))
        if scope is None:
            return Artifact(await on_thread(functools.partial(_outside, request)))
        return Artifact(await _asked.ask_aio(scope, request))

    def __repr__(self) -> str:
        return f"<perdure.artifacts.{self._request.__name__.lstrip('_')}(...), also .aio(...)>"


def _publish(
    value: Any,
    name: str,
    *,
    version: str | None = None,
    kind: str = "generic",
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    partitions: Mapping[str, Any] | None = None,
) -> Request:
    """Give a value a name and a version; it is stored, durably, when this returns.

    What the newest version holds already (value, kind, metadata and partitions) is that version:
    then nothing new is made, and only the tags are moved.

    Args:
        value: Any value that can be passed to a task.
        name: Name of the artifact, such as ``flights`` or ``team/flights``.
        version: Name of the version. Default: the next number, from 1.
        kind: What it is: ``"model"``, ``"dataset"``, any word.
        metadata: What is worth knowing about it, JSON-able.
        tags: Names that point to this version from now on, and to no other of this artifact.
        partitions: Which part of the whole it is, such as ``{"date": date.today()}``.

    Returns:
        The version.

    Raises:
        ArtifactConflictError: The version exists with another content.
        ConfigurationError: A name, the metadata or a partition makes no sense.
    """
    return _asked.publication(
        value, blobs_here(), name=name, version=version, kind=kind, metadata=metadata, tags=tags,
        partitions=partitions,
    )  # fmt: skip


def _get(name: str, version: str | int = LATEST, **partitions: Any) -> Request:
    """Find a version of an artifact.

    Args:
        name: Name of the artifact, or ``name@version``.
        version: A version or a tag; default: the newest.
        **partitions: Only versions with these partitions: ``get("flights", date="2026-01-31")``.

    Returns:
        The version; passed to a task, it is its value. ``.value()`` gives the value here.

    Raises:
        ArtifactNotFoundError: There is none.
    """
    return _asked.wanted(name, version, partitions)


publish = _Verb(_publish)
get = _Verb(_get)


class Query(_serde.Named):
    """A question for an artifact, answered when it is passed to a task; made by :func:`query`."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def resolved(self) -> Artifact:
        """Return the version that is the answer now."""
        wanted = self._wanted
        return get(wanted.name, wanted.version, **wanted.partitions)

    def value(self) -> Any:
        """Return the value of the version that is the answer now."""
        return self.resolved().value()

    def __repr__(self) -> str:
        return f"<query for {self._wanted.name}@{self._wanted.version}>"


def query(name: str, version: str | int = LATEST, **partitions: Any) -> Query:
    """Return a question for an artifact that is answered when a run or a call is submitted.

    It makes a good default: ``def train(data: Table = perdure.artifacts.query("flights"))``.

    Args:
        name: Name of the artifact, or ``name@version``.
        version: A version or a tag; default: the newest at that time.
        **partitions: Only versions with these partitions.
    """
    return Query(_asked.wanted(name, version, partitions))


def list(  # noqa: A001  # perdure.artifacts.list
    name: str | None = None,
    *,
    kind: str | None = None,
    tag: str | None = None,
    partitions: Mapping[str, Any] | None = None,
    limit: int = 100,
) -> builtins.list[Artifact]:
    """Return the newest version of each artifact, or with ``name`` all versions of that one.

    Args:
        name: Name of an artifact.
        kind: Only of this kind.
        tag: Only versions with this tag.
        partitions: Only versions with these partitions.
        limit: At most so many, newest first.
    """
    from perdure.client import artifacts

    _refuse_in_task("list", "look it up before the run, and pass what you found to the task")
    parts = _asked.checked_partitions(partitions)
    rows = artifacts.listed(name, kind, tag, parts, limit)
    return [Artifact(row) for row in rows]


def tag(name: str, version: str | int = LATEST, *, tags: Iterable[str]) -> Artifact:
    """Let tags point to a version of an artifact, wherever they pointed before.

    Args:
        name: Name of the artifact, or ``name@version``.
        version: A version or another tag; default: the newest.
        tags: The tags.

    Returns:
        The version, as it is now.
    """
    return _retagged(_asked.wanted(name, version, {}), add=tags)


def untag(name: str, version: str | int = LATEST, *, tags: Iterable[str]) -> Artifact:
    """Take tags from a version of an artifact.

    Args:
        name: Name of the artifact, or ``name@version``.
        version: A version or a tag; default: the newest.
        tags: The tags.

    Raises:
        ArtifactNotFoundError: The version does not have one of the tags.
    """
    return _retagged(_asked.wanted(name, version, {}), remove=tags)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What Flyte 2's ``artifacts.new`` is told about a value; see :func:`publish`.

    Attributes:
        name: Name of the artifact.
        version: Name of the version; None: the next number.
        description: In words; becomes the metadata's ``description``.
        attrs: The metadata.
        kind: What it is.
        partitions: Which part of the whole it is.
        card: Not supported yet.
        parents: Not supported: lineage is recorded by itself.
        version_from_content: Has no effect: the same content is always the same version.
    """

    name: str
    version: str | None = None
    description: str | None = None
    attrs: Mapping[str, str] | None = None
    card: Any = None
    kind: str | None = None
    partitions: Mapping[str, Any] | None = None
    parents: Any = None
    version_from_content: bool = False

    def __post_init__(self) -> None:
        if self.card is not None:
            raise NotSupportedError(
                "Metadata(card=...) is not supported yet", hint="put it into attrs"
            )
        if self.parents is not None:
            raise NotSupportedError(
                "Metadata(parents=...) is not supported",
                hint="leave it out: what an artifact was made of is recorded by itself",
            )

    @classmethod
    def create_model_metadata(
        cls,
        *,
        name: str,
        version: str | None = None,
        description: str | None = None,
        card: Any = None,
        framework: str | None = None,
        model_type: str | None = None,
        architecture: str | None = None,
        task: str | None = None,
        modality: tuple[str, ...] = ("text",),
        serial_format: str = "safetensors",
        attrs: Mapping[str, str] | None = None,
        partitions: Mapping[str, Any] | None = None,
    ) -> "Metadata":
        """Describe a model: the kind is ``model``, and what is said here becomes metadata."""
        said = {
            "framework": framework,
            "model_type": model_type,
            "architecture": architecture,
            "task": task,
            "modality": ",".join(modality),
            "serial_format": serial_format,
        }
        known = {key: text for key, text in said.items() if text}
        return cls(
            name=name, version=version, description=description, card=card, kind="model",
            attrs={**(attrs or {}), **known}, partitions=partitions,
        )  # fmt: skip


def new(value: T, metadata: Metadata) -> T:
    """Publish a value as Flyte 2's scripts do, and return it.

    Args:
        value: The value.
        metadata: Its name and more.
    """
    published(value, metadata)
    return value


def published(value: Any, metadata: Metadata) -> Artifact:
    """Publish a value that Flyte 2's metadata describe."""
    about = dict(metadata.attrs or {})
    if metadata.description is not None:
        about["description"] = metadata.description
    return publish(
        value,
        metadata.name,
        version=metadata.version,
        kind=metadata.kind or "generic",
        metadata=about,
        partitions=metadata.partitions,
    )


def blobs_here() -> "Blobs":
    """Return where large values live: those of the action, or of this process's home."""
    from perdure.client import link

    scope = current()
    return link.blobs() if scope is None else scope.blobs


def _outside(request: Request) -> ArtifactRow:
    from perdure.client import artifacts

    if isinstance(request, Publication):
        return artifacts.publish(request)
    return artifacts.find(request)


def _retagged(wanted: Wanted, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Artifact:
    from perdure.client import artifacts

    _refuse_in_task("tag", "give tags= to publish")
    row = artifacts.find(wanted)
    artifacts.tag(row, _asked.checked_tags(add), _asked.checked_tags(remove))
    return Artifact(artifacts.find(Wanted(row.name, row.version)))


def _refuse_in_task(verb: str, hint: str) -> None:
    if current() is not None:
        raise ConfigurationError(
            f"perdure.artifacts.{verb} was called inside an action, which may run again and would "
            "then not see the same",
            hint=hint,
        )
