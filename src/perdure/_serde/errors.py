"""Exceptions to bytes and back, as the class they were.

An exception is taken apart the way ``pickle`` would (``__reduce__``), but every part is encoded on
its own, so that one bad attribute costs that attribute and not the exception. It is put together
without calling a user's ``__init__``, whose signature need not match ``args``: only that of the
nearest built-in class runs. If its class cannot be imported, a class of the same name is made on
the spot below its nearest bases that can, so that ``except KeyError`` still catches.
"""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import errors
from perdure._core.model import Failure
from perdure._modules import LOADED_MAIN, MAIN, canonical
from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde.classes import load_global, reference, type_name
from perdure._serde.decode import loads
from perdure._serde.encode import Unencodable, Writer, dumps
from perdure._serde.format import Encoded, Ext, printable
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader

_PACKAGE = str(Path(errors.__file__).parent) + os.sep
_MAX_CHAIN = 10
_MAX_LINES = 200
_MAX_TEXT = 10_000
_pack = msgspec.msgpack.Encoder().encode


class RemoteTraceback(Exception):
    """The traceback of an error in the process where it was raised, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


def dump_error(error: BaseException, blobs: Blobs, *, retryable: bool) -> Failure:
    """Describe an exception so that :func:`load_error` can bring it back anywhere.

    Args:
        error: As it was caught, with its traceback.
        blobs: Where large attributes are put.
        retryable: The verdict of the retry policy's filter.
    """
    try:
        encoded = dumps(error, blobs)
    except (errors.SerializationError, errors.StorageError):
        encoded = Encoded(b"", b"")  # type, message and traceback still tell what happened
    return Failure(
        type=_qualified(type(error)),
        message=_message(error),
        traceback=_format(error),
        code=error.code if isinstance(error, errors.PerdureError) else "user",
        retryable=retryable,
        payload=encoded.data,
        blobs=encoded.blobs,
    )


def load_error(
    failure: Failure, blobs: Blobs, *, run: str = "", action: str = "", task: str = ""
) -> BaseException:
    """Return the exception a failure stands for, ready to be raised.

    Args:
        failure: What ended the action.
        blobs: Where large attributes are.
        run: Name of the run, for errors that say where they happened and do not know it yet.
        action: Likewise, id (hex) of the action.
        task: Likewise, name of the task.
    """
    error = _load(failure, blobs)
    if isinstance(error, errors.PerdureError):
        error.locate(run=run, action=action, task=task)
    if failure.traceback:
        _root(error).__cause__ = RemoteTraceback(failure.traceback)
    return error


def _load(failure: Failure, blobs: Blobs) -> BaseException:
    if failure.payload:
        try:
            error = loads(failure.payload, blobs)
        except Exception:
            error = None
        if isinstance(error, BaseException):
            return error
    elif failure.code != "user":
        made = errors.by_code(failure.code)(failure.message, hint=failure.hint)
        if isinstance(made, errors.TaskTimeoutError):
            made.limit = failure.message.partition(" ")[0]  # "max_runtime of 60 s passed"
        if isinstance(made, errors.OutOfMemoryError) and failure.memory is not None:
            made.request, made.peak = failure.memory.limit, failure.memory.peak
        return made
    remote = errors.RemoteError(
        f"{failure.type}: {failure.message}",
        hint="the exception itself could not be carried over; its traceback is attached",
    )
    remote.type_name = failure.type
    return remote


def _root(error: BaseException) -> BaseException:
    """Return the deepest explicit cause: the original ``__cause__`` of an error is not touched."""
    for _ in range(_MAX_CHAIN):
        if error.__cause__ is None:
            break
        error = error.__cause__
    return error


def _format(error: BaseException) -> str:
    """Return the traceback as text: the user's frames only; "" if there is none of them.

    A hint is left out: where this is shown the error is, too, and says it.
    """
    try:
        report = traceback.TracebackException.from_exception(error)
        if not _keep_users(report):
            return ""
        text = "".join(report.format()).rstrip()
        if isinstance(error, errors.PerdureError) and error.hint:
            text = text.replace(errors.HINT + error.hint, "")
        return printable(_shortened(text))
    except Exception:
        return f"{_qualified(type(error))}: {_message(error)}"


def _keep_users(report: traceback.TracebackException) -> int:
    """Leave our own frames out, in all linked errors too; return how many frames remain.

    What is left of a recursion through us is one line repeated, which Python then says in two.
    """
    frames = [f for f in report.stack or () if not f.filename.startswith(_PACKAGE)]
    # Without any frame there is nothing that a headline could announce.
    report.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
    linked = (report.__cause__, report.__context__, *(report.exceptions or ()))
    return len(frames) + sum(_keep_users(each) for each in linked if each is not None)


def _shortened(text: str) -> str:
    lines = text.replace(f"{LOADED_MAIN}.", f"{MAIN}.").splitlines()
    if len(lines) > _MAX_LINES:
        left_out = len(lines) - _MAX_LINES
        half = _MAX_LINES // 2
        lines = [*lines[:half], f"  ... {left_out:,} lines left out ...", *lines[-half:]]
    return "\n".join(_cut(line) for line in lines)


def _message(error: BaseException) -> str:
    try:
        return _cut(str(error))
    except Exception as problem:
        return f"<its __str__ failed: {problem!r}>"


def _cut(text: str) -> str:
    """Return the text without the rest of it that nobody would read; the error itself has all."""
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}... ({len(text):,} characters)"


def _qualified(cls: type) -> str:
    return f"{canonical(cls.__module__)}.{cls.__qualname__}"


# --- taking apart ---------------------------------------------------------------------------------


class _Parts:
    """Encodes the parts of an exception one by one, each as a document of its own.

    Attributes:
        lost: Names of the parts that could not be encoded.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.lost: list[str] = []

    def encode(self, name: str, value: object) -> bytes | None:
        with self._writer.attempt():
            try:
                return _pack(self._writer.encode(value))
            except (Unencodable, RecursionError):
                self.lost.append(name)
                return None


