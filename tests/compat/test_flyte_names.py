"""Scripts written for Flyte 2: its names work, or are refused by name."""

import importlib
import logging
import pickle
from datetime import UTC, date, datetime, timedelta

import calls
import pytest

import perdure
from perdure import errors

REFUSED = [
    "CachePolicy", "Cron", "TPU", "ImageBuild", "PodTemplate",
    "Trigger", "deploy", "serve", "current_project",
]  # fmt: skip
OPTIONS = {
    "plugin_config": object(), "pod_template": "big", "interruptible": True, "include": ("a",),
    "service_account": "me",
}  # fmt: skip
TASK_OPTIONS = {
    "max_inline_io_bytes": 5, "triggers": (1,), "consumes_artifacts": {"a": 1},
    "links": (1,), "entrypoint": "yes", "task_resolver": object(), "produces_artifacts": (1,),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_lacking_is_refused_by_name(name):
    with pytest.raises(
        errors.NotSupportedError, match=rf"perdure\.{name} is not supported"
    ) as told:
        getattr(perdure, name)
    assert told.value.hint


@pytest.mark.parametrize("name", ["storage", "extras", "app", "app.extras", "remote", "git"])
def test_submodules_can_be_imported_and_what_they_lack_is_refused_by_name(name):
    module = importlib.import_module(f"perdure.{name}")
    with pytest.raises(
        errors.NotSupportedError, match=rf"perdure\.{name}\.Thing is not supported"
    ) as told:
        _ = module.Thing
    assert told.value.hint
    assert not hasattr(module, "__wrapped__")  # Python asks such things of any module


def test_submodules_are_there_without_an_import_of_their_own():
    assert perdure.storage is importlib.import_module("perdure.storage")
    assert perdure.remote.Run is perdure.Run


def test_conditions_of_a_server_are_refused_with_what_runs_have_of_them():
    with pytest.raises(errors.NotSupportedError, match=r"run\.signal"):
        _ = perdure.remote.Condition


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
        short_name="nothing", entrypoint=False, produces_artifacts=False,
    )(lambda: None)  # fmt: skip
    assert task.spec().timeout.max_runtime is None


def test_delays_and_resources_as_flyte_writes_them():
    backoff = perdure.Backoff(base=1, factor=1.0, cap=None)
    assert perdure.RetryStrategy(count=2, backoff=backoff).policy(perdure.Resources()).cap >= 3600
    assert perdure.RetryStrategy(count=2, backoff=None).policy(perdure.Resources()).base == 0
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
    assert task.override(reusable="off").spec().reuse.max_attempts == 1
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


def test_its_errors_take_a_code_and_what_happened():
    told = errors.RuntimeSystemError("lost", "the disk went away")
    assert str(told).startswith("lost: the disk went away")
    assert str(pickle.loads(pickle.dumps(told))) == str(told)
    assert errors.ImageBuildError is errors.EnvironmentBuildError


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("extras", "ContainerTask", "subprocess"),
        ("extras", "Sleep", "durable.sleep"),
        ("_image", "PythonWheels", "with_pip_packages"),
    ],
)
def test_what_a_cluster_does_is_refused_with_what_does_it_here(module, name, instead):
    with pytest.raises(errors.NotSupportedError, match=f"{name} is not supported") as told:
        getattr(importlib.import_module(f"perdure.{module}"), name)
    assert instead in told.value.hint


def test_layers_of_an_image_are_counted_as_there():
    image = perdure.Image.from_debian_base().with_pip_packages("six").with_apt_packages("vim")
    assert len(image._layers) == 2


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


@pytest.mark.parametrize("name", ["version", "raw_data_path"])
def test_what_the_context_lacks_is_refused_by_name(name):
    from perdure._api.context import Context

    context = Context.__new__(Context)
    with pytest.raises(errors.NotSupportedError, match=name):
        getattr(context, name)
    assert not hasattr(context, "nonsense")


def test_outputs_wait_for_the_end():
    assert perdure.run(calls.inc, 1).outputs() == (2,)


def test_how_a_server_is_to_log_is_said_to_mean_nothing():
    with pytest.warns(UserWarning, match="copy_style, log_level") as told:
        runner = perdure.with_runcontext("local", copy_style="all", log_level="DEBUG", project=None)
    assert told[0].filename == __file__
    assert runner.run(calls.inc, 1).result(60) == 2


def test_runs_are_found_as_flyte_finds_them():
    from perdure.remote import Run

    started = perdure.run(calls.inc, 1)
    assert isinstance(started, Run)
    assert Run.get(started.name).sync().result(60) == 2
    listed = Run.listall(in_phase=("failed", "succeeded"), task_name="calls.inc", limit=1)
    assert [each.name for each in listed] == [started.name]
    assert not [*Run.listall(in_phase=("failed",), task_name="calls.inc")]
    with pytest.raises(errors.NotSupportedError, match="sort_by"):
        Run.listall(sort_by=("created_at", "asc"))
    with pytest.raises(errors.NotSupportedError, match="reason"):
        started.abort("enough of it")


