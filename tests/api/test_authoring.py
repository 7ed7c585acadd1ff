"""Tasks, options and bindings outside any run."""

import asyncio
import functools
import importlib
import pickle
import subprocess
import sys
import types
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import workloads as w
from hypothesis import given, settings
from hypothesis import strategies as st

import perdure
from perdure import errors
from perdure._api.occurrence import SMALL, Occurrences
from perdure._core.ids import digest
from perdure._core.model import Reuse

env = perdure.TaskEnvironment("t", env_vars={"B": "2", "A": "1"})


def test_outside_a_run_a_task_is_its_function():
    assert w.double(2) == 4
    assert w.double.forward(2) == 4
    assert w.double.submit(2).result() == 4
    assert asyncio.run(w.triple(2)) == 6
    assert w.triple.submit(2).result() == 6
    assert asyncio.run(w.double.aio(2)) == 4
    assert asyncio.run(w.triple.aio(2)) == 6
    assert w.double.__name__ == "double"
    assert w.double.name == "w.double"


def test_outside_a_run_errors_are_the_originals():
    future = w.fails.submit("k")
    assert isinstance(future.exception(), KeyError)
    with pytest.raises(KeyError):
        future.result()


def test_outside_a_run_map_is_lazy():
    taken = []

    def source():
        for i in range(10):
            taken.append(i)
            yield i

    results = perdure.map(w.double, source())
    assert [next(results), next(results)] == [0, 2]
    assert len(taken) == 2
    results.close()

    async def collect():
        return [r async for r in perdure.map.aio(w.triple, [1, 2])]

    assert asyncio.run(collect()) == [3, 6]


def test_outside_a_run_traces_and_durables_are_ordinary():
    assert w.step(1) == 2
    assert list(w.items(2)) == [0, 1]
    assert asyncio.run(w.step_aio(1)) == 2
    assert abs((perdure.durable.now() - datetime.now(UTC)).total_seconds()) < 60
    assert perdure.durable.uuid4() != perdure.durable.uuid4()
    assert perdure.ctx() is None
    assert perdure.get_custom_context() == {}


def test_map_needs_a_task():
    with pytest.raises(errors.ConfigurationError, match="needs a task"):
        perdure.map(len, [1])


@env.task
def example(a: int, b: float = 1.0, *rest: int, flag: bool = False, **more: str) -> None: ...


@env.task
def positional(a: int, /, b: int) -> tuple[int, int]:
    return a, b


def test_binding_does_not_depend_on_how_arguments_are_given():
    assert w.add.bind((1, 2), {}) == w.add.bind((), {"y": 2, "x": 1, "scale": 1})
    assert list(w.add.bind((), {"y": 2, "x": 1})) == ["x", "y", "scale"]
    bound = example.bind((1, 2, 3), {"flag": True, "note": "n"})
    assert bound == {"a": 1, "b": 2.0, "rest": (3,), "flag": True, "more": {"note": "n"}}
    args, kwargs = example.binder().arguments(bound)
    assert (args, kwargs) == ([1, 2.0, 3], {"flag": True, "note": "n"})
    args, kwargs = positional.binder().arguments(positional.bind((1,), {"b": 2}))
    assert positional.forward(*args, **kwargs) == (1, 2)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("abc", 1), {}, r"task w\.add, parameter x: expected int, got str \('abc'\)"),
        ((1,), {}, r"task w\.add: missing a required argument: 'y'"),
        ((1, 2), {"z": 3}, r"task w\.add: got an unexpected keyword argument 'z'"),
        ((1, 2), {"x": 3}, r"task w\.add: multiple values for argument 'x'"),
        ((1, 2, 3, 4), {}, r"task w\.add: too many positional arguments"),
    ],
)
def test_wrong_arguments_are_told_in_the_caller(args, kwargs, message):
    with pytest.raises(errors.TypeCheckError, match=message) as caught:
        w.add.bind(args, kwargs)
    assert isinstance(caught.value, TypeError)


