"""What is measured, on whom, and with how much: the table that everything else reads.

A workload is a function of that name in each peer's module. Where a peer takes other sizes, or
cannot do it, the table says so, and the report repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """Somebody who is measured.

    Attributes:
        title: As people know it.
        module: Its module in ``peers``.
        venv: The virtual environment under ``.venvs`` that it runs in.
        package: The distribution whose version is reported.
        imports: What a script has to import before it can define a task.
        how: What is promised, and where tasks run: said beside the figures.
        environ: Settings from the environment.
    """

    title: str
    module: str
    venv: str
    package: str
    imports: str
    how: str
    environ: Mapping[str, str] = field(default_factory=dict)


PEERS = {
    "perdure": Peer(
        "Perdure",
        "perdure",
        "bench-perdure",
        "perdure",
        "import perdure; perdure.TaskEnvironment",
        'durable, `durability="full"`: an outcome survives power loss before anyone sees it; '
        "one worker process per core",
        {"PERDURE_DURABILITY": "full"},
    ),
    "perdure-process": Peer(
        "Perdure, process",
        "perdure",
        "bench-perdure",
        "perdure",
        "import perdure; perdure.TaskEnvironment",
        'durable, `durability="process"`: an outcome survives the death of any process; '
        "one worker process per core",
        {"PERDURE_DURABILITY": "process"},
    ),
    "processes": Peer(
        "ProcessPoolExecutor",
        "processes",
        "bench-perdure",
        "",
        "from concurrent.futures import ProcessPoolExecutor",
        "not durable; the standard library, one worker process per core",
    ),
    "ray": Peer(
        "Ray",
        "ray",
        "bench",
        "ray",
        "import ray",
        "not durable; one worker process per core (more while parents wait), shared-memory object "
        "store, no dashboard",
    ),
    "flyte": Peer(
        "Flyte 2, local",
        "flyte",
        "bench",
        "flyte",
        "import flyte",
        "not durable in local mode; everything in one process: async tasks on one loop, sync tasks "
        "on threads",
    ),
    "dask": Peer(
        "Dask distributed",
        "dask",
        "bench",
        "distributed",
        "from distributed import Client, LocalCluster",
        "not durable; one single-threaded worker process per core, no dashboard",
    ),
    "prefect": Peer(
        "Prefect",
        "prefect",
        "bench",
        "prefect",
        "from prefect import flow, task",
        "states recorded by an ephemeral server (a process of its own, SQLite); tasks on 16 "
        "threads of one process, CPU-bound ones in worker processes; results not persisted, as is "
        "its default",
    ),
    "dbos": Peer(
        "DBOS, SQLite",
        "dbos",
        "bench",
        "dbos",
        "from dbos import DBOS",
        "durable, SQLite in WAL mode, synchronous=FULL (as shipped, with a rollback journal, it is "
        "slower); steps run in the caller's process",
    ),
}


@dataclass(frozen=True)
class Workload:
    """Something to measure.

    Attributes:
        title: What the report calls it.
        function: Its function in the peers' modules.
        figure: The figure that is compared.
        unit: Of that figure.
        better: Which direction is good.
        sizes: Arguments of the function.
        smoke: Arguments that are as small as they can be.
        peers: Who does it: with these arguments changed, and perhaps a note.
        cannot: Who does not, and why.
        notes: What has to be known to compare a peer's figure.
        also: Further figures of every peer, and the heads of their columns.
        timeout: Seconds after which a run is given up.
    """

    title: str
    function: str
    figure: str
    unit: str
    better: Literal["higher", "lower"]
    sizes: Sizes
    smoke: Sizes
    peers: Mapping[str, Sizes]
    cannot: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0

    def arguments(self, peer: str, *, smoke: bool = False) -> dict[str, Any]:
        """Return what the peer's function is called with."""
        return {**self.sizes, **(self.smoke if smoke else self.peers.get(peer, {}))}

    def smaller(self, peer: str) -> Sizes:
        """Return the sizes in which the peer's work differs from everybody's."""
        return {k: v for k, v in self.peers.get(peer, {}).items() if k != "samples"}


SAME: Sizes = {}
ALL = ("perdure", "processes", "ray", "flyte", "dask", "prefect", "dbos")