OF_RUNS = [
    "abort", "action", "code_bundle", "details", "done", "download_code", "first_failure",
    "get", "get_debug_url", "get_logs", "get_report", "input_literals", "inputs", "listall",
    "name", "output_literals", "outputs", "pb2", "phase", "raise_for_status", "raw_phase",
    "show_logs", "sync", "to_dict", "to_json", "typed_inputs", "typed_outputs", "url", "wait",
    "watch",
]  # fmt: skip


def test_what_runs_have_in_flyte_is_there_or_refused_with_what_to_use_instead():
    run = perdure.Run("nightly")
    lacking = [name for name in OF_RUNS if not hasattr(perdure.Run, name)]
    assert not any(hasattr(run, name) for name in lacking)
    for name in lacking:
        with pytest.raises(errors.NotSupportedError, match=rf"Run\.{name} is not") as told:
            getattr(run, name)
        assert "run." in told.value.hint or "perdure " in told.value.hint
    with pytest.raises(errors.NotSupportedError, match="perdure show nightly --json"):
        run.to_json()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = run.nonsense


def test_the_configuration_of_the_repository_is_looked_for_at_its_root(tmp_path, monkeypatch):
    import subprocess

    from perdure import git

    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.config_from_root() is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert git.config_from_root() is None
    perdure.init_from_config(git.config_from_root())
    (tmp_path / "flyte.yaml").write_text("admin: {}")
    assert git.config_from_root("flyte.yaml").samefile(tmp_path / "flyte.yaml")


def test_a_value_of_any_type():
    from perdure.types import FlytePickle

    @calls.env.task(short_name="pickled")
    def pickled(value: FlytePickle) -> FlytePickle:
        return value

    assert pickled({1, 2}) == {1, 2}
    with pytest.raises(errors.NotSupportedError, match=r"perdure\.types\.TypeEngine"):
        from perdure.types import TypeEngine  # noqa: F401


@calls.env.task(produces_artifacts=True, short_name="making")
async def making(day: date, region: str) -> bytes:
    found = perdure.artifacts.Metadata(
        name="made", partitions={"day": day, "region": region}, description="what was made"
    )
    return perdure.artifacts.new(f"{day} {region}".encode(), found)


@calls.env.task(short_name="making_all")
async def making_all() -> list[bytes]:
    days = [date(2026, 1, day) for day in (1, 2, 3)]
    return [await making(day, region) for day in days for region in ("a", "b")]


@calls.env.task(short_name="using")
async def using(made: bytes) -> int:
    return len(made)


def test_artifacts_are_found_as_flyte_finds_them():
    from perdure.remote import Artifact

    made = perdure.run(making_all).result(60)
    one = Artifact.get("made", day=date(2026, 1, 2), region="b")
    assert one.value() == made[3]
    assert perdure.run(using, one).result(60) == len(made[3])

    again = Artifact.create(b"2026", name="made", partitions={"day": "2026-01-03", "region": "a"})
    span = (date(2026, 1, 2), date(2026, 1, 9))
    assert len(list(Artifact.listall("made", day=span))) == 5
    newest = list(Artifact.listall("made", day=span, region=["a"], latest_per_partition=True))
    assert newest == [again, Artifact.get("made", day=date(2026, 1, 2), region="a")]
    assert list(Artifact.listall("made", partitions={"day": span}, limit=1)) == [again]


def test_artifacts_are_made_as_flyte_makes_them():
    from perdure.remote import Artifact

    described = perdure.artifacts.Metadata.create_model_metadata(name="m", framework="torch")
    assert (described.kind, described.attrs["framework"]) == ("model", "torch")
    perdure.artifacts.new(b"weights", described)
    found = Artifact.get("m")
    assert (found.kind, found.metadata["serial_format"]) == ("model", "safetensors")

    with pytest.raises(errors.TypeCheckError, match="'number'"):
        Artifact.create("one", name="number", python_type=int)
    with pytest.raises(errors.NotSupportedError, match="external_ref"):
        Artifact.create(1, name="number", external_ref="s3://there")
    with pytest.raises(errors.ConfigurationError, match="latest_per_partition"):
        list(Artifact.listall(latest_per_partition=True))
    with pytest.raises(errors.NotSupportedError, match=r"artifacts\.Card"):
        _ = perdure.artifacts.Card
    with pytest.raises(AttributeError):
        _ = perdure.artifacts.Nonsense


@calls.env.task(short_name="when")
async def when() -> list[datetime]:
    return [perdure.ctx().run_start_time, await when_below()]


@calls.env.task(short_name="when_below", retries=1)
async def when_below() -> datetime:
    if perdure.ctx().attempt_number == 0:
        raise ValueError("again")
    return perdure.ctx().run_start_time


def test_all_attempts_of_a_run_know_when_it_was_started():
    before = datetime.now(UTC)
    first, second = perdure.run(when).result(60)
    assert before <= first == second <= datetime.now(UTC)
