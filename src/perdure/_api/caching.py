"""Caching: what users say of it, and what a task's cache keys have in common.

The caller of a cached task works out the key, because it has the function: what its calls have in
common once per function, the digests of the inputs for each call. What went into the key is kept,
too, as a blob of *facts*, so that a miss can be explained to the line of code that differs.
"""

import inspect
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import _serde
from perdure._api.aside import Aside
from perdure._blobs.memory import MemoryBlobs
from perdure._core.ids import DIGEST_BYTES, digest
from perdure._core.model import CachePolicy, ImageRef, InputMark
from perdure._modules import LOADED_MAIN, MAIN, canonical
from perdure._ports import Blobs
from perdure.errors import (
    ConfigurationError,
    NotSupportedError,
    SerializationError,
)

if TYPE_CHECKING:
    from perdure._api.task import Task
    from perdure._version.environment import Environment

_BEHAVIORS = {
    **dict.fromkeys(("auto", "enable", "enabled", "on", "true", "yes"), "auto"),
    **dict.fromkeys(("disable", "off", "false", "no", "none"), "disable"),
    "override": "override",
}
"""What users may say, with the other words that Flyte 2 takes."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_OWN_MODULE = re.compile(rf"\b(?:{MAIN}|{LOADED_MAIN})\.")


@dataclass(frozen=True, slots=True)
class Cache:
    """How the results of a task are kept and found again, in any run.

    A result is found if the task's name and interface, its code, the environment and the inputs
    are what they were. The code is the function and everything of the project that it reaches.
    Failures are never kept.

    Attributes:
        behavior: ``"auto"``: use what is kept, and keep what is new. ``"override"``: without a
            version, run and keep the new result in place of the old one; with one, as ``"auto"``.
            ``"disable"``: neither.
        version_override: A version that stands for code and environment: results are found as long
            as it stays the same, whatever else changes. ``version`` is another name of it.
        serialize: Of identical calls, in whichever runs and processes, one runs; the others wait
            for its result. If it fails, the next one runs.
        ignored_inputs: Names of parameters that make no difference to the result.
        salt: Anything else that makes a difference; another salt is another cache.
        policies: Not supported; give a version.
        max_age: Seconds or timedelta after which a result is no longer used. ``None`` and 0: never.
        version: See ``version_override``.
    """

    behavior: str = "auto"
    version_override: str | None = None
    serialize: bool = False
    ignored_inputs: tuple[str, ...] | str = ()
    salt: str = ""
    policies: Any = None
    max_age: float | timedelta | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        behavior = _BEHAVIORS.get(str(self.behavior).lower())
        if behavior is None:
            raise ConfigurationError(
                f"cache={self.behavior!r} is no way to cache",
                hint='use "auto", "disable", "override" or perdure.Cache(...)',
            )
        ignored = self.ignored_inputs
        ignored = (ignored,) if isinstance(ignored, str) else tuple(ignored)
        versions = {v for v in (self.version_override, self.version) if v is not None}
        if len(versions) > 1:
            raise ConfigurationError(f"Cache: two versions, {' and '.join(sorted(versions))}")
        version = next(iter(versions), None)
        for option, value in (("version", version), ("salt", self.salt), *_named(ignored)):
            if not isinstance(value, str | None):
                raise ConfigurationError(f"Cache({option}={value!r}): give a string")
        if self.policies:
            raise NotSupportedError(
                "Cache(policies=...) is not supported yet",
                hint="give version=...: what your policy returns",
            )
        object.__setattr__(self, "behavior", behavior)
        object.__setattr__(self, "ignored_inputs", ignored)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "version_override", version)
        self.seconds()

    @classmethod
    def of(cls, cache: object) -> "Cache":
        """Return what ``cache=`` means: a cache, a behavior, or none (``None``)."""
        if isinstance(cache, Cache):
            return cache
        return cls("disable" if cache is None or cache is False else str(cache))

    @property
    def is_enabled(self) -> bool:
        """Whether results are kept at all."""
        return self.behavior != "disable"

    @property
    def overwrites(self) -> bool:
        """Whether kept results are of no interest."""
        return self.behavior == "override" and self.version is None

    def seconds(self) -> float | None:
        """Return ``max_age`` in seconds; None for no limit."""
        age = self.max_age
        if isinstance(age, timedelta):
            age = age.total_seconds()
        if age is not None and (isinstance(age, bool) or not isinstance(age, int | float)):
            raise ConfigurationError(f"max_age={age!r}: give seconds or a timedelta")
        if age is not None and not age >= 0:
            raise ConfigurationError(f"max_age={self.max_age!r} cannot be negative")
        return age or None


def _named(names: tuple[object, ...]) -> list[tuple[str, object]]:
    return [("ignored_inputs", name) for name in names]


# --- facts ----------------------------------------------------------------------------------------


class Parameter(msgspec.Struct, frozen=True, array_like=True):
    """A parameter of a task: its name, its type hint, its default as a picture; "" for none."""

    name: str
    hint: str = ""
    default: str = ""


class CodeFact(msgspec.Struct, frozen=True, array_like=True):
    """A function, class or constant that a task reaches, the task's own function included."""

    name: str
    digest: bytes
    source: str


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What the cache keys of a task's calls have in common, in a form that can be compared.

    Attributes:
        task: Full name.
        parameters: Its interface; the one called ``return`` is the result.
        salt: The salt.
        version: What stands for code and environment, if anything does.
        code: The code, the task's own function first.
        environment: Digest of the environment.
        python: Implementation and version of Python.
        packages: Installed packages with their versions.
    """

    task: str
    parameters: tuple[Parameter, ...]
    salt: str = ""
    version: str | None = None
    code: tuple[CodeFact, ...] = ()
    environment: bytes = b""
    python: str = ""
    packages: tuple[tuple[str, str], ...] = ()


encode_facts = msgspec.msgpack.Encoder().encode
decode_facts = msgspec.msgpack.Decoder(Facts).decode

_all_facts = Aside()
"""Those of this process's tasks."""


