"""What is found of the machine, and what is declared of it."""

from pathlib import Path

import pytest

from perdure import errors
from perdure._core.model import Device
from perdure._engines import gpus, machine
from perdure._engines.cgroups import Group, own_group
from perdure._engines.cgroups import groups as groups_of
from perdure._engines.machine import capacity_of_this_machine
from perdure.config import declared_resources

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system of control groups without limits, in which this process is in ``/a/b``."""
    folder = tmp_path / "a folder"
    (folder / "a/b").mkdir(parents=True)
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("4:cpu,cpuacct:/v1\n3:memory:/v1\n1:name=x:/v1\n0::/a/b\n")
    point = str(folder).replace(" ", r"\040")
    mounts = [
        f"30 1 0:9 / {point} rw shared:4 - cgroup2 cgroup2 rw",
        f"31 1 0:7 / {point}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        f"32 1 0:8 / {point}/memory rw - cgroup cgroup rw,memory",
        f"33 1 0:6 / {point}/x rw - tmpfs tmpfs rw,cpu,memory",
    ]
    (proc / "self/mountinfo").write_text("\n".join(mounts))
    monkeypatch.setattr(machine, "PROC", proc)
    monkeypatch.setattr(machine, "devices_here", tuple)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_without_limits_there_is_what_the_machine_has(groups: Path, tmp_path: Path) -> None:
    write(groups / "a/b/cpu.max", "max 100000")
    write(groups / "a/b/memory.max", "max")
    found = capacity_of_this_machine(tmp_path / "not" / "there")
    assert found.cpu >= 1
    assert found.memory > GIB // 4
    assert found.disk > 0
    assert found.devices == ()


@pytest.mark.parametrize("where", [".", "a", "a/b"])
def test_limits_of_control_groups_are_respected(groups: Path, tmp_path: Path, where: str) -> None:
    write(groups / where / "cpu.max", "50000 100000")
    write(groups / where / "memory.max", "1048576")
    found = capacity_of_this_machine(tmp_path)
    assert (found.cpu, found.memory) == (0.5, 1 << 20)


def test_limits_of_control_groups_of_version_1_are_respected(groups: Path, tmp_path: Path) -> None:
    write(groups / "cpu/v1/cpu.cfs_quota_us", "25000")
    write(groups / "cpu/v1/cpu.cfs_period_us", "100000")
    write(groups / "memory/v1/memory.limit_in_bytes", "2097152")
    found = capacity_of_this_machine(tmp_path)
    assert (found.cpu, found.memory) == (0.25, 2 << 20)
    write(groups / "cpu/v1/cpu.cfs_quota_us", "-1")
    assert capacity_of_this_machine(tmp_path).cpu >= 1


@pytest.mark.parametrize(
    ("root", "path", "seen"),
    [
        ("/", "/a/b", ["a/b", "a", "."]),
        ("/a", "/a/b", ["b", "."]),
        ("/a/b", "/a/b", ["."]),
        ("/", "/", ["."]),
        ("/a/b", "/a/bc", ["."]),  # not below what is mounted: that is as near as we come
        ("/", "/../c", ["."]),
    ],
)
def test_groups_are_those_that_can_be_seen_the_own_one_first(
    tmp_path: Path, root: str, path: str, seen: list[str]
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(f"0::{path}\n")
    (tmp_path / "self/mountinfo").write_text(f"30 1 0:9 {root} /top rw - cgroup2 x rw\n")
    assert groups_of("memory", tmp_path) == [Group(2, Path("/top") / each) for each in seen]
    assert own_group(tmp_path) == Path("/top") / seen[0]
    assert own_group(tmp_path / "nowhere") is None


def test_what_is_declared_counts_instead_of_what_is_found(groups: Path, tmp_path: Path) -> None:
    declared = declared_resources("here", "cpu=64, memory=1Ti,gpu=T4:2,licence=0.5")
    found = capacity_of_this_machine(tmp_path, 2.0, declared)
    assert (found.cpu, found.memory) == (64.0, 1 << 40)
    assert found.custom == (("licence", 0.5),)
    assert found.devices == (Device("0", "T4"), Device("1", "T4"))
    assert capacity_of_this_machine(tmp_path, 2.0).cpu == 2.0


@pytest.mark.parametrize(
    "text", ["licence", "licence=many", "gpu=1.5", "gpu=T4:x", "=1", "device=T4", "memory=-1"]
)
def test_a_declaration_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="PERDURE_RESOURCES"):
        declared_resources("PERDURE_RESOURCES", text)


FOUND = (
    (Device("0", "T4"), "GPU-1a"), (Device("1", "L4"), "GPU-2b"), (Device("2", "L4"), "GPU-3c"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (None, [("0", "T4"), ("1", "L4"), ("2", "L4")]),
        ("", []),
        ("2,0", [("2", "L4"), ("0", "T4")]),
        ("GPU-2b,GPU-1", [("GPU-2b", "L4"), ("GPU-1", "T4")]),
        ("1,9,0", [("1", "L4")]),
        ("-1", []),
    ],
)
def test_devices_are_those_that_this_process_may_see(
    setting: str | None, left: list[tuple[str, str]]
) -> None:
    assert gpus.visible(FOUND, setting) == tuple(Device(*each) for each in left)


def test_without_nvml_devices_are_known_by_the_setting_alone() -> None:
    assert gpus.visible((), "3,GPU-9") == (Device("3"), Device("GPU-9"))
    assert gpus.visible((), None) == ()
