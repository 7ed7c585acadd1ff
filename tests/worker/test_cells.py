"""Control groups of workers: against a kernel that is played, and against this machine's."""

import contextlib
import errno
import os
import subprocess
import sys

import pytest

from perdure._engines.cells import Cause, Cells, Division, Kernel
from perdure._engines.cgroups import groups
from perdure._worker.watch import Watch
from worker.hierarchy import TOP, Hierarchy

MIB = 1 << 20
ME, SERVER, WORKER, STRANGER = os.getpid(), 9_000_001, 9_000_002, 9_000_003
BASE = TOP / "box"
MAIN = BASE / f"perdure-{ME}"


@pytest.fixture
def kernel():
    """A machine on which this process is in a group with a forkserver and its worker."""
    kernel = Hierarchy()
    kernel.make(BASE)
    kernel.process(ME, BASE)
    kernel.process(SERVER, BASE, ME)
    kernel.process(WORKER, BASE, SERVER)
    return kernel


def divided(kernel, base=BASE):
    division = Division(kernel, lambda: base)
    return division, division.open({SERVER})


# --- dividing -------------------------------------------------------------------------------------


def test_a_group_that_is_ours_alone_is_divided_and_put_together_again(kernel):
    before = kernel.state()
    division, prefix = divided(kernel)
    assert prefix == f"{MAIN}-"
    assert kernel.state() == {
        TOP: ([], {"memory"}),
        BASE: ([], {"memory"}),
        MAIN: ([ME, SERVER, WORKER], set()),
    }
    Cells(prefix, kernel).limit(WORKER, 7, MIB)
    kernel.ended(WORKER)
    kernel.process(WORKER, BASE / f"perdure-{ME}", ME)  # what the user starts meanwhile
    division.close()
    assert kernel.state() == before
    division.close()


def test_the_forkserver_of_a_dead_process_puts_the_group_together_again(kernel):
    before = kernel.state()
    cells = Cells(divided(kernel)[1], kernel)
    cells.limit(WORKER, 7, MIB)
    kernel.ended(WORKER)
    cells.close()
    assert kernel.state()[MAIN] == ([ME, SERVER], set())
    cells.close(unite=True)
    kernel.process(WORKER, BASE, SERVER)
    assert kernel.state() == before


def stranger(kernel):
    kernel.process(STRANGER, BASE, ME)


def stranger_meanwhile(kernel):
    def arrive(path, text):
        if STRANGER not in kernel.parents:
            kernel.process(STRANGER, BASE)

    kernel.on_write = arrive


def somebody_always(kernel):
    """A worker that starts processes faster than they can be moved."""

    def fork(path, text):
        if path == MAIN / "cgroup.procs":
            kernel.process(max(kernel.parents) + 10, BASE, SERVER)

    kernel.on_write = fork


def elsewhere(kernel):
    kernel.make(TOP / "other")
    kernel.write(TOP / "other" / "cgroup.procs", str(ME))


@pytest.mark.parametrize(
    ("twist", "where"),
    [
        (lambda kernel: None, None),
        (lambda kernel: None, TOP),
        (lambda kernel: kernel.groups[BASE].files.update({"cgroup.type": "threaded"}), BASE),
        (lambda kernel: kernel.groups[TOP].control.clear(), BASE),
        (lambda kernel: kernel.locked.add(BASE), BASE),
        (lambda kernel: kernel.locked.add(MAIN / "cgroup.procs"), BASE),
        (lambda kernel: kernel.locked.add(BASE / "cgroup.subtree_control"), BASE),
        (lambda kernel: kernel.lacking.add("memory.oom.group"), BASE),
        (stranger, BASE),
        (stranger_meanwhile, BASE),
        (somebody_always, BASE),
        (elsewhere, BASE),
    ],
    ids=[
        "no version 2", "everybody's", "of threads", "without memory", "read-only",
        "nobody may be moved", "may not be divided", "old kernel", "not ours alone",
        "not ours alone any more", "never empty", "not where we are",
    ],
)  # fmt: skip
def test_where_it_cannot_be_divided_all_stays_as_it_was(kernel, twist, where, caplog):
    caplog.set_level("DEBUG", "perdure")
    twist(kernel)
    before = kernel.state()
    division, prefix = divided(kernel, where)
    assert prefix == ""
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    division.close()
    there = kernel.state()
    assert there.keys() == before.keys()
    for path, (pids, control) in before.items():
        assert set(pids) <= set(there[path][0])
        assert control == there[path][1]


def test_processes_that_start_or_end_while_others_are_moved_are_no_obstacle(kernel):
    def happen(path, text):
        if text == str(SERVER):
            kernel.on_write = lambda path, text: None
            kernel.ended(WORKER)
            kernel.process(WORKER + 10, BASE, SERVER)

    kernel.on_write = happen
    assert divided(kernel)[1]
    assert kernel.state()[MAIN] == ([ME, SERVER, WORKER + 10], set())


