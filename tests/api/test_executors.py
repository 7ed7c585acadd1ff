"""What happens to tasks in real worker processes, driven by a small controller."""

import asyncio
from pathlib import Path

import pytest
import workloads as w

import perdure
from perdure import errors
from perdure._wire import messages as m


def test_calls_keep_the_colour_of_the_function(controller):
    assert controller.run(w.fan_out, 20) == [2 * i for i in range(20)]
    assert controller.run(w.fan_out_async, 20) == 3 * sum(range(20))
    assert controller.run(w.sequential, 20) == 2 * sum(range(20))
    assert controller.run(w.fibonacci, 5) == 5


def test_a_future_is_accepted_wherever_asyncio_takes_one(controller):
    assert controller.run(w.forms_of_awaiting, 2) == [6, 6, 6, 4, 6, 6, 6, 6, 6, 6]


def test_futures_are_passed_on_without_being_loaded(controller):
    assert controller.run(w.passes_on, 1) == 8


def test_the_value_of_a_future_is_checked_where_it_arrives(controller):
    with pytest.raises(errors.TypeCheckError, match=r"w\.double, parameter x: expected int"):
        controller.run(w.passes_wrong)


def test_a_childs_error_keeps_its_class(controller):
    assert controller.run(w.catches) == "caught x"


@pytest.mark.parametrize(
    ("task", "kind", "error"),
    [
        (w.fails, "k", KeyError),
        (w.fails, "exit", SystemExit),
        (w.fails, "interrupt", KeyboardInterrupt),
        (w.fails_async, "exit", SystemExit),
    ],
)
def test_whatever_a_task_raises_ends_only_the_attempt(controller, task, kind, error):
    with pytest.raises(error):
        controller.run(task, kind)
    assert controller.run(w.double, 1, name="after") == 2
    assert controller.run(w.triple, 1, name="after too") == 3
    assert len(controller.workers) == 2


def test_an_asyncio_task_that_exits_does_not_end_the_worker(controller):
    with pytest.raises(SystemExit):
        controller.run(w.subtask_exits)
    assert controller.run(w.triple, 1, name="after") == 3
    assert len(controller.workers) == 1


def test_tracebacks_begin_in_user_code(controller):
    controller.start(w.fails, "k")
    controller.drive(lambda: controller.root in controller.outcomes)
    text = controller.outcomes[controller.root][1].traceback
    assert "workloads.py" in text
    assert "_worker" not in text


def test_results_are_checked_and_must_be_storable(controller):
    with pytest.raises(errors.TypeCheckError, match=r"w\.wrong_result, result: expected int"):
        controller.run(w.wrong_result)
    with pytest.raises(errors.SerializationError, match=r"result of w\.unstorable"):
        controller.run(w.unstorable)


def test_only_errors_that_the_strategy_names_are_retried(controller):
    assert controller.run(w.picky, "os") == 2
    with pytest.raises(ValueError):
        controller.run(w.picky, "value", name="second")
    assert controller.executed.count("w.picky") == 4
    assert controller.run(w.overridden, name="third") == 2


def test_a_blocking_call_on_a_loop_names_the_awaitable_form(controller):
    assert "double.aio(...)" in controller.run(w.blocking_on_loop)


def test_a_loop_inside_a_sync_task_works(controller):
    assert controller.run(w.own_loop, 5) == [0, 2, 4, 6, 8, 15]


def test_threads_of_a_task_find_its_scope(controller):
    assert controller.run(w.threads, 8) == [2 * i for i in range(8)]
    assert controller.run(w.to_thread, 4) == 12


def test_recursion_without_end_is_refused(controller):
    task = w.forever
    controller.start(task, 0)
    action = controller.actions[controller.root]
    assert action.depth == 0
    with pytest.raises(errors.NestingTooDeepError):
        _scoped(controller, 100, lambda: task(1))


def _scoped(controller, depth, call):
    from perdure._api import scope
    from perdure._worker.attempt import Attempt

    class Session:
        blobs = controller.blobs
        home, sync = Path("nowhere"), False
        underway = frozenset()

    attempt = Attempt(m.Assign(1, 1, "r", b"i" * 16, 0, b"", depth=depth), "w.t", Session())
    scope.set_process_wide(attempt)
    try:
        return call()
    finally:
        scope.set_process_wide(None)


@pytest.mark.parametrize("task", [w.slow, w.slow_sync])
def test_cancelling_interrupts_a_sleeping_attempt(controller, task):
    controller.start(task, 60.0)
    _let_start(controller)
    controller.cancel_running(task.name)
    with pytest.raises(errors.CancelledError):
        controller.finish()
    assert controller.run(w.double, 1, name="after") == 2


