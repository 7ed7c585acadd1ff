"""How much memory processes use: read from what the kernel would say, and from real processes."""

import os
import signal
import sys

import pytest

from perdure._core.model import MemoryUse
from perdure._engines.threads import thread_variables
from perdure._serde import loads
from perdure._worker import watch as watching
from perdure._worker.memory import Memory, Trees
from perdure._worker.watch import LEAST_LIMIT, Watch, enforced

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are kept with /proc")
MIB = 1 << 20


class Kernel:
    """A folder that looks like /proc, and one like that of a control group."""

    def __init__(self, folder):
        self.proc, self.groups = folder / "proc", folder / "groups"
        self.proc.mkdir()
        self.groups.mkdir()
        (self.proc / "self").mkdir()
        self.machine(total=10_000, available=8_000)

    def machine(self, total, available, stalled=0.0):
        text = f"MemTotal: {total << 10} kB\nMemAvailable:   {available << 10} kB\n"
        (self.proc / "meminfo").write_text(text)
        (self.proc / "pressure").mkdir(exist_ok=True)
        some = "some avg10=90.00 avg60=0.00 avg300=0.00 total=1\n"
        text = f"{some}full avg10={stalled:.2f} avg60=0.00 avg300=0.00 total=1\n"
        (self.proc / "pressure" / "memory").write_text(text)

    def process(self, pid, parent=1, group=0, *, resident=0, held=0, share=0):
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        pages = (resident * MIB) // os.sysconf("SC_PAGE_SIZE")
        (folder / "stat").write_text(f"{pid} (a (strange) name) S {parent} {group} 0 0")
        (folder / "statm").write_text(f"99999999 {pages} 1 1 0 1 0")
        text = f"RssAnon:\t {held << 10} kB\nRssFile:\t 7777777 kB\nRssShmem: 0 kB\nVmSwap: 0 kB\n"
        (folder / "status").write_text(text)
        half = share << 9
        text = f"Pss: 9999999 kB\nPss_Anon: {half} kB\nPss_Shmem: {half} kB\nSwapPss: 0 kB\n"
        (folder / "smaps_rollup").write_text(text)

    def ended(self, pid):
        for file in (self.proc / str(pid)).iterdir():
            file.unlink()
        (self.proc / str(pid)).rmdir()

    def memory(self):
        return Memory(str(self.proc))

    def member(self, version):
        """Put this process into a group; return the folder of its files."""
        own, kind, options = {
            1: ("5:cpu:/\n4:memory:/outside\n0::/\n", "cgroup", "rw,memory"),
            2: ("0::/outside\n", "cgroup2", "rw"),
        }[version]
        (self.proc / "self" / "cgroup").write_text(own)
        mount = f"31 24 0:27 /outside {self.groups} rw - {kind} name {options}\n"
        (self.proc / "self" / "mountinfo").write_text(mount)
        return self.groups


@pytest.fixture
def kernel(tmp_path):
    return Kernel(tmp_path)


# --- processes ------------------------------------------------------------------------------------


def test_mapped_files_are_resident_and_not_held(kernel):
    kernel.process(5, resident=500, held=30, share=20)
    memory = kernel.memory()
    assert memory.resident(5) == 500 * MIB
    assert memory.held(5) == 30 * MIB
    assert memory.share(5) == 20 * MIB


def test_a_process_that_is_gone_uses_nothing(kernel):
    memory = kernel.memory()
    assert (memory.resident(5), memory.held(5), memory.share(5)) == (0, 0, 0)
    assert memory.family(5) == (0, 0)


def test_old_kernels_do_not_tell_shares(kernel):
    kernel.process(5, held=30)
    (kernel.proc / "5" / "smaps_rollup").write_text("Rss: 1 kB\nPss: 1 kB\n")
    assert kernel.memory().share(5) == 30 * MIB


def test_descendants_and_members_of_the_group_belong_to_a_worker(kernel):
    for pid, parent, group in ((10, 1, 10), (11, 10, 10), (12, 11, 12), (13, 1, 10), (14, 1, 14)):
        kernel.process(pid, parent, group)
    kernel.process(20, 1, 20)
    assert Trees(kernel.memory()).update([10, 20]) == {10: [10, 11, 12, 13], 20: [20]}


