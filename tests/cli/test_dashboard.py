"""What ``perdure top`` draws, however much goes on and however small the terminal is."""

import io
from typing import Any

import pytest
from rich.console import Console

from perdure._core.overview import AttemptState, Overview, PoolState, QueuePart, RunState
from perdure._core.reasons import Brief
from perdure.cli import dashboard
from perdure.client.measuring import MachineUse, Use
from perdure.client.survey import Picture, Seen

GIB = 1 << 30
MACHINE = MachineUse(cores=8, cpu=6.0, memory=8 * GIB, total=16 * GIB)


def attempt(k: int, **more: Any) -> AttemptState:
    action = Brief(run="nightly", number=k, id=f"{k:032x}", task="train")
    known = {"attempt": 0, "since": 100.0 + k, "worker": k, "pid": 5000 + k, "beside": 0}
    return AttemptState(action=action, asked={"cpu": 1.0}, **known | more)


def overview(attempts: int = 0, runs: int = 1, pools: int = 1, **more: Any) -> Overview:
    pool = PoolState(
        environment="llm", image="1a2b3c4d", is_async=True, run="", busy=1, idle=0, hosting=2,
        starting=1, ending=0, most=4, attempts=3, queued=7, delay="building; log: /x",
    )  # fmt: skip
    known: dict[str, Any] = {
        "at": 200.0, "total": {"cpu": 8.0, "memory": 16.0 * GIB}, "pids": (5001,),
        "free": {"cpu": 2.5, "memory": 8.0 * GIB}, "waiting": {"no_room": 1200, "asleep": 3},
        "run_count": runs, "running_count": attempts,
        "running": tuple(attempt(k) for k in range(1, min(attempts, 40) + 1)),
        "runs": tuple(
            RunState(name=f"run{k}", task="main", created=100.0, running=1, actions=5)
            for k in range(min(runs, 40))
        ),
        "pools": (pool,) * pools, "queues": (),
    }  # fmt: skip
    return Overview(**known | more)


def lines(*overviews: Overview | None, height: int = 30, width: int = 110) -> list[str]:
    picture = Picture(
        home="/home/x", at=200.0, machine=MACHINE,
        controllers=tuple(Seen(pid=70 + k, since=1.0, overview=o) for k, o in enumerate(overviews)),
        uses={5001: Use(cpu=0.5, memory=GIB, processes=2)},
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(dashboard.drawn(picture, height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def find(found: list[str], text: str) -> str:
    return next(line for line in found if text in line)


def test_machine_waiting_workers_runs_and_actions_are_shown() -> None:
    found = lines(overview(attempts=2))
    assert found[0].endswith("1 run · 2 running · 1,203 waiting · 1 process")
    assert "6.0 of 8 cpu" in found[1]
    assert "8.0 GiB of 16.0 GiB memory" in found[1]
    assert find(found, "asked for") == "asked for 5.5 of 8 cpu · 8.0 GiB of 16.0 GiB memory"
    assert "1,200 for resources · 3 for the end of a sleep" in find(found, "waiting  ")
    assert find(found, "llm async").split()[4:] == ["1", "0", "2", "1", "4", "7", "building"]
    assert find(found, "run0").split() == ["run0", "main", "1", "5", "1m40s"]
    assert find(found, "train #1").split() == [
        "train", "#1", "nightly", "0", "1m39s", "5001", "50%", "1.0", "GiB", "1", "cpu",
    ]  # fmt: skip
    assert find(found, "train #2").split() == [
        "train", "#2", "nightly", "0", "1m38s", "5002", "1", "cpu",
    ]  # fmt: skip


@pytest.mark.parametrize("height", [10, 14, 20, 30, 60])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_terminal(height: int, width: int) -> None:
    many = overview(attempts=500, runs=300, pools=20)
    assert len(lines(many, many, None, height=height, width=width)) <= height


def test_what_there_is_more_of_is_counted() -> None:
    found = lines(overview(attempts=500, runs=300), height=30)
    shown = sum("train #" in line for line in found)
    assert f"... {500 - shown} more" in found
    shown = sum("run" in line and "main" in line for line in found)
    assert f"... {300 - shown} more" in found


def test_who_shares_a_worker_is_marked() -> None:
    shared = overview(running=(attempt(1, beside=9),), running_count=10)
    assert "50%*" in find(lines(shared), "train #1")


def test_shortage_of_memory_silence_and_rest_are_said() -> None:
    assert "2 workers at most may be busy" in find(lines(overview(ceiling=2)), "asked for")
    assert "does not answer" in find(lines(None), "asked for")
    resting = lines(overview(runs=0, pools=0, dormant=10_000))
    assert "10,000 more at rest" in resting[0]
    assert "all runs rest until a time comes, or an answer" in resting


def test_queues_are_shown_with_what_all_processes_have_of_them() -> None:
    def queue(used: int, waiting: int) -> QueuePart:
        return QueuePart(
            name="api", used=used, concurrency=3, starts=100, period=60.0, waiting=waiting
        )

    found = lines(overview(queues=(queue(1, 20),)), overview(queues=(queue(2, 5),)))
    assert find(found, "api").split() == ["api", "3", "3", "100/m", "25"]
    assert not any("QUEUE" in line for line in lines(overview()))
