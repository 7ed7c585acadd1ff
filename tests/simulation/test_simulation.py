"""The real core under a virtual clock: delays, deaths and crashes from one seed per world."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.programs import expected
from simulation.world import Faults, World

SEEDS = range(int(os.environ.get("PERDURE_SEEDS", "240")))
STORM = Faults(until=4.0, worker_kills=15.0, controller_crashes=6.0)


def value_of(world: World) -> int | None:
    outcome = world.live()
    return None if outcome.failure else int(outcome.value or b"")


@pytest.mark.parametrize("seed", SEEDS)
def test_p3_any_program_survives_any_faults_with_the_result_of_plain_python(seed: int) -> None:
    faults = STORM if seed % 3 == 0 else Faults()
    world = World(seed, faults, cores=2 + seed % 3)
    assert value_of(world) == expected(world.program)


@pytest.mark.parametrize("seed", range(40))
def test_without_faults_every_action_runs_exactly_as_often_as_it_fails_plus_one(seed: int) -> None:
    world = World(seed, Faults(until=0.0))
    assert value_of(world) == expected(world.program)


def test_two_hash_seeds_give_the_same_trace() -> None:
    code = (
        "from simulation.world import World, Faults\n"
        "w = World(3, Faults(until=2.0, worker_kills=10.0, controller_crashes=3.0)); w.live()\n"
        "print('\\n'.join(w.trace))"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent.parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 10
