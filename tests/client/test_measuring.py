"""What processes use, from what the kernel tells."""

import itertools

import pytest

from perdure.client import measuring
from perdure.client.measuring import Meter


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A machine with two processes, the second a child of the first."""
    monkeypatch.setattr(measuring, "_TICK", 0.01)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 400 kB\n")
    process(tmp_path, 10, parent=1, ticks=0, memory=100)
    process(tmp_path, 11, parent=10, ticks=0, memory=50)
    machine(tmp_path, busy=0, idle=0)
    return tmp_path


def process(proc, pid, *, parent, ticks, memory):
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    rest = " ".join(["0"] * 8)
    stat = f"{pid} (a ) b) S {parent} {pid} {rest} {ticks} 0 0 0 0 0 0 0"
    (folder / "stat").write_text(stat)
    (folder / "status").write_text(f"RssAnon: {memory} kB\nRssShmem: 0 kB\nVmSwap: 0 kB\n")


def machine(proc, *, busy, idle):
    (proc / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0\n")


def test_a_process_counts_with_all_it_has_started(proc):
    meter = Meter(str(proc), itertools.count(100.0, 2.0).__next__)
    first = meter.processes([10])[10]
    assert (first.cpu, first.memory, first.processes) == (None, 150 << 10, 2)
    process(proc, 10, parent=1, ticks=100, memory=100)
    process(proc, 11, parent=10, ticks=200, memory=70)
    second = meter.processes([10])[10]
    assert (second.cpu, second.memory) == (1.5, 170 << 10)


def test_processes_that_are_gone_are_left_out(proc):
    assert Meter(str(proc)).processes([99]) == {}


def test_the_machine_is_busy_between_two_looks(proc):
    meter = Meter(str(proc))
    assert meter.machine().cpu is None
    machine(proc, busy=75, idle=25)
    found = meter.machine()
    assert found.cpu == 0.75 * found.cores
    assert (found.memory, found.total) == (600 << 10, 1000 << 10)


def test_where_the_kernel_tells_nothing_nothing_is_known(proc):
    meter = Meter(str(proc / "nowhere"))
    assert meter.processes([10]) == {}
    assert (meter.machine().cpu, meter.machine().memory) == (None, None)