def _let_start(controller):
    controller.drive(lambda: "started" in controller.logs())


def test_a_timeout_stops_code_that_never_yields(controller):
    controller.start(w.busy)
    _let_start(controller)
    controller.cancel_running("w.busy", "timeout")
    with pytest.raises(errors.TaskTimeoutError):
        controller.finish()


@pytest.mark.parametrize("task", [w.waits_for_child, w.waits_on_own_loop])
def test_cancelling_interrupts_an_attempt_that_waits_for_a_child(controller, task):
    controller.start(task)
    controller.drive(lambda: controller.count(m.Blocked) and len(controller.workers) == 2)
    _let_start(controller)
    controller.cancel_running(task.name)
    with pytest.raises(errors.CancelledError):
        controller.finish()
    controller.drive(lambda: not any(worker.assigned for worker in controller.workers))


def test_cleanup_runs_when_cancelled(controller):
    controller.start(w.slow_sync, 60.0)
    _let_start(controller)
    controller.cancel_running("w.slow_sync")
    with pytest.raises(errors.CancelledError):
        controller.finish()
    assert "cleaned up" in controller.logs()


def test_asyncio_timeout_around_a_call_cancels_the_child(controller):
    assert controller.run(w.gives_up) == "gave up"
    assert controller.count(m.CancelCall) == 1


def test_children_left_behind_are_cancelled_and_named(controller):
    assert controller.run(w.leaves_child) == "left"
    done = [message for message in controller.told if isinstance(message, m.Done)]
    assert len(done[-1].unfinished) == 1
    event = next(message for message in controller.told if isinstance(message, m.Event))
    assert "w.slow" in event.text


def test_a_failure_that_was_an_argument_is_looked_at_with_the_call_it_failed(controller):
    assert controller.run(w.hands_on_a_failure) == "KeyError('gone')"
    assert controller.count(m.Event) == 0


def test_a_failure_nobody_looked_at_is_reported(controller):
    assert controller.run(w.ignores_failure) == "ignored"
    event = next(message for message in controller.told if isinstance(message, m.Event))
    assert "w.fails_async" in event.text


def test_a_waiting_attempt_hands_back_its_queue(controller):
    controller.ahead = 10
    schedule, controller._schedule = controller._schedule, lambda: None
    controller.start(w.waits_for_child, name="first")
    controller.start(w.double, 1, name="queued behind it")
    controller._schedule = schedule
    schedule()
    assert controller.finish() == 2
    assert controller.count(m.Blocked) == 1
    controller.cancel_running("w.waits_for_child")
    controller.drive(lambda: not any(worker.assigned for worker in controller.workers))


@pytest.mark.parametrize("task", [w.double, w.triple])
def test_a_worker_that_has_nothing_to_give_back_says_so(controller, task):
    controller.run(task, 1)
    (worker,) = controller.workers
    worker.send(m.Revoke((987654321,)))
    controller.drive(lambda: controller.count(m.Returned))
    assert next(each for each in controller.told if isinstance(each, m.Returned)).attempts == ()


def test_map_is_ordered_and_complete(controller):
    assert controller.run(w.mapped, 50) == [2 * i for i in range(50)]
    assert controller.run(w.mapped_aio, 50) == [3 * i for i in range(50)]
    assert controller.run(w.mapped, 20, 3, name="c") == [2 * i for i in range(20)]
    assert controller.run(w.mapped_aio, 20, 3, name="d") == [3 * i for i in range(20)]


def test_map_keeps_to_its_concurrency(controller):
    most = 0

    def watch(worker, message):
        nonlocal most
        most = max(most, sum(a.spec and a.spec.name == "w.double" for a in
                             controller.actions.values()))  # fmt: skip

    controller.on_message = watch
    controller.run(w.mapped, 20, 3)
    assert most <= 3


def test_map_takes_partials_several_iterables_and_errors(controller):
    partial, shortest, failed, endless = controller.run(w.maps)
    assert partial == [22, 24]
    assert shortest == [5, 7]
    assert failed == ["KeyError('a')", "KeyError('b')"]
    assert endless == [0, 2, 4, 6, 8]


def test_waiting_for_some_or_all(controller):
    assert controller.run(w.waits) == [
        [2, 4], 0, True, [8], [10, 12], "[14, KeyError('g')]",
    ]  # fmt: skip
    assert controller.run(w.waits_aio) == [[3, 6], 0, True, [12], [15, 12]]


def test_traces_are_recorded_and_not_run_again_on_replay(controller):
    first = controller.run(w.traced)
    assert first == [2, 2, "negative -1", [0, 1, 2]]
    first_aio = controller.run(w.traced_aio, name="aio")
    assert first_aio == [2, [0, 1, 2]]
    before = controller.logs()
    assert before.count("step 1") == 2
    controller.replay = True
    assert controller.run(w.traced) == first
    assert controller.run(w.traced_aio, name="aio") == first_aio
    assert controller.logs() == before