def test_what_dead_processes_left_behind_is_removed(kernel):
    names = (f"perdure-{STRANGER}", f"perdure-{STRANGER}-1", f"perdure-{SERVER}-1", "perdure-x")
    for name in names:
        kernel.make(BASE / name)
    kernel.process(WORKER + 10, BASE / names[0], ME)  # it has left a process, too
    divided(kernel)
    assert set(kernel.children(BASE)) == {MAIN, *(BASE / names[at] for at in (0, 2, 3))}


# --- cells ----------------------------------------------------------------------------------------


@pytest.fixture
def cells(kernel):
    return Cells(divided(kernel)[1], kernel)


CELL = BASE / f"perdure-{ME}-ff"


def files(kernel, *names):
    return [kernel.groups[CELL].files.get(f"memory.{name}") for name in names]


def test_a_worker_has_a_cell_once_it_has_a_limit(kernel, cells):
    cells.limit(WORKER, 255, 0)
    assert CELL not in kernel.groups
    cells.limit(WORKER, 255, 100 * MIB)
    assert kernel.groups[CELL].pids == [WORKER]
    assert files(kernel, "max", "oom.group", "swap.max") == [str(100 * MIB), "1", "0"]
    cells.limit(WORKER, 255, 0)
    assert files(kernel, "max") == ["max"]
    kernel.ended(WORKER)
    assert cells.leave(WORKER) is Cause.OTHER
    assert CELL not in kernel.groups
    assert cells.leave(WORKER) is None


@pytest.mark.parametrize(("cached", "bound"), [(0, 130), (20, 110), (30, 100)])
def test_a_worker_may_take_its_limit_on_top_of_what_it_has_except_cached_files(
    kernel, cells, cached, bound
):
    cells.limit(WORKER, 255, 100 * MIB)
    stat = f"anon 5\nactive_file {cached * MIB // 2}\ninactive_file {cached * MIB // 2}\n"
    kernel.groups[CELL].files |= {"memory.current": f"{50 * MIB}\n", "memory.stat": stat}
    cells.limit(WORKER, 255, 80 * MIB)
    assert files(kernel, "max") == [str(bound * MIB)]


def test_a_bound_is_never_below_what_is_there(kernel, cells):
    cells.limit(WORKER, 255, 100 * MIB)
    stat = f"active_file 0\ninactive_file {90 * MIB}\n"
    kernel.groups[CELL].files |= {"memory.current": f"{95 * MIB}\n", "memory.stat": stat}
    cells.limit(WORKER, 255, 10 * MIB)
    assert files(kernel, "max") == [str(95 * MIB)]


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ("max 3\noom 1\noom_kill 2\n", Cause.OVER),
        ("max 3\noom 0\noom_kill 2\n", Cause.SHORT),  # the limit of an outer group, or all memory
        ("max 3\noom 1\noom_kill 0\n", Cause.OTHER),
    ],
)
def test_the_kernel_tells_why_a_worker_was_killed(kernel, cells, events, cause):
    cells.limit(WORKER, 255, MIB)
    kernel.groups[CELL].files["memory.events"] = events
    assert cells.leave(WORKER) is cause


def test_a_cell_in_which_something_goes_on_is_removed_later(kernel, cells):
    cells.limit(WORKER, 255, MIB)
    kernel.process(WORKER + 10, CELL, 1)
    kernel.ended(WORKER)
    cells.leave(WORKER)
    assert CELL in kernel.groups
    kernel.ended(WORKER + 10)
    cells.close()
    assert CELL not in kernel.groups


@pytest.mark.parametrize("refused", ["make", "memory.oom.group", "cgroup.procs", "memory.max"])
def test_a_worker_without_a_cell_goes_on(kernel, cells, refused):
    if refused == "make":
        kernel.locked.add(BASE)
    kernel.locked.add(CELL / refused)
    cells.limit(WORKER, 255, MIB)
    cells.limit(WORKER, 255, 2 * MIB)
    assert kernel.where(WORKER) is kernel.groups[CELL if refused == "memory.max" else MAIN]
    kernel.ended(WORKER)
    assert cells.leave(WORKER) in (None, Cause.OTHER)
    assert CELL not in kernel.groups


def test_swap_that_the_kernel_does_not_count_is_no_obstacle(kernel, cells):
    kernel.lacking.add("memory.swap.max")
    cells.limit(WORKER, 255, MIB)
    assert files(kernel, "max") == [str(MIB)]


def test_where_there_are_no_cells_nothing_is_asked_of_the_kernel():
    cells = Cells("", None)
    cells.limit(ME, 1, MIB)
    assert cells.leave(ME) is None
    cells.close()


def test_who_was_stopped_by_the_kernel_is_to_blame_whatever_was_there_before(kernel):
    memory = FixedMemory()
    watch = Watch(memory)
    assert watch.stopped(WORKER) is None
    watch.limit(WORKER, 100 * MIB)
    use = watch.stopped(WORKER)
    assert (use.limit, use.before) == (100 * MIB, 70 * MIB)
    assert use.peak - use.before > use.limit


class FixedMemory:
    total = 0

    def processes(self):
        return {WORKER}

    def held(self, pid):
        return 70 * MIB if pid == WORKER else 0


