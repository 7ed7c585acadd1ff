"""What users say about caching, and what of a task makes its cache keys."""

import importlib
import sys
from datetime import timedelta

import pytest

import perdure
from perdure._core.model import CachePolicy
from perdure.errors import ConfigurationError, NotSupportedError

env = perdure.TaskEnvironment("e", cache="auto")


def policy(task: "perdure.Task[..., object]") -> CachePolicy:
    found = task.spec().cache
    assert found is not None
    return found


# --- what users say -------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["auto", "enable", "Enabled", "on", "TRUE", "yes"])
def test_words_for_caching(word: str) -> None:
    assert perdure.Cache(word).behavior == "auto"


@pytest.mark.parametrize("word", ["disable", "off", "False", "no", "none", False])
def test_words_for_not_caching(word: object) -> None:
    assert env.task(cache=word)(lambda: 1).spec().cache is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"behavior": "always"}, "always"),
        ({"version": "1", "version_override": "2"}, "two versions"),
        ({"version": 1}, "version=1"),
        ({"salt": b"x"}, "salt"),
        ({"ignored_inputs": (1,)}, "ignored_inputs=1"),
        ({"max_age": -1}, "negative"),
        ({"max_age": True}, "max_age=True"),
        ({"max_age": "1d"}, "max_age='1d'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        perdure.Cache(**options)  # type: ignore[arg-type]


def test_policies_are_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="policies"):
        perdure.Cache("auto", policies=[object()])


@pytest.mark.parametrize("where", ["environment", "task", "override"])
def test_nonsense_is_refused_where_it_is_said(where: str) -> None:
    say = {
        "environment": lambda: perdure.TaskEnvironment("f", cache="sometimes"),
        "task": lambda: env.task(cache="sometimes"),
        "override": lambda: env.task(lambda: 1).override(cache="sometimes"),
    }
    with pytest.raises(ConfigurationError, match="no way to cache"):
        say[where]()


def test_ignored_inputs_must_be_parameters_but_for_those_of_an_environment() -> None:
    cache = perdure.Cache(ignored_inputs="stamp")
    with pytest.raises(ConfigurationError, match="no such parameter"):
        env.task(cache=cache)(lambda x: x)
    with pytest.raises(ConfigurationError, match="no such parameter"):
        env.task(lambda x: x).override(cache=cache)
    shared = perdure.TaskEnvironment("shared", cache=cache)
    assert policy(shared.task(lambda x: x)).ignored == ("stamp",)


def test_spellings_of_flyte_2() -> None:
    cache = perdure.Cache("override", "v1", True, ("a",), "salt", None, timedelta(hours=1))
    assert (cache.version, cache.version_override) == ("v1", "v1")
    task = env.task(cache=cache)(lambda a: a)
    found = policy(task)
    assert (found.serialize, found.ignored, found.max_age) == (True, ("a",), 3600.0)
    assert not found.overwrite  # a version is what is overridden
    assert policy(env.task(cache="override")(lambda a: a)).overwrite
    assert perdure.Cache(max_age=0).seconds() is None


def test_the_nearest_word_counts() -> None:
    def function() -> None: ...

    assert policy(env.task(function))
    assert env.task(cache="disable", short_name="other")(function).spec().cache is None
    task = env.task(function)
    assert task.override(cache="disable").spec().cache is None
    assert task.override(cache=None).spec().cache is None
    assert policy(task.override(retries=1)).version == policy(task).version
    assert env.clone_with("g", cache="disable").task(function).spec().cache is None


# --- versions -------------------------------------------------------------------------------------

MODULE = """
import perdure

env = perdure.TaskEnvironment({env!r}, cache={cache})


def helper(x: int) -> int:
    return x + {constant}


def scale() -> int:
    return {scale}


{hook}


@env.task
def task({parameters}) -> {result}:
    return helper(x)
"""
HOOK = "@env.on_start\ndef load():\n    return scale()"

PLAIN = {
    "env": "e", "cache": "perdure.Cache()", "constant": 1, "parameters": "x: int, y: int = 0",
    "result": "int", "hook": "", "scale": 1,
}  # fmt: skip


@pytest.fixture
def version(tmp_path, monkeypatch):
    """Return what gives the version of a module's task."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(**changes: object) -> bytes:
        (tmp_path / "versioned.py").write_text(MODULE.format(**(PLAIN | changes)))
        sys.modules.pop("versioned", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return policy(importlib.import_module("versioned").task).version
        finally:
            sys.dont_write_bytecode = before
            del sys.modules["versioned"]

    return load


def test_the_version_is_the_same_when_nothing_has_changed(version) -> None:
    assert version() == version()


@pytest.mark.parametrize(
    "change",
    [
        {"env": "other"},
        {"cache": "perdure.Cache(salt='x')"},
        {"cache": "perdure.Cache(version='1')"},
        {"constant": 2},
        {"parameters": "x: float, y: int = 0"},
        {"parameters": "x: int, y: int = 1"},
        {"parameters": "x: int, z: int = 0"},
        {"result": "float"},
        {"hook": HOOK},
    ],
)
def test_the_version_changes_with(version, change) -> None:
    assert version(**change) != version()


@pytest.mark.parametrize(
    "change",
    [
        {"cache": "perdure.Cache(serialize=True)"},
        {"cache": "perdure.Cache(max_age=5)"},
        {"cache": "perdure.Cache(behavior='override')"},
        {"cache": "perdure.Cache(ignored_inputs=('y',))"},
    ],
)
def test_the_version_does_not_change_with_how_values_are_used(version, change) -> None:
    assert version(**change) == version()


def test_a_version_of_ones_own_stands_for_the_code_but_not_for_the_interface(version) -> None:
    own = {"cache": "perdure.Cache(version='1')"}
    assert version(**own) == version(**own, constant=2)
    assert version(**own) != version(**own, result="float")
    assert version(**own) != version(cache="perdure.Cache(version='2')")


def test_the_version_changes_with_the_code_that_the_start_up_hook_reaches(version) -> None:
    assert version(hook=HOOK, scale=2) != version(hook=HOOK)
    assert version(scale=2) == version()