def test_a_default_is_accepted_whatever_the_hint_says():
    @env.task
    def f(x: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert f.bind((), {}) == f.bind((None,), {}) == {"x": None}


def test_quantities():
    demand = perdure.Resources(cpu="500m", memory="1.5Gi", gpu=2).demand()
    assert (demand.cpu, demand.memory, demand.gpu) == (0.5, 3 << 29, 2)
    assert perdure.Resources(memory="2M").demand().memory == 2_000_000
    for bad in ("1 GB", "-1", "x", -1, float("nan"), True, [1]):
        with pytest.raises(errors.ConfigurationError, match="memory"):
            perdure.Resources(memory=bad)


def test_resources_of_every_kind():
    demand = perdure.Resources(
        cpu=None, disk="1Gi", shm="64Mi", gpu=0.25, custom={"licence": "500m", "b": 2, "c": 0}
    ).demand()
    assert (demand.cpu, demand.disk, demand.shm, demand.gpu) == (1.0, 1 << 30, 64 << 20, 0.25)
    assert demand.custom == (("b", 2.0), ("licence", 0.5))
    assert perdure.Resources(shm="auto").demand().shm == 0


@pytest.mark.parametrize(
    ("gpu", "asked"),
    [
        (2, (2.0, "")), ("1", (1.0, "")), ("0.5", (0.5, "")), ("T4", (1.0, "T4")),
        ("A100_80G:4", (4.0, "A100_80G")), (perdure.GPU("H100", 2), (2.0, "H100")),
        (perdure.Device(1, "GPU"), (1.0, "")), (None, (0.0, "")),
    ],
)  # fmt: skip
def test_gpus_as_flyte_writes_them(gpu, asked):
    demand = perdure.Resources(gpu=gpu).demand()
    assert (demand.gpu, demand.device) == asked


@pytest.mark.parametrize(
    "make",
    [
        lambda: perdure.Resources(gpu=1.5),
        lambda: perdure.Resources(gpu=True),
        lambda: perdure.Resources(gpu="T4:0"),
        lambda: perdure.Resources(custom={"memory": 1}),
        lambda: perdure.Resources(custom=["licence"]),
        lambda: perdure.Resources(custom={"licence": "many"}),
    ],
)
def test_resources_that_make_no_sense_are_refused(make):
    with pytest.raises(errors.ConfigurationError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: perdure.Resources(cpu=(1, 2)),
        lambda: perdure.Resources(memory=("1Gi", "2Gi")),
        lambda: perdure.Resources(gpu="T4 shared:1"),
        lambda: perdure.GPU("A100", 1, "1g.5gb"),
        lambda: perdure.Secret("key", mount="/etc/flyte/secrets"),
        lambda: perdure.TaskEnvironment("e", pod_template="big"),
        lambda: w.double.override(links=[1]),
        lambda: perdure.build_images(),
        lambda: perdure.remote.Task,
        lambda: env.prewarm(),
        lambda: importlib.import_module("perdure.app").AppEnvironment,
    ],
)
def test_an_option_that_is_not_built_is_refused_by_name(make):
    with pytest.raises(errors.NotSupportedError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: env.task(retrys=3),
        lambda: env.task(retries=-1),
        lambda: env.task(timeout=-1),
        lambda: env.task(timeout="soon"),
        lambda: env.task(resources={"cpu": 1}),
        lambda: env.task(env_vars={"A": 1}),
        lambda: perdure.TaskEnvironment(""),
        lambda: perdure.RetryStrategy(1, on=(OSError, "x")),
        lambda: perdure.Backoff(jitter=2),
        lambda: perdure.TaskEnvironment("e", reusable={"replicas": 2}),
        lambda: w.double.override(reusable="on"),
        lambda: perdure.ReusePolicy(replicas=0),
        lambda: perdure.ReusePolicy(replicas=(3, 2)),
        lambda: perdure.ReusePolicy(replicas=(1, 2, 3)),
        lambda: perdure.ReusePolicy(replicas=(-1, 2)),
        lambda: perdure.ReusePolicy(replicas=1.5),
        lambda: perdure.ReusePolicy(concurrency=0),
        lambda: perdure.ReusePolicy(concurrency="many"),
        lambda: perdure.ReusePolicy(idle_ttl=-1),
        lambda: perdure.ReusePolicy(idle_ttl=None),
        lambda: perdure.ReusePolicy(scaledown_ttl="soon"),
        lambda: perdure.ReusePolicy(scope="team"),
        lambda: perdure.ReusePolicy(max_attempts=0),
        lambda: perdure.ReusePolicy(max_attempts=1.5),
        lambda: perdure.ReusePolicy(max_memory="much"),
        lambda: perdure.ReusePolicy(max_memory=0),
        lambda: perdure.TaskEnvironment("e", secrets=5),
        lambda: perdure.TaskEnvironment("e", secrets=[None]),
        lambda: perdure.Secret(""),
        lambda: perdure.Secret("a b"),
        lambda: perdure.Secret("1st"),
        lambda: perdure.Secret("a", as_env_var="MY-KEY"),
        lambda: perdure.Secret("a", as_env_var="A", env_var="B"),
        lambda: perdure.Secret("a", as_env_var="A", file="A"),
        lambda: w.double.override(secrets=["a", perdure.Secret("b", as_env_var="A")]),
        lambda: w.double.override(secrets="a", env_vars={"A": "1"}),
        lambda: env.on_start(5),
        lambda: env.on_start(w.double),
        lambda: env.on_start(lambda model: model),
        lambda: env.on_start(timeout=-1),
    ],
)
def test_an_option_that_makes_no_sense_is_told(make):
    with pytest.raises(errors.ConfigurationError):
        make()