class Divider:
    """Divides nothing, but says so. Where it says that cells are to be made, none can be."""

    def __init__(self, prefix):
        self.prefix, self.asked, self.closed = prefix, [], 0

    def open(self, servers):
        self.asked.append(servers)
        return self.prefix

    def close(self):
        self.closed += 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits are kept with /proc")
def test_a_worker_whose_cell_cannot_be_had_is_kept_to_its_limit_all_the_same(at_desk, tmp_path):
    divider = Divider(f"{tmp_path}/cell-")

    async def scenario(desk):
        desk.engine._division = divider
        peer = await desk.worker(1)
        desk.engine.limit(1, 0)
        assert divider.asked == []
        for limit in (512 * MIB, 128 * MIB):
            desk.engine.limit(1, limit)
        peer.start("take", size=300 * MIB)
        end = await desk.exits.get()
        assert end.over.limit == 128 * MIB < end.over.peak
        (servers,) = divider.asked
        assert servers == {desk.engine._here.server}

    at_desk(scenario)
    assert divider.closed == 1
    assert not (tmp_path / "cell-1").exists()  # it was made, could do nothing, and was removed


# --- what the kernel says -------------------------------------------------------------------------


def refused(number, act, *arguments):
    with pytest.raises(OSError, match=r".") as caught:
        act(*arguments)
    return caught.value.errno == number


def check_rules(kernel, group, pid, stranger):
    """See that a kernel refuses what we think it does; the process is in the group."""
    procs, control, leaf = group / "cgroup.procs", group / "cgroup.subtree_control", group / "leaf"
    assert refused(errno.EBUSY, kernel.write, control, "+memory")
    assert refused(errno.EBUSY, kernel.remove, group)
    kernel.make(leaf)
    assert refused(errno.EEXIST, kernel.make, leaf)
    assert refused(errno.ENOENT, kernel.read, leaf / "memory.max")
    assert refused(errno.ENOENT, kernel.make, group / "not" / "there")
    assert refused(errno.ESRCH, kernel.write, leaf / "cgroup.procs", str(stranger))
    assert refused(errno.ENOENT, kernel.write, leaf / "cgroup.subtree_control", "+memory")
    kernel.write(leaf / "cgroup.procs", str(pid))
    kernel.write(control, "+memory")
    assert kernel.read(leaf / "memory.events").split()
    assert refused(errno.EBUSY, kernel.write, procs, str(pid))
    assert refused(errno.EBUSY, kernel.remove, leaf)
    assert refused(errno.EBUSY, kernel.remove, group)
    assert kernel.children(group) == [leaf]
    kernel.write(control, "-memory")
    kernel.write(procs, str(pid))
    kernel.remove(leaf)
    assert kernel.children(group) == []
    assert kernel.read(procs).split() == [str(pid)]


def test_the_kernel_that_is_played_refuses_what_we_think_a_kernel_does():
    kernel = Hierarchy()
    kernel.make(BASE)
    kernel.process(WORKER, BASE)
    check_rules(kernel, BASE, WORKER, STRANGER)


ALONE = """
import os, signal, sys
from pathlib import Path
from perdure._engines.cells import Cause, Cells, Division
from perdure._engines.cgroups import own_group

sys.stdin.readline()
group = own_group()


def child(take):
    begin, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(begin, 1)
        held = bytearray(take)
        held[::4096] = b"x" * len(held[::4096])
        os._exit(0)
    os.close(begin)
    return pid, go


def end(pid, go):
    os.write(go, b"!")
    os.close(go)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, cells.leave(pid)


greedy, modest = child(200 << 20), child(1 << 20)
division = Division()
prefix = division.open({greedy[0], modest[0]})
assert own_group() == Path(prefix[:-1]), prefix
cells = Cells(prefix)
cells.limit(greedy[0], 1, 32 << 20)
cells.limit(modest[0], 2, 32 << 20)
assert len(list(group.glob("perdure-*-*"))) == 2
assert end(*greedy) == (-signal.SIGKILL, Cause.OVER)
assert end(*modest) == (0, Cause.OTHER)
cells.close()
division.close()
assert own_group() == group
assert not list(group.glob("perdure-*"))
"""


def group_for_a_test(pid):
    """Return a control group that may limit memory, with this process in it; None: not here."""
    for version, folder in groups("memory"):
        group = folder / f"test-{pid}"
        with contextlib.suppress(OSError):
            if version == 2 and "memory" in (folder / "cgroup.subtree_control").read_text():
                group.mkdir()
                try:
                    (group / "cgroup.procs").write_text(str(pid))
                except OSError:
                    group.rmdir()
                else:
                    return group
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are of Linux")
def test_the_kernel_of_this_machine_keeps_workers_to_their_memory_if_it_lets_us():
    with subprocess.Popen(
        [sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        group = group_for_a_test(process.pid)
        try:
            if group is None:  # at any rate, we have company here
                assert Division().open(()) == ""
                return
            check_rules(Kernel(), group, process.pid, 1 << 22)
            _, said = process.communicate("go\n", timeout=60)
            assert (process.returncode, said) == (0, "")
            group.rmdir()
        finally:
            process.kill()
