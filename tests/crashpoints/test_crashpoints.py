"""The controller dies before or after each of its commits; the run goes on to the same result."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from crashpoints.proxy import CrashingJournal
from perdure._journal.memory import MemoryJournal
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import Journal
from simulation.programs import Node, expected, sleepers, twin
from simulation.world import NONE, World

Open = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens a new, empty journal."""
    numbers = itertools.count()

    def open_() -> Journal:
        if request.param == "memory":
            return MemoryJournal()
        journal = SqliteJournal(tmp_path / f"{next(numbers)}.db", "process")
        request.addfinalizer(journal.close)
        return journal

    return open_


def program() -> Node:
    """Sync and async tasks, steps, a sleep, conditions, a future as input, retries, a child left
    behind; and kept values, with identical actions that wait for each other."""
    serial = Node("r.5", is_async=False, kept_as="serial", serialized=True, fails=1, retries=1)
    near = Node("r.8", is_async=True, kept_as="near")
    return Node(
        "r", is_async=True, steps=2, strict=True, retries=1, asks=1, ignored=1,
        groups=[
            [
                Node("r.0", is_async=False, steps=1, fails=2, retries=2),
                Node("r.1", is_async=True, naps=1, asks=1, fails=1),
                Node("r.2", is_async=False, groups=[[Node("r.2.0", is_async=False)]]),
                Node("r.e", is_async=True, endless=True),
            ],
            [Node("r.3", is_async=True, chained=True, groups=[
                [Node("r.3.0", is_async=False), Node("r.3.1", is_async=True)],
            ])],
            [serial, twin(serial, "r.6"), twin(serial, "r.7"), near],
            [twin(near, "r.9")],
        ],
    )  # fmt: skip


def run(
    journal: Journal, at: int = 0, *, written: bool = False, parks: bool = False
) -> tuple[World, CrashingJournal]:
    """Run the program to its end, with a crash at the ``at``-th commit.

    With ``parks`` it is one that sleeps, and that is parked whenever it does.
    """
    proxy = CrashingJournal(journal, at, written=written)
    world = World(1, NONE, program=sleepers(1) if parks else program(), journal=proxy)
    if parks:
        world.park_after = world.shell.machine.parking.after = 0.0
    proxy.crash = world.crash
    world.live()
    return world, proxy


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_p3_a_crash_at_any_commit_changes_nothing(open_journal: Open, written: bool) -> None:
    undisturbed, proxy = run(open_journal())
    assert int(undisturbed.result.value) == expected(undisturbed.program)
    assert proxy.commits > 10
    for at in range(1, proxy.commits + 1):
        # The world asserts P1 and P2 by itself: nothing unrecorded is seen, nothing recorded runs.
        world, crashed = run(open_journal(), at, written=written)
        assert len(world.shells) == 2, f"it was to crash at commit {at}"
        assert world.result == undisturbed.result
        assert crashed.load_run("sim").outcome == undisturbed.result


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_p3_a_crash_at_any_commit_changes_nothing_for_what_is_parked(written: bool) -> None:
    undisturbed, proxy = run(MemoryJournal(), parks=True)
    assert int(undisturbed.result.value) == expected(undisturbed.program)
    assert undisturbed.dozed
    for at in range(1, proxy.commits + 1):
        world, _ = run(MemoryJournal(), at, written=written, parks=True)
        assert len(world.shells) == 2, f"it was to crash at commit {at}"
        assert world.result == undisturbed.result


def test_a_crash_after_a_commit_costs_less_work_than_one_before_it() -> None:
    _, undisturbed = run(MemoryJournal())
    work = {
        written: sum(
            run(MemoryJournal(), at, written=written)[0].executions.total()
            for at in range(1, undisturbed.commits + 1)
        )
        for written in (False, True)
    }
    assert work[True] < work[False]
