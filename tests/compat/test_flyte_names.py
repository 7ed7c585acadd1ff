"""Scripts written for Flyte 2: its names work, or are refused by name."""

import importlib
import logging
from datetime import timedelta

import calls
import pytest

import perdure
from perdure import errors

REFUSED = [
    "CachePolicy", "Cron", "GPU", "Image", "PodTemplate", "Secret",
    "Trigger", "deploy", "serve", "current_project", "remote", "extras",
]  # fmt: skip
OPTIONS = {
    "image": "ghcr.io/a/b:c", "secrets": "KEY", "queue": "gpu",
    "plugin_config": object(), "pod_template": "big", "interruptible": True, "include": ("a",),
    "service_account": "me",
}  # fmt: skip
TASK_OPTIONS = {
    "max_inline_io_bytes": 5, "triggers": (1,),
    "links": (1,), "entrypoint": True, "task_resolver": object(), "produces_artifacts": True,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_lacking_is_refused_by_name(name):
    with pytest.raises(
        errors.NotSupportedError, match=rf"perdure\.{name} is not supported"
    ) as told:
        getattr(perdure, name)
    assert told.value.hint


@pytest.mark.parametrize("name", ["storage", "remote", "git", "extras", "types", "app"])
def test_submodules_are_refused_by_name(name):
    with pytest.raises(errors.NotSupportedError, match=rf"perdure\.{name} is not supported"):
        importlib.import_module(f"perdure.{name}")


def test_other_submodules_are_just_not_there():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("perdure.nonsense")


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_environments_are_refused_by_name(option):
    with pytest.raises(errors.NotSupportedError, match=option):
        perdure.TaskEnvironment("e", **{option: OPTIONS[option]})
    with pytest.raises(errors.NotSupportedError, match=option):
        calls.env.clone_with("e", **{option: OPTIONS[option]})


@pytest.mark.parametrize("option", TASK_OPTIONS)
def test_options_of_tasks_are_refused_by_name(option):
    with pytest.raises(errors.NotSupportedError, match=option):
        calls.env.task(**{option: TASK_OPTIONS[option]})
    with pytest.raises(errors.NotSupportedError, match=option):
        calls.inc.override(**{option: TASK_OPTIONS[option]})


def test_options_that_ask_for_nothing_are_taken():
    perdure.TaskEnvironment(
        "e",
        image="auto",
        secrets=None,
        interruptible=False,
        cache="disable",
        depends_on=[calls.env],
    )
    task = calls.env.task(
        timeout=0, retries=0, report=False, triggers=(), links=(), interruptible=None,
        short_name="nothing",
    )(lambda: None)  # fmt: skip
    assert task.spec().timeout.max_runtime is None


def test_delays_and_resources_as_flyte_writes_them():
    backoff = perdure.Backoff(base=1, factor=1.0, cap=None)
    assert perdure.RetryStrategy(count=2, backoff=backoff).policy().cap >= 3600
    assert perdure.RetryStrategy(count=2, backoff=None).policy().base == 0
    assert perdure.Resources(cpu=None, memory="1Gi", gpu=None).demand().cpu == 1


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"replicas": 2},
        {"replicas": (1, 5), "concurrency": 10},
        {"replicas": 2, "idle_ttl": 60, "concurrency": 100, "scaledown_ttl": 60},
        {"replicas": (0, 1), "idle_ttl": timedelta(hours=1), "scope": "global"},
    ],
)
def test_reusable_environments_as_flyte_writes_them(policy):
    env = perdure.TaskEnvironment("pool", reusable=perdure.ReusePolicy(**policy))

    @env.task
    async def task() -> None: ...

    reuse = task.spec().reuse
    assert reuse.environment == "pool"
    assert reuse.concurrency == policy.get("concurrency", 1)
    assert task.override(reusable="off").spec().reuse.environment == ""
    assert env.clone_with("other", reusable=None)


@pytest.mark.parametrize(
    "cache",
    [
        "auto",
        "override",
        "enable",
        perdure.Cache("auto"),
        perdure.Cache(behavior="override", version_override="v1", ignored_inputs=("b",)),
        perdure.Cache("auto", serialize=True, salt="s", max_age=timedelta(days=1)),
    ],
)
def test_caches_as_flyte_writes_them(cache):
    @perdure.TaskEnvironment("cached", cache=cache).task
    async def task(a: int, b: int = 0) -> int:
        return a

    assert task.spec().cache
    assert not task.override(cache="disable").spec().cache


def test_its_errors_catch_what_they_caught():
    from perdure.errors import OOMError, RuntimeUserError

    assert issubclass(OOMError, MemoryError)
    assert issubclass(KeyError, RuntimeUserError)
    assert errors.ActionAbortedError is errors.CancelledError
    with pytest.raises(AttributeError):
        _ = errors.NoSuchError


@calls.env.task(short_name="codes")
async def codes() -> list[str]:
    found = []
    for call in (calls.afail("x"), calls.fail.aio("y")):
        try:
            await call
        except errors.RuntimeUserError as error:
            found.append(error.code)
    return found


def test_errors_of_children_have_a_code():
    assert perdure.run(codes).result(60) == ["KeyError", "KeyError"]


def test_durable_is_a_module():
    from perdure.durable import now, sleep

    assert (now, sleep) == (perdure.durable.now, perdure.durable.sleep)


@calls.env.task(short_name="logged")
async def logged() -> None:
    perdure.logger.info("number %d", 5)
    perdure.logger.debug("not shown")


def test_the_logger_writes_to_the_log_of_the_task():
    run = perdure.run(logged)
    run.wait(60)
    assert list(run.logs()) == ["INFO number 5"]


def test_the_logger_leaves_it_to_logging_once_that_is_set_up(capsys, monkeypatch):
    kept = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger(), "handlers", [Keep()])
    perdure.logger.warning("careful")
    assert kept == ["careful"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["endpoint", "api_key", "client_id"])
def test_a_server_is_refused(option):
    with pytest.raises(errors.NotSupportedError, match=option):
        perdure.init(**{option: "x"})


def test_what_means_nothing_on_one_machine_is_said():
    with pytest.warns(UserWarning, match="log_level, project") as told:
        perdure.init(log_level="DEBUG", project="p")
    assert told[0].filename == __file__
    with pytest.raises(errors.ConfigurationError, match="nonsense"):
        perdure.init_from_config(nonsense=1)


@pytest.mark.parametrize("name", ["run_start_time", "raw_data_path"])
def test_what_the_context_lacks_is_refused_by_name(name):
    from perdure._api.context import Context

    context = Context.__new__(Context)
    with pytest.raises(errors.NotSupportedError, match=name):
        getattr(context, name)
    assert not hasattr(context, "nonsense")


def test_outputs_wait_for_the_end():
    assert perdure.run(calls.inc, 1).outputs() == (2,)
