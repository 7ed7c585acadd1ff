"""The real core under a virtual clock: delays, deaths and crashes from one seed per world.

``regressions.txt`` holds what has failed once: the name of the weather and the seed.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.watched import Watch
from perdure._core import queues
from perdure._core.explaining import explain
from perdure._core.overview import overview
from perdure._core.reasons import Running, Unexplained
from perdure._core.state import Action, Attempt
from simulation.programs import (
    SCARCE,
    Node,
    expected,
    make,
    make_queued,
    make_scarce,
    sleepers,
    twin,
    with_budget,
)
from simulation.world import NONE, Faults, World

HERE = Path(__file__).parent
SEEDS = int(os.environ.get("PERDURE_SEEDS", "240"))
WEATHERS = {
    "calm": NONE,
    "windy": Faults(),
    "storm": Faults(until=4.0, worker_kills=15.0, controller_crashes=6.0),
    "crashes": Faults(worker_crashes=4.0),
    "hunger": Faults(worker_kills=1.0, overruns=6.0, squeezes=3.0),
    "thieves": Faults(worker_kills=2.0, controller_crashes=1.0, thefts=3.0),
}


def cases() -> list[tuple[str, int]]:
    """Return the weathers and seeds of the gate, those that failed once first."""
    lines = (HERE / "regressions.txt").read_text().splitlines()
    once = [line.split() for line in lines if line and not line.startswith("#")]
    names = [*WEATHERS]
    drawn = [(names[seed % len(names)], seed) for seed in range(SEEDS)]
    return [*dict.fromkeys([(name, int(seed)) for name, seed in once] + drawn)]


def world_of(weather: str, seed: int) -> World:
    return World(seed, WEATHERS[weather], cores=2 + seed % 3)


def value_of(world: World) -> int | None:
    outcome = world.live()
    return None if outcome.failure else int(outcome.value or b"")


@pytest.mark.parametrize(("weather", "seed"), cases())
def test_p3_any_program_survives_any_faults_with_the_result_of_plain_python(
    weather: str, seed: int
) -> None:
    world = world_of(weather, seed)
    assert value_of(world) == expected(world.program)


@pytest.mark.parametrize(
    ("weather", "seed"), [([*WEATHERS][seed % len(WEATHERS)], seed) for seed in range(SEEDS // 2)]
)
def test_p3_any_program_whose_values_are_kept_survives_any_faults(weather: str, seed: int) -> None:
    # The world asserts that of identical actions one runs at a time where that is asked for.
    faults = WEATHERS[weather]
    program = make(seed, generous=faults.guilty, kept=True)
    world = World(seed, faults, cores=2 + seed % 3, program=program)
    assert value_of(world) == expected(world.program)


@pytest.mark.parametrize(
    ("weather", "seed"), [([*WEATHERS][seed % len(WEATHERS)], seed) for seed in range(SEEDS // 2)]
)
def test_p3_any_program_that_asks_for_scarce_things_gets_them_in_the_end(
    weather: str, seed: int
) -> None:
    # The invariants say that nothing is ever over-committed; the end, that nobody starves.
    faults = WEATHERS[weather]
    program = make_scarce(seed, generous=faults.guilty)
    world = World(seed, faults, program=program, capacity=SCARCE)
    assert value_of(world) == expected(world.program)


@pytest.mark.parametrize(
    ("weather", "seed"), [([*WEATHERS][seed % len(WEATHERS)], seed) for seed in range(SEEDS // 2)]
)
def test_p3_any_program_in_queues_that_others_use_too_comes_to_its_end(
    weather: str, seed: int
) -> None:
    # The world asserts that no queue ever has more than its limits; the end, that nobody starves.
    faults = WEATHERS[weather]
    program = make_queued(seed, generous=faults.guilty)
    queue = ("", "one", "paced")[seed // 2 % 3]
    rivalry, whims = 2.0 * (seed % 2), 2.0 * (seed % 5 == 0)
    options = {"queue": queue, "rivalry": rivalry, "whims": whims}
    world = World(seed, faults, cores=4, program=program, **options)
    assert value_of(world) == expected(world.program)


@pytest.mark.parametrize("seed", range(10))
def test_of_identical_actions_one_runs_and_the_others_get_its_value(seed: int) -> None:
    first = Node("r.0.0", seed % 2 == 0, kept_as="same", serialized=True)
    group = [first, *(twin(first, f"r.0.{n}") for n in range(1, 6))]
    world = World(seed, NONE, cores=8, program=Node("r", True, [group]))
    assert value_of(world) == expected(world.program)
    kept = sum(count for path, count in world.executions.items() if path != "r")
    assert kept <= 1 + world.damaged


@pytest.mark.parametrize("seed", range(40))
def test_p8_an_aborted_run_stops_at_once_and_leaves_nothing_behind(seed: int) -> None:
    world = World(seed, Faults(controller_crashes=0.0, worker_kills=4.0 * (seed % 2)))
    world.plan_faults()
    world.after(world.rng.uniform(0.02, 0.4))
    machine, run = world.shell.machine, world.shell.run
    if world.result is not None or not machine.abort(run, None, "enough"):
        return  # it was faster
    world.shell.settle()
    world.after(1.0)
    assert world.result is not None
    assert world.result.failure is not None
    assert world.result.failure.code == "cancelled"
    assert not run.actions
    assert not any(worker.attempts for worker in machine.scheduler.staff.workers.values())
    assert not any(w.alive and w.bodies for w in world.shell.workers.values())
    assert len(machine.timers) < 100


@pytest.mark.parametrize(
    ("weather", "seed", "queued"),
    [(name, seed, seed > 1) for name in WEATHERS for seed in (1, 2)],
)
def test_p7_at_any_moment_everything_that_is_not_done_says_what_it_waits_for(
    weather: str, seed: int, queued: bool
) -> None:
    world = world_of(weather, seed)
    if queued:
        faults = WEATHERS[weather]
        world = World(seed, faults, cores=4, program=make_queued(seed, generous=faults.guilty))
    world.plan_faults()
    looks = 0
    while world.result is None and looks < 50:
        world.after(0.02)
        machine, looks = world.shell.machine, looks + 1
        actions = list(world.shell.run.actions.values())
        for action in actions:
            *above, last = explain(machine, action, {})
            assert not isinstance(last.reason, Unexplained), action
            assert not any(isinstance(each.reason, Running) for each in above), action
        found = overview(machine, {})
        assert sum(found.waiting.values()) + found.running_count == len(actions)
        assert "unexplained" not in found.waiting
    assert looks > 3


@pytest.mark.parametrize("seed", range(10))
def test_p9_nothing_stays_in_memory_when_a_run_has_ended(seed: int) -> None:
    world = world_of("windy", seed)
    world.live()
    world.after(2.0)
    assert not world.shell.run.actions
    assert not world.shell.machine.scheduler.attempts
    assert not any(lane.queues for lane in world.shell.machine.scheduler.lanes.all.values())


@pytest.mark.parametrize(
    ("weather", "seed"), [(name, seed) for name in WEATHERS for seed in (1, 2)]
)
def test_p9_nothing_that_ended_or_was_dropped_waits_for_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch, weather: str, seed: int
) -> None:
    watch = Watch(monkeypatch)
    gc.disable()
    try:
        world = world_of(weather, seed)
        world.live()
        world.after(2.0)
        for shell in world.shells:
            shell.machine.drop_run(shell.run.key)
            shell.machine.advance(world.now)  # what was due after it was killed
            shell.settle()
            shell.pending.clear()
        world.events.clear()
        assert watch.made > 10
        assert (watch.alive(Action), watch.alive(Attempt)) == (0, 0)
    finally:
        gc.enable()


def test_two_hash_seeds_give_the_same_trace() -> None:
    code = (
        "from simulation.test_simulation import world_of\n"
        "for weather in ('storm', 'thieves'):\n"
        "    w = world_of(weather, 3); w.live(); print('\\n'.join(w.trace))"
    )
    path = os.pathsep.join([str(HERE.parent), *sys.path])
    traces = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 10


@pytest.mark.parametrize(
    ("weather", "seed"), [([*WEATHERS][seed % len(WEATHERS)], seed) for seed in range(SEEDS // 4)]
)
def test_p3_what_is_parked_most_of_the_time_survives_any_faults(weather: str, seed: int) -> None:
    faults = WEATHERS[weather]
    program = sleepers(seed)
    if faults.guilty:
        program = with_budget(program)
    world = World(seed, faults, cores=2 + seed % 3, program=program)
    world.park_after = world.shell.machine.parking.after = (0.0, 0.01)[seed % 2]
    assert value_of(world) == expected(world.program)
    assert world.parked


def test_in_calm_weather_whole_runs_sleep() -> None:
    worlds = [World(seed, NONE, program=sleepers(seed)) for seed in range(5)]
    for world in worlds:
        world.park_after = world.shell.machine.parking.after = 0.0
        world.live()
    assert all(world.dozed > 1 for world in worlds)


def test_runs_sleep_until_a_queue_that_others_use_too_admits_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The invariants say that of those that are next nobody sleeps who has not been called.
    napped, called = [0, 0], [0, 0]
    for seed in range(6):
        crowded, is_late = seed % 2, seed // 3
        monkeypatch.setattr(queues, "HEAD", 2 * crowded)
        program, queue = make_queued(seed), ("one", "paced")[seed // 2 % 2]
        faults = WEATHERS[("windy", "storm", "thieves")[seed % 3]]
        options = {"queue": queue, "rivalry": 0.5, "crowd": 8 * crowded}
        world = World(seed, faults, cores=4, program=program, **options)
        world.park_after = world.shell.machine.parking.after = (0.0, 0.01)[is_late]
        assert value_of(world) == expected(program)
        napped[crowded] += world.napped
        called[crowded] += world.called
    assert all(napped)
    assert not called[0]
    assert called[1]