def policy(task: "Task[..., Any]", image: ImageRef) -> CachePolicy:
    """Return how the values of a task are kept, given what it wants to be installed."""
    cache = task.settings.cache
    facts, version = _facts(task, cache, image)
    return CachePolicy(
        version=version,
        facts=_all_facts.put(encode_facts(facts)),
        overwrite=cache.overwrites,
        max_age=cache.seconds(),
        serialize=cache.serialize,
        ignored=tuple(cache.ignored_inputs),
    )


def store_facts(policy: CachePolicy, blobs: Blobs) -> None:
    """See to it that what went into the keys can be looked at."""
    _all_facts.store(policy.facts, blobs)


def marks(policy: CachePolicy, inputs: _serde.Encoded, blobs: Blobs) -> dict[str, InputMark] | None:
    """Return what the key says of a call's inputs; None if that is for the controller to find out.

    It is where futures are among them: their values are not known yet.
    """
    store_facts(policy, blobs)
    if inputs.needs:
        return None
    return _serde.input_marks(inputs.data, blobs, ignored=policy.ignored)


def _facts(task: "Task[..., Any]", cache: Cache, image: ImageRef) -> tuple[Facts, bytes]:
    """Return what the keys have in common, and its digest."""
    parameters, defaults = _interface(task.signature)
    hints = [(each.name, each.hint) for each in parameters]
    common = (task.name, hints, defaults, cache.salt)
    if cache.version is not None:
        facts = Facts(task.name, parameters, cache.salt, cache.version)
        return facts, _digest(*common, cache.version)
    from perdure._version.code import code_version

    code, surroundings = code_version(task.function), _surroundings(image)
    parts, digests = code.parts, [code.digest, surroundings.digest]
    if task.env.hook is not None:  # what it makes decides what tasks return
        startup = code_version(task.env.hook)
        parts = tuple(dict.fromkeys((*parts, *startup.parts)))
        digests.append(startup.digest)
    facts = Facts(
        task.name,
        parameters,
        cache.salt,
        code=tuple(CodeFact(part.name, part.digest, part.source) for part in parts),
        environment=surroundings.digest,
        python=surroundings.python,
        packages=surroundings.packages,
    )
    return facts, _digest(*common, *digests)


def _surroundings(image: ImageRef) -> "Environment":
    """Return what the task finds installed: what its image says, or what there is here.

    The versions that were first found for an image are kept, so it stands for them.
    """
    from perdure._version.environment import Environment, environment

    if not image.recipe:
        return environment()
    from perdure._api import recipes

    wanted = recipes.known(image)
    return Environment(image.recipe[:DIGEST_BYTES], wanted.python, tuple(recipes.listed(wanted)))


def _interface(signature: inspect.Signature) -> tuple[tuple[Parameter, ...], list[bytes]]:
    """Return the parameters and the result, and the digests of the defaults."""
    parameters, defaults = [], []
    for name, each in signature.parameters.items():
        default, known = _default(each.default)
        parameters.append(Parameter(name, _hint(each.annotation), default))
        defaults.append(known)
    parameters.append(Parameter("return", _hint(signature.return_annotation)))
    return tuple(parameters), defaults


def _hint(hint: Any) -> str:
    """Return a type hint as text that is the same in every process."""
    if hint is inspect.Parameter.empty:
        return ""
    text = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    return _OWN_MODULE.sub(f"{canonical(MAIN)}.", _ADDRESS.sub("", text))


def _default(value: object) -> tuple[str, bytes]:
    """Return a picture of a default and its digest."""
    if value is inspect.Parameter.empty:
        return "", b""
    try:
        encoded = _serde.dumps(value, MemoryBlobs())
    except SerializationError:
        name = type(value).__qualname__
        return f"<{name}>", name.encode()
    return _serde.preview(encoded.data), encoded.digest


def _digest(*parts: object) -> bytes:
    return digest(msgspec.msgpack.encode(parts))