def test_a_process_stays_with_its_worker_when_its_parent_ends(kernel):
    for pid, parent in ((10, 1), (11, 10), (12, 11)):
        kernel.process(pid, parent, pid)
    trees = Trees(kernel.memory())
    trees.update([10])
    kernel.ended(11)
    kernel.process(12, 1, 12)
    assert trees.update([10]) == {10: [10, 12]}


def test_a_child_with_a_smaller_number_than_its_parent_is_found(kernel):
    for pid, parent in ((30, 1), (7, 25), (25, 30)):
        kernel.process(pid, parent, pid)
    assert sorted(Trees(kernel.memory()).update([30])[30]) == [7, 25, 30]


# --- limits ---------------------------------------------------------------------------------------


@pytest.fixture
def timeless(monkeypatch):
    """Every look is due."""
    monkeypatch.setattr(watching, "SOONEST", 0.0)
    monkeypatch.setattr(watching, "LATEST", 0.0)
    monkeypatch.setattr(watching, "LATEST_MACHINE", 0.0)


def test_who_uses_more_than_the_limit_is_found_with_all_its_processes(kernel, timeless):
    kernel.process(10, 1, 10, held=40)
    watch = Watch(kernel.memory())
    watch.limit(10, 100 * MIB)
    assert watch.look([10]) == []
    kernel.process(10, 1, 10, resident=90, held=90, share=80)
    kernel.process(11, 10, 10, resident=90, held=90, share=80)
    assert watch.look([10]) == [([10, 11], MemoryUse(100 * MIB, 160 * MIB, 40 * MIB))]


def test_what_a_fresh_worker_holds_nobody_has_left_behind(kernel, timeless):
    kernel.process(os.getpid(), held=25)  # the process that workers are forked from
    kernel.process(10, 1, 10, resident=30, held=30)
    watch = Watch(kernel.memory())
    watch.limit(10, 100 * MIB)
    kernel.process(10, 1, 10, resident=105, held=105, share=105)
    assert watch.look([10]) == [([10], MemoryUse(100 * MIB, 105 * MIB, 5 * MIB))]
    assert watch.stopped(10).peak > 130 * MIB


def test_who_was_started_since_the_last_search_ends_with_the_worker(kernel, timeless):
    kernel.process(10, 1, 10, resident=40, held=40)
    watch = Watch(kernel.memory())
    watch.limit(10, 100 * MIB)
    watch.look([10])
    watch._search_due = float("inf")
    kernel.process(11, 10, 11, resident=90, held=90, share=90)
    assert watch.look([10]) == []
    kernel.process(10, 1, 10, resident=101, held=101, share=101)
    assert watch.look([10]) == [([10, 11], MemoryUse(100 * MIB, 101 * MIB, 40 * MIB))]


def test_what_is_shared_or_mapped_is_no_reason(kernel, timeless):
    kernel.process(10, 1, 10, resident=900, held=200, share=80)
    watch = Watch(kernel.memory())
    watch.limit(10, 100 * MIB)
    assert watch.look([10]) == []


def test_a_limit_of_zero_is_none(kernel, timeless):
    kernel.process(10, 1, 10, resident=900, held=900, share=900)
    watch = Watch(kernel.memory())
    watch.limit(10, 100 * MIB)
    watch.limit(10, 0)
    watch.limit(11, 0)
    assert watch.look([10]) == []


def test_what_a_worker_begins_with_is_let_pass_however_little_was_asked_for():
    assert [enforced(each) for each in (1, 1 << 20, 1 << 30)] == [LEAST_LIMIT, LEAST_LIMIT, 1 << 30]
    assert enforced(0) == 0


def test_where_nobody_declares_memory_no_process_is_looked_at(kernel, timeless, monkeypatch):
    memory = kernel.memory()
    watch = Watch(memory)
    monkeypatch.setattr(memory, "processes", lambda: 1 / 0)
    assert watch.look([10]) == []
    assert watch.low({10: 1}) is None


def test_without_workers_there_is_nothing_to_wait_for(kernel):
    watch = Watch(kernel.memory())
    assert watch.wait([]) is None
    assert watch.wait([10]) == 0.0
    assert Watch(None).wait([10]) is None


def test_elsewhere_nobody_is_watched():
    watch = Watch(None)
    watch.limit(os.getpid(), 1)
    assert watch.look([os.getpid()]) == []
    assert watch.low({os.getpid(): 1}) is None


# --- the machine ----------------------------------------------------------------------------------