def test_durable_values_are_the_same_on_replay(controller):
    first = controller.run(w.durable)
    first_aio = controller.run(w.durable_aio, name="aio")
    assert first[2] != first[3]
    assert 0 <= first[4] < 1
    controller.replay = True
    assert controller.run(w.durable) == first
    assert controller.run(w.durable_aio, name="aio") == first_aio


def test_a_replayed_parent_does_not_run_its_children_again(controller):
    controller.run(w.fan_out, 10)
    controller.replay = True
    controller.run(w.fan_out, 10)
    assert controller.executed.count("w.double") == 10


@pytest.fixture(params=[3, 1000])
def told_ahead(request, controller):
    """A controller that tells replays what is recorded, so many at a time; and what it was told."""

    def replay(task, *args):
        first = controller.run(task, *args)
        controller.replay, controller.page = True, request.param
        controller.told.clear()
        assert controller.run(task, *args) == first
        return controller

    return replay


@pytest.mark.parametrize(
    "task",
    [w.fan_out, w.fan_out_async, w.sequential, w.mapped, w.mapped_aio, w.threads, w.own_loop],
    ids=lambda task: task.name,
)
def test_a_replay_that_was_told_what_is_recorded_asks_for_nothing(told_ahead, task):
    controller = told_ahead(task, 20)
    assert controller.count(m.Call) == 0
    assert controller.count(m.Done) == 1


@pytest.mark.parametrize("task", [w.traced, w.traced_aio, w.durable, w.durable_aio])
def test_recorded_steps_are_known_ahead_too(told_ahead, task):
    controller = told_ahead(task)
    assert controller.count(m.Record) == 0
    assert all(
        message.id not in controller.outcomes
        for message in controller.told
        if isinstance(message, m.Sleep)
    )


def test_after_a_replay_garbage_is_looked_for_as_usual(told_ahead, controller):
    usual = controller.run(w.thresholds, name="before")
    told_ahead(w.fan_out_async, 20)
    controller.replay, controller.page = False, 0
    assert controller.run(w.thresholds, name="after") == usual


def test_a_call_from_a_thread_beside_the_loop_is_just_made(told_ahead):
    controller = told_ahead(w.to_thread, 5)
    assert controller.count(m.Done) == 1


@pytest.mark.parametrize("page", [3, 1000])
@pytest.mark.parametrize("task", [w.fan_out, w.mapped], ids=lambda task: task.name)
def test_what_is_not_recorded_is_called_for(controller, task, page):
    controller.run(task, 8)
    controller.replay, controller.page = True, page
    controller.told.clear()
    assert len(controller.run(task, 20)) == 20
    assert controller.count(m.Call) == 12


def test_a_replay_says_which_recorded_calls_it_has_not_made(controller):
    controller.run(w.fan_out, 10)
    controller.replay, controller.page = True, 1000
    controller.told.clear()
    controller.run(w.fan_out, 4)
    (done,) = [message for message in controller.told if isinstance(message, m.Done)]
    assert len(done.unclaimed) == 6 * 16


def test_the_context_tells_where_code_runs(controller):
    assert controller.run(w.context, name="mine", context={"team": "a"}) == [
        "mine", "w.context", 0, {"team": "a"},
    ]  # fmt: skip
    call = next(message for message in controller.told if isinstance(message, m.Call))
    assert call.group == "outer/inner"
    assert perdure.ctx() is None


def test_closures_and_tasks_of_local_environments_are_sent_by_value(controller):
    offset = 5
    env = perdure.TaskEnvironment("local")

    @env.task
    def shifted(x: int) -> int:
        return shifted(x - 1) + 1 if x > 0 else offset

    @env.task
    async def both(x: int) -> int:
        return sum(await asyncio.gather(shifted.aio(x), shifted.aio(x + 1)))

    assert controller.run(both, 1) == 13


def test_a_task_that_cannot_be_imported_fails_with_its_reason(controller):
    spec = w.double.spec()
    loader = type(spec.loader)("module", "workloads", "vanished")
    import msgspec

    task = w.double.override()
    task._spec = msgspec.structs.replace(spec, loader=loader)
    with pytest.raises(errors.TaskLoadError, match="vanished"):
        controller.run(task, 1)


def test_output_is_attributed_to_its_attempt(controller):
    controller.run(w.prints, "hello there")
    done = next(message for message in controller.told if isinstance(message, m.Done))
    span = done.log[0]
    text = controller.workers[0].log.read_bytes()[span.start : span.end]
    assert text == b"hello there\n"