FORGETS = "forgets everything with its process: a new one starts from the beginning"
SLOW_100K = "would take minutes; see 10,000"
AS_FAN_OUT = "as its fan-out"
OURS_ALONE = "a promise of Perdure's alone"

WORKLOADS = {
    "import": Workload(
        "Import",
        "import_",
        "import_ms",
        "ms",
        "lower",
        {"samples": 3},
        {"samples": 1},
        dict.fromkeys(ALL, SAME),
    ),
    "cold start": Workload(
        "Cold start of a one-task script, whole process",
        "cold_start",
        "wall_s",
        "s",
        "lower",
        {"samples": 3},
        {"samples": 1},
        dict.fromkeys(ALL, SAME) | {"ray": {"samples": 1}, "prefect": {"samples": 1}},
    ),
    "sequential sync": Workload(
        "Sequential calls, sync",
        "sequential_sync",
        "us_per_call",
        "µs/call",
        "lower",
        {"n": 1000},
        {"n": 5},
        dict.fromkeys(ALL, SAME)
        | {"perdure-process": SAME, "dask": {"n": 300}, "prefect": {"n": 50}},
    ),
    "sequential async": Workload(
        "Sequential calls, async",
        "sequential_async",
        "us_per_call",
        "µs/call",
        "lower",
        {"n": 1000},
        {"n": 5},
        {
            "perdure": SAME,
            "perdure-process": SAME,
            "flyte": SAME,
            "prefect": {"n": 50},
            "dbos": SAME,
        },
        dict.fromkeys(("processes", "ray", "dask"), "as its sync calls"),
    ),
    "fan-out 10k async": Workload(
        "Fan-out of 10,000 no-op tasks",
        "fan_out",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 10_000},
        {"n": 20},
        dict.fromkeys(ALL, SAME)
        | {"perdure-process": SAME, "prefect": {"n": 300}, "dbos": {"n": 2000}},
    ),
    "fan-out 10k sync": Workload(
        "Fan-out of 10,000 sync tasks from an async parent",
        "fan_out_sync",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 10_000},
        {"n": 20},
        {"perdure": SAME, "flyte": {"n": 2000}},
        dict.fromkeys(("processes", "ray", "dask", "prefect", "dbos"), AS_FAN_OUT),
    ),
    "fan-out 100k async": Workload(
        "Fan-out of 100,000 no-op tasks",
        "fan_out",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 100_000},
        {"n": 30},
        {"perdure": SAME, "perdure-process": SAME, "processes": SAME, "ray": SAME, "flyte": SAME},
        dict.fromkeys(("dask", "prefect", "dbos"), SLOW_100K),
        timeout=240,
    ),
    "map 10k": Workload(
        "Map of a sync parent over 10,000 items",
        "map_",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 10_000},
        {"n": 20},
        {"perdure": SAME, "processes": SAME},
        dict.fromkeys(("ray", "flyte", "dask", "prefect", "dbos"), AS_FAN_OUT),
    ),
    "map 100k": Workload(
        "Map of a sync parent over 100,000 items",
        "map_",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 100_000},
        {"n": 30},
        {"perdure": SAME, "perdure-process": SAME, "processes": SAME},
        dict.fromkeys(("ray", "flyte", "dask", "prefect", "dbos"), AS_FAN_OUT),
    ),
    "map 1M": Workload(
        "Map of a sync parent over 1,000,000 items",
        "map_",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 1_000_000},
        {"n": 40},
        {"perdure": SAME},
        {"processes": "submits all before it gives the first: minutes and gigabytes"}
        | dict.fromkeys(("ray", "flyte", "dask", "prefect", "dbos"), "would take far too long"),
        timeout=240,
    ),
    "nested 100 x 100": Workload(
        "100 parents of 100 tasks each, async",
        "nested_async",
        "leaves_per_s",
        "leaves/s",
        "higher",
        {"m": 100},
        {"m": 3},
        {"perdure": SAME, "flyte": SAME, "dbos": {"m": 30}},
        {
            "processes": "a task cannot start tasks",
            "ray": "see sync",
            "dask": "see sync",
            "prefect": "see sync",
        },
    ),
    "nested 100 x 100 sync": Workload(
        "100 parents of 100 tasks each, sync",
        "nested_sync",
        "leaves_per_s",
        "leaves/s",
        "higher",
        {"m": 100},
        {"m": 3},
        {"perdure": SAME, "ray": SAME, "dask": SAME, "prefect": {"m": 10}},
        {
            "processes": "a task cannot start tasks",
            "flyte": "see async",
            "dbos": "see async",
        },
        timeout=240,
    ),
    "cpu-bound 200 x 50 ms": Workload(
        "200 tasks of 50 ms of work: efficiency against plain processes",
        "cpu_bound",
        "efficiency",
        "of ideal",
        "higher",
        {"n": 200},
        {"n": 4, "turns": 1000},
        dict.fromkeys(ALL, SAME) | {"prefect": {"n": 60}},
    ),
    "hand-over 1 GB": Workload(
        "1 GB array, made in one task and summed in the next",
        "hand_over",
        "hand_over_s",
        "s",
        "lower",
        {"mb": 1000},
        {"mb": 1},
        dict.fromkeys(ALL, SAME) | {"dbos": {"mb": 100}},
        notes={
            "perdure": "mapped from a file, which was written once",
            "processes": "through pipes, by way of the caller",
            "ray": "by shared memory",
            "flyte": "in one process, through a mapped file",
            "dask": "by TCP",
            "prefect": "in one process: nothing is handed over",
            "dbos": "in one process; also pickled into the database",
        },
        also={
            "eight_s": "then to 8 tasks, s",
            "eight_to_in_place": "against 8 sums in place",
            "reader_private_mb": "private to a reader, MB",
        },
    ),
    "sleepers 1000 x 1 s": Workload(
        "1,000 async tasks that sleep for 1 s, in one worker",
        "sleepers",
        "wall_s",
        "s",
        "lower",
        {"n": 1000, "seconds": 1.0},
        {"n": 10, "seconds": 0.01},
        {"perdure": SAME, "ray": SAME, "flyte": SAME, "dask": SAME, "dbos": SAME}
        | {"prefect": {"n": 100}},
        {"processes": "one task per process at a time"},
    ),
    "resume 100k": Workload(
        "Kill -9 after 100,000 finished tasks: process start to first new task",
        "resume",
        "resume_s",
        "s",
        "lower",
        {"n": 100_000},
        {"n": 20},
        {"perdure": SAME, "flyte": {"n": 1000}, "prefect": {"n": 100}, "dbos": {"n": 2000}},
        dict.fromkeys(("processes", "ray", "dask"), FORGETS),
        notes={
            "flyte": "no resume: the second run finds results in its cache",
            "prefect": "no resume: the second run finds persisted results",
        },
        also={"first_s": "first process, s"},
    ),
    "retries": Workload(
        "1,000 tasks that each fail once",
        "retries",
        "tasks_per_s",
        "tasks/s",
        "higher",
        {"n": 1000},
        {"n": 10},
        {"perdure": SAME, "ray": SAME, "flyte": SAME, "dask": SAME}
        | {"prefect": {"n": 100}, "dbos": {"n": 300}},
        {"processes": "has no retries"},
    ),
    "mixed": Workload(
        "One task of 2 s amid 5,000 short ones: until the last short one is done",
        "mixed",
        "short_done_s",
        "s",
        "lower",
        {"n": 5000, "long_s": 2.0},
        {"n": 10, "long_s": 0.01},
        dict.fromkeys(ALL, SAME)
        # As many as they do in about a second: more would take longer than the long one.
        | {"ray": {"n": 1000}, "flyte": {"n": 600}, "dask": {"n": 400}}
        | {"prefect": {"n": 100}, "dbos": {"n": 200}},
        also={"all_done_s": "all done, s"},
    ),
    "growth 10k": Workload(
        "Cost growth: a run of 10,000 tasks",
        "growth",
        "us_per_task",
        "µs/task",
        "lower",
        {"n": 10_000},
        {"n": 20},
        {"perdure": SAME},
        dict.fromkeys(ALL[1:], OURS_ALONE),
    ),
    "growth 1M": Workload(
        "Cost growth: a run of 1,000,000 tasks",
        "growth",
        "us_per_task",
        "µs/task",
        "lower",
        {"n": 1_000_000},
        {"n": 30},
        {"perdure": SAME},
        dict.fromkeys(ALL[1:], OURS_ALONE),
        timeout=300,
    ),
}