def test_little_memory_is_told_with_what_each_worker_uses(kernel, timeless):
    kernel.machine(total=10_000, available=900)
    kernel.process(10, 1, 10, held=40)
    kernel.process(11, 10, 10, held=2)
    watch = Watch(kernel.memory())
    low = watch.low({10: 7})
    assert (low.available, low.floor, low.uses) == (900 * MIB, 1000 * MIB, {7: 42 * MIB})
    kernel.machine(total=10_000, available=1000)
    assert watch.low({10: 7}) is None


def test_more_has_to_be_left_while_everybody_waits_for_memory(kernel):
    kernel.machine(total=10_000, available=500, stalled=30.0)
    assert kernel.memory().floor() == 2000 * MIB


def test_what_has_to_be_left_is_neither_nothing_nor_gigabytes(kernel):
    kernel.machine(total=1_000, available=500)
    assert kernel.memory().floor() == 256 * MIB
    kernel.machine(total=1_000_000, available=500)
    assert kernel.memory().floor() == 4096 * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_has_what_its_group_has(kernel, version):
    folder = kernel.member(version)
    limit, usage, idle = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    (folder / limit).write_text(f"{1000 * MIB}\n")
    (folder / usage).write_text(f"{900 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{idle} {50 * MIB}\n")
    memory = kernel.memory()
    assert memory.available() == 150 * MIB
    assert memory.total == 1000 * MIB


def test_a_group_without_limit_has_what_the_machine_has(kernel):
    (kernel.member(2) / "memory.max").write_text("max\n")
    assert kernel.memory().available() == 8_000 * MIB


# --- real processes -------------------------------------------------------------------------------


@linux
def test_a_worker_over_its_limit_is_killed_and_others_are_not(at_desk):
    async def scenario(desk):
        modest = await desk.worker(1)
        greedy = await desk.worker(2)
        desk.engine.limit(1, 2 << 40)
        desk.engine.limit(2, 128 * MIB)
        greedy.start("take", size=300 * MIB)
        end = await desk.exits.get()
        assert (end.worker, end.signal) == (2, signal.SIGKILL)
        assert end.over.limit == 128 * MIB < end.over.peak
        assert end.over.before < 128 * MIB
        modest.start("take", size=1)
        assert (await modest.done()).failure is None

    at_desk(scenario)


@linux
def test_who_asked_for_next_to_nothing_is_told_the_limit_that_was_kept(at_desk):
    async def scenario(desk):
        peer = await desk.worker(1)
        desk.engine.limit(1, 1)
        peer.start("take", size=300 * MIB)
        assert (await desk.exits.get()).over.limit == LEAST_LIMIT

    at_desk(scenario)


@linux
def test_what_a_worker_has_started_counts_and_ends_with_it(at_desk, wait_for_end):
    async def scenario(desk):
        peer = await desk.worker()
        desk.engine.limit(1, 128 * MIB)
        peer.start("take_elsewhere", size=300 * MIB, note=str(desk.home / "note"))
        end = await desk.exits.get()
        assert end.over.peak > 128 * MIB
        wait_for_end(int((desk.home / "note").read_text()))

    at_desk(scenario)


# --- threads --------------------------------------------------------------------------------------


def test_libraries_start_as_many_threads_as_cores_were_asked_for():
    names = thread_variables(3, ())
    assert names[b"OMP_NUM_THREADS"] == names[b"POLARS_MAX_THREADS"] == b"3"
    assert set(names.values()) == {b"3"}


def test_what_the_user_has_set_is_left_alone():
    names = thread_variables(3, [b"POLARS_MAX_THREADS"])
    assert b"POLARS_MAX_THREADS" not in names
    assert names[b"OPENBLAS_NUM_THREADS"] == b"3"


def test_libraries_that_follow_what_the_user_has_set_are_left_alone():
    names = thread_variables(3, [b"OMP_NUM_THREADS"])
    assert not names.keys() & {b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"MKL_NUM_THREADS"}
    assert names[b"POLARS_MAX_THREADS"] == b"3"


def test_threads_are_settled_before_user_code_is_imported(at_desk, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("POLARS_MAX_THREADS", "7")

    async def scenario(desk):
        peer = await desk.worker(env_vars=(("MKL_NUM_THREADS", "5"),))
        names = [f"{each}_THREADS" for each in ("OMP_NUM", "POLARS_MAX", "MKL_NUM")]
        peer.start("surroundings", names=names)
        seen = loads((await peer.done()).value, None)["env"]
        assert list(seen.values()) == ["1", "7", "5"]

    at_desk(scenario)