def test_a_misspelt_option_is_recognised():
    with pytest.raises(errors.ConfigurationError, match="did you mean retries"):
        env.task(retrys=3)


def test_falsy_overrides_count():
    @env.task(retries=3, timeout=60)
    def f() -> None: ...

    assert f.override().spec().retry.count == 3
    spec = f.override(retries=0, timeout=None, env_vars={}).spec()
    assert (spec.retry.count, spec.timeout.max_runtime, spec.env_vars) == (0, None, ())
    assert f.spec().env_vars == (("A", "1"), ("B", "2"))
    assert f.override(timeout=timedelta(minutes=1)).spec().timeout.max_runtime == 60.0


def test_a_clone_has_changed_options_and_no_tasks():
    clone = env.clone_with("t2", env_vars={"C": "3"})

    @clone.task
    def f() -> None: ...

    assert f.name == "t2.f"
    assert f.spec().env_vars == (("C", "3"),)


def test_tasks_pickle_by_name_where_others_find_them():
    assert pickle.loads(pickle.dumps(w.double)) is w.double
    view = pickle.loads(pickle.dumps(w.double.override(retries=2)))
    assert view is not w.double
    assert w.double.spec().retry.count == 0
    assert (view.name, view.spec().retry.count) == ("w.double", 2)
    assert w.double.spec().loader.kind == "module"


def test_what_is_sent_by_value_is_taken_anew_for_each_run():
    helpers = {"scale": 1}  # as if the cell that defines a helper had been run again

    @env.task
    def scaled(n: int) -> int:
        return n * helpers["scale"]

    first = pickle.loads(scaled.spec().loader.payload)
    helpers["scale"] = 10
    assert first(2) == 2
    assert pickle.loads(scaled.spec().loader.payload)(2) == 20


def test_tasks_that_others_cannot_find_are_sent_by_value():
    @env.task
    def local() -> None: ...

    assert local.spec().loader.kind == "pickle"

    module = types.ModuleType("nowhere_to_be_found")
    sys.modules[module.__name__] = module
    try:
        exec("def far(x): return offset + x\noffset = 5", module.__dict__)
        module.far = env.task(module.far)
        loader = module.far.spec().loader
    finally:
        del sys.modules[module.__name__]
    assert loader.kind == "pickle"
    assert pickle.loads(loader.payload)(1) == 6


def test_the_filter_of_an_override_reaches_the_worker():
    assert w.picky.override(retries=1).spec().loader.kind == "pickle"
    assert w.picky.override(timeout=1).spec().loader.kind == "module"


def test_which_errors_are_worth_a_retry():
    any_error, only_os = perdure.RetryStrategy(1), perdure.RetryStrategy(1, on=OSError)
    assert any_error.allows(ValueError())
    assert not any_error.allows(errors.NonRecoverableError("no"))
    assert not any_error.allows(errors.TypeCheckError("no"))
    assert any_error.allows(errors.RemoteError("a child's"))
    assert only_os.allows(FileNotFoundError())
    assert not only_os.allows(ValueError())


def test_generators_and_methods_are_no_tasks():
    with pytest.raises(errors.ConfigurationError, match="generator"):

        @env.task
        def g():
            yield 1

    class Holder:
        @env.task
        def method(self) -> None: ...

    with pytest.raises(errors.ConfigurationError, match="method"):
        Holder().method()


def test_partials_can_be_traced():
    assert perdure.trace(functools.partial(w.add.forward, 1))(2, scale=2) == 6


digests = st.sampled_from([digest(bytes([i])) for i in range(40)])
FILLERS = [digest(b"filler %d" % i) for i in range(SMALL)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("ab"), digests)), st.booleans())
def test_occurrences_count_like_a_counter(calls, compact):
    occurrences, counter = Occurrences(), Counter()
    if compact:
        for filler in FILLERS:
            occurrences.take("filler", filler)
    for call in calls:
        assert occurrences.take(*call) == counter[call]
        counter[call] += 1