def _encode(writer: Writer, error: BaseException) -> Ext:
    cls = type(error)
    parts = _Parts(writer)
    function, args, state = _reduce(error)
    by_user = function is not cls or hasattr(cls.__reduce__, "__code__")
    content: dict[str, Any] = {
        "type": type_name(cls),
        "message": _message(error),
        "name": (canonical(cls.__module__), cls.__qualname__),
        "bases": [name for base in cls.__mro__[1:] if (name := reference(base))],
        "class": parts.encode("its class", cls),
        "make": parts.encode("__reduce__", function) if by_user else None,
        "args": [
            parts.encode(f"args[{i}]", arg) or _pack(_shown(arg)) for i, arg in enumerate(args)
        ],
        "state": {name: parts.encode(name, value) for name, value in state.items()},
        "cause": parts.encode("__cause__", _linked(error.__cause__)),
        "context": parts.encode("__context__", _linked(error.__context__)),
        "suppress": error.__suppress_context__,
    }
    content["lost"] = parts.lost
    return writer.node(f.ERROR, content)


def _linked(error: BaseException | None) -> BaseException | None:
    return None if isinstance(error, RemoteTraceback) else error  # it is in the new traceback


def _reduce(error: BaseException) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    try:
        reduced: Any = error.__reduce__()
        function, args, *rest = reduced
        return function, args, dict(rest[0]) if rest and rest[0] else {}
    except Exception:
        return type(error), error.args, error.__dict__


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type_name(type(value))}>"


# --- putting together -----------------------------------------------------------------------------


@decodes(f.ERROR)
def _decode(reader: "Reader", payload: memoryview) -> BaseException:
    content = reader.decode(payload)
    args = [_try(reader, part, "<lost>") for part in content["args"]]
    state = {name: _try(reader, part, None) for name, part in content["state"].items() if part}
    error = _make(reader, content, args, state)
    error.__cause__ = _try(reader, content["cause"], None)
    error.__context__ = _try(reader, content["context"], None)
    error.__suppress_context__ = content["suppress"]
    if content["lost"]:
        error.add_note(f"could not be carried over: {', '.join(content['lost'])}")
    return error


def _try(reader: "Reader", part: bytes | None, default: object) -> Any:
    if part is None:
        return default
    try:
        return reader.decode(part)
    except Exception:
        return default


def _make(
    reader: "Reader", content: dict[str, Any], args: list[Any], state: dict[str, Any]
) -> BaseException:
    cls = _try(reader, content["class"], None)
    make = _try(reader, content["make"], None)
    attempts: list[Callable[[], BaseException]] = []
    if make is not None:
        attempts.append(lambda: make(*args))
    if isinstance(cls, type) and issubclass(cls, BaseException):
        attempts += [lambda: errors.bare(cls, args), lambda: cls(*args)]
    attempts += [
        lambda: errors.bare(_stand_in(content), args),
        lambda: errors.bare(_stand_in(content), [content["message"]]),
    ]
    for attempt in attempts:
        try:
            error = attempt()
            if isinstance(error, BaseException):
                _set_state(error, state)
                return error
        except Exception:
            continue
    remote = errors.RemoteError(content["message"])
    remote.type_name = content["type"]
    return remote


def _set_state(error: BaseException, state: dict[str, Any]) -> None:
    for name, value in state.items():
        try:
            setattr(error, name, value)
        except (AttributeError, TypeError):
            error.__dict__[name] = value


def _stand_in(content: dict[str, Any]) -> type[BaseException]:
    """Make a class named like the original, below the nearest bases that can be imported."""
    bases: list[type] = []
    for name in content["bases"]:
        try:
            base = load_global(*name)
        except errors.SerializationError:
            continue
        if not any(issubclass(known, base) for known in bases):
            bases.append(base)
    module, qualname = content["name"]
    body = {"__module__": module, "__qualname__": qualname, "__doc__": "Stand-in."}
    name = qualname.rpartition(".")[2]
    try:
        return type(name, tuple(bases), body)
    except TypeError:  # the layouts of the bases do not go together
        return type(name, (bases[0],), body)


def _resolve(cls: type) -> EncodeHandler | None:
    return _encode if issubclass(cls, BaseException) else None


RESOLVERS.append(_resolve)
