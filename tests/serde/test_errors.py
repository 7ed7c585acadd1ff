"""P11: the original exception, with the remote traceback attached."""

import pickle
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure import errors
from perdure._blobs.memory import MemoryBlobs
from perdure._core import failures
from perdure._core.model import Failure
from perdure._serde import dump_error, dumps, load_error, loads
from perdure._serde.errors import RemoteTraceback


def caught(raise_it: Callable[[], Any]) -> BaseException:
    try:
        raise_it()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def thrown(error: BaseException) -> BaseException:
    def raise_it() -> None:
        raise error

    return caught(raise_it)


def carried(error: BaseException, blobs: MemoryBlobs) -> BaseException:
    failure = dump_error(thrown(error), blobs, retryable=True)
    failure = msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=Failure)
    return load_error(failure, blobs)


class CustomInit(ValueError):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"code {code}: {detail}")
        self.code = code
        self.detail = detail


class NoArgs(Exception):
    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b


class Reduced(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.total = left + right
        self.pair = (left, right)

    def __reduce__(self) -> Any:
        return Reduced, self.pair


class Slotted(KeyError):
    __slots__ = ()


class Application(Exception):
    pass


class OutOfRoom(Application, MemoryError):
    """Its layout is that of Application, and MemoryError has a constructor of its own."""


class Tricky(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Partial(ExceptionGroup):
    def derive(self, excs: Any) -> "Partial":
        return Partial(self.message, excs)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        ValueError(),
        OSError(2, "No such file", "/tmp/x"),
        FileNotFoundError(2, "No such file", "/tmp/x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        StopIteration(5),
        SystemExit(3),
        ImportError("no", name="module", path="/x"),
        CustomInit(5, detail="five"),
        NoArgs(1, 2),
        Reduced(1, 2),
        Slotted("x"),
        OutOfRoom("full"),
        Tricky(1, "\ud800"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_p11_the_class_arguments_and_attributes_come_back(
    error: BaseException, blobs: MemoryBlobs
) -> None:
    result = carried(error, blobs)
    assert type(result) is type(error)
    assert result.args == error.args
    assert {k: v for k, v in vars(result).items() if v} == {
        k: v for k, v in vars(error).items() if v
    }
    for name in ("errno", "filename", "value", "code", "name", "path", "reason"):
        assert getattr(result, name, None) == getattr(error, name, None)
    if not isinstance(error, Tricky):
        assert str(result) == str(error)


def descendants(cls: type[errors.PerdureError]) -> list[type[errors.PerdureError]]:
    return [cls, *(each for below in cls.__subclasses__() for each in descendants(below))]


@pytest.mark.parametrize("cls", descendants(errors.PerdureError), ids=lambda cls: cls.__name__)
def test_p11_each_error_of_ours_comes_back_as_it_was_and_pickles(
    cls: type[errors.PerdureError], blobs: MemoryBlobs
) -> None:
    error = cls("what happened", hint="what to do", run="r", action="a", task="t")
    for result in (carried(error, blobs), pickle.loads(pickle.dumps(error))):
        assert type(result) is cls
        assert (result.args, str(result), vars(result)) == (error.args, str(error), vars(error))


def test_p11_the_remote_traceback_is_attached(blobs: MemoryBlobs) -> None:
    error = caught(lambda: {}["missing"])
    failure = dump_error(error, blobs, retryable=False)
    assert (failure.type, failure.message, failure.code, failure.retryable) == (
        "builtins.KeyError",
        "'missing'",
        "user",
        False,
    )
    result = load_error(failure, blobs)
    assert isinstance(result, KeyError)
    assert isinstance(result.__cause__, RemoteTraceback)
    assert failure.traceback in str(result.__cause__)
    assert '{}["missing"]' in "".join(traceback.format_exception(result))


def test_p11_what_to_do_next_is_said_once_however_often_the_error_was_passed_on(
    blobs: MemoryBlobs,
) -> None:
    error = errors.SecretNotFoundError("there is none", hint="make one")
    for _ in range(3):
        failure = dump_error(thrown(error), blobs, retryable=False)
        loaded = load_error(failure, blobs)
        assert isinstance(loaded, errors.SecretNotFoundError)
        error = loaded
    assert failure.message.endswith(f"{errors.HINT}make one")
    assert "there is none" in failure.traceback
    assert "".join(traceback.format_exception(error)).count("make one") == 1


def test_p11_the_traceback_starts_at_the_users_code(
    blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope: dict[str, Any] = {}
    package = errors.__file__.replace("errors.py", "_worker/fake.py")
    exec(compile("def call(f): f()", package, "exec"), scope)

    def user_code() -> None:
        raise ValueError("here")

    failure = dump_error(caught(lambda: scope["call"](user_code)), blobs, retryable=True)
    assert "user_code" in failure.traceback
    outer = caught(lambda: None if False else scope["call"](user_code))
    outer.__traceback__ = outer.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    assert "fake.py" not in dump_error(outer, blobs, retryable=True).traceback


def test_causes_contexts_and_notes_come_back(blobs: MemoryBlobs) -> None:
    def explicit() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise CustomInit(1, detail="outer") from error

    def implicit() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer")  # noqa: B904

    error = caught(explicit)
    error.add_note("a note")
    result = carried(error, blobs)
    assert result.__notes__ == ["a note"]
    assert repr(result.__cause__) == "KeyError('inner')"
    assert isinstance(result.__cause__.__cause__, RemoteTraceback)  # type: ignore[union-attr]
    assert repr(carried(caught(implicit), blobs).__context__) == "KeyError('inner')"


def test_an_error_that_passes_through_two_processes_keeps_both_tracebacks(
    blobs: MemoryBlobs,
) -> None:
    first = carried(ValueError("deep"), blobs)
    second = carried(first, blobs)
    text = str(second.__cause__)
    assert isinstance(second.__cause__, RemoteTraceback)
    assert text.count("raise error") == 2
    assert second.__cause__.__cause__ is None


def test_groups_come_back_with_their_members(blobs: MemoryBlobs) -> None:
    group = Partial("several", [KeyError("a"), ExceptionGroup("in", [CustomInit(1, detail="d")])])
    result = carried(group, blobs)
    assert isinstance(result, Partial)
    matched, rest = result.split(KeyError)
    assert repr(matched.exceptions) == "(KeyError('a'),)"  # type: ignore[union-attr]
    assert rest.exceptions[0].exceptions[0].detail == "d"  # type: ignore[union-attr]


def test_what_cannot_be_carried_is_dropped_and_noted(blobs: MemoryBlobs) -> None:
    error = CustomInit(1, detail="d")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    error.args = ("text", threading.Lock())
    result = carried(error, blobs)
    assert isinstance(result, CustomInit)
    assert result.detail == "d"
    assert result.args[0] == "text"
    assert "_thread.lock" in result.args[1]
    assert not hasattr(result, "lock")
    assert result.__notes__ == ["could not be carried over: args[1], lock"]


def test_a_class_that_cannot_be_imported_is_made_below_its_nearest_bases(
    blobs: MemoryBlobs,
) -> None:
    module = types.ModuleType("gone_errors")
    module.__spec__ = object()  # type: ignore[assignment]
    sys.modules["gone_errors"] = module
    exec(
        "class Base(Exception): pass\nclass Mine(Base, KeyError):\n"
        "    def __init__(self, x): super().__init__(x); self.x = x",
        vars(module),
    )
    failure = dump_error(thrown(module.Mine(5)), blobs, retryable=True)
    del sys.modules["gone_errors"]
    result = load_error(failure, blobs)
    assert isinstance(result, KeyError)
    assert type(result).__name__ == "Mine"
    assert type(result).__module__ == "gone_errors"
    assert result.args == (5,)
    assert result.x == 5  # type: ignore[attr-defined]


def test_a_local_class_travels_by_value(blobs: MemoryBlobs) -> None:
    class Local(CustomInit):
        pass

    result = carried(Local(1, detail="d"), blobs)
    assert isinstance(result, CustomInit)
    assert type(result).__qualname__ == Local.__qualname__
    assert result.detail == "d"


def test_errors_are_values_too(blobs: MemoryBlobs) -> None:
    result = loads(dumps([KeyError("a"), CustomInit(1, detail="d")], blobs).data, blobs)
    assert repr(result[0]) == "KeyError('a')"
    assert result[1].detail == "d"


def test_our_errors_learn_where_they_happened(blobs: MemoryBlobs) -> None:
    failure = dump_error(errors.TaskTimeoutError("late", run="known"), blobs, retryable=True)
    assert failure.code == "timeout"
    result = load_error(failure, blobs, run="r", action="a", task="t")
    assert isinstance(result, errors.TaskTimeoutError)
    assert (result.run, result.action, result.task) == ("known", "a", "t")


def test_a_failure_made_by_the_controller_becomes_the_class_of_its_code(
    blobs: MemoryBlobs,
) -> None:
    failure = Failure(type="perdure.errors.WorkerLostError", message="gone", code="worker_lost")
    result = load_error(failure, blobs, run="r", task="t")
    assert type(result) is errors.WorkerLostError
    assert (result.message, result.run, result.task) == ("gone", "r", "t")


def test_at_the_worst_a_remote_error_says_what_it_was(blobs: MemoryBlobs) -> None:
    for payload in (b"", b"\1\xc1", dumps(5, blobs).data):
        failure = Failure("pkg.Error", "message", "Traceback ...", payload=payload)
        result = load_error(failure, blobs)
        assert isinstance(result, errors.RemoteError)
        assert result.type_name == "pkg.Error"
        assert "message" in result.message


def test_an_endless_chain_of_causes_is_cut(blobs: MemoryBlobs) -> None:
    error = ValueError(0)
    top = error
    for i in range(2000):
        error.__cause__ = ValueError(i)
        error = error.__cause__
    result = carried(top, blobs)
    assert isinstance(result, ValueError)
    assert result.args == (0,)


def test_a_time_limit_that_passed_is_named(blobs):
    failure = failures.timed_out("max_runtime", 60)
    result = load_error(failure, blobs)
    assert isinstance(result, errors.TaskTimeoutError)
    assert result.limit == "max_runtime"


def test_what_a_user_raises_says_what_the_user_said(blobs):
    failure = dump_error(thrown(errors.NonRecoverableError("404")), blobs, retryable=False)
    assert str(load_error(failure, blobs, run="r", action="a", task="t")) == "404"