def test_many_occurrences_are_exact():
    occurrences = Occurrences()
    keys = [digest(b"%d" % i) for i in range(30_000)]
    for expected in range(3):
        assert {occurrences.take("t", key) for key in keys} == {expected}


def test_public_names_are_lazy_and_complete():
    code = (
        "import sys, perdure; heavy = {'asyncio', 'msgspec', 'numpy', 'pandas', 'rich'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert all(getattr(perdure, name) is not None for name in perdure.__all__);"
        "assert not {'numpy', 'pandas', 'pydantic', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_policy_says_how_workers_are_shared():
    pool = perdure.TaskEnvironment(
        "pool",
        reusable=perdure.ReusePolicy(
            replicas=(1, 3), idle_ttl=timedelta(minutes=1), concurrency=5, scaledown_ttl=10
        ),
    )

    @pool.task
    async def f() -> None: ...

    assert f.spec().reuse == Reuse("pool", 5, 1, 3, 60.0, 10.0)
    assert f.override(reusable="shared").spec().reuse == Reuse()
    assert f.override(retries=1).spec().reuse == f.spec().reuse
    assert pool.clone_with("other").task(f.function).spec().reuse.environment == "other"
    assert pool.clone_with("u", reusable="shared").task(f.function).spec().reuse == Reuse()
    number = f.override(reusable=perdure.ReusePolicy(replicas=2)).spec().reuse
    assert (number.min_workers, number.max_workers, number.concurrency) == (2, 2, 1)


@pytest.mark.parametrize("nothing", [None, "off", "isolated"])
def test_where_nothing_is_reused_each_attempt_has_a_process_of_its_own(nothing):
    def f() -> None: ...

    env = perdure.TaskEnvironment("e", reusable=nothing)
    pool = perdure.TaskEnvironment("e", reusable=perdure.ReusePolicy(replicas=2))
    tasks = [
        env.task(f),
        pool.clone_with("e", reusable=nothing).task(f),
        perdure.TaskEnvironment("e").task(reusable=nothing)(f),
        perdure.TaskEnvironment("e").task(f).override(reusable=nothing),
    ]
    for task in tasks:
        reuse = task.spec().reuse
        assert (reuse.environment, reuse.max_attempts, reuse.concurrency) == ("e", 1, 1)
    assert perdure.TaskEnvironment("e").task(f).spec().reuse == Reuse()


def test_def_tasks_do_not_run_beside_each_other_in_one_worker():
    policy = perdure.ReusePolicy(concurrency=2)
    with pytest.raises(errors.ConfigurationError, match=r"task pool\.f is a def.*concurrency=2"):
        perdure.TaskEnvironment("pool", reusable=policy).task(short_name="f")(lambda: None)
    with pytest.raises(errors.ConfigurationError, match=r"double is a def"):
        w.double.override(reusable=policy)
    perdure.TaskEnvironment("pool", reusable=policy).task(reusable=None)(lambda: None)


def test_an_environment_has_one_start_up_hook_which_may_be_defined_anew():
    env = perdure.TaskEnvironment("e")

    def load():
        return 1

    env.on_start(load)
    env.on_start(load)
    with pytest.raises(errors.ConfigurationError, match="there are two"):
        env.on_start(lambda: 2)
    assert env.clone_with("f").hook is load


def test_tasks_of_an_environment_that_is_started_up_have_workers_of_their_own():
    env = perdure.TaskEnvironment("e")

    @env.task
    def f() -> None: ...

    assert f.spec().reuse.environment == ""
    env.on_start(lambda: None)
    assert f.spec().reuse.environment == "e"
    assert f.override(reusable="off").spec().reuse.startup == f.spec().reuse.startup


def test_secrets_as_flyte_writes_them():
    secret = perdure.Secret("my-openai-api-key")
    assert secret.as_env_var == secret.env_var == "MY_OPENAI_API_KEY"
    assert perdure.Secret(key="k-1", group="g").as_env_var == "G_K_1"
    assert perdure.Secret("a", as_env_var="X") == perdure.Secret("a", env_var="X")
    assert perdure.Secret("a", file="PATH_OF_A").ref().is_file
    env = perdure.TaskEnvironment("e", secrets=["b", perdure.Secret("a")])

    @env.task(secrets="c")
    def f() -> None: ...

    def names(task):
        return [each.name for each in task.spec().reuse.secrets]

    assert names(f) == ["c"]
    assert names(f.override(secrets=None)) == []
    assert names(env.task(short_name="g")(lambda: None)) == ["a", "b"]
