"""What tasks ask for, they have for themselves; on real workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import perdure
from perdure import _embedded, errors
from perdure._embedded import Runtime
from perdure.config import Config
from real.programs import claims


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime on a machine that is said to have two of everything, and one licence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PERDURE_RESOURCES", "cpu=2,gpu=T4:2,licence=1")
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


def test_no_more_tasks_compute_than_there_are_cores(runtime: Runtime, tmp_path: Path) -> None:
    assert perdure.run(claims.cores, tmp_path).result(timeout=60) == sum(range(12))


def test_a_device_has_one_owner_and_is_all_that_its_worker_sees(
    runtime: Runtime, tmp_path: Path
) -> None:
    ones, both, more = perdure.run(claims.devices, tmp_path).result(timeout=60)
    assert both == "0,1"
    assert {device for device, _, _ in ones + more} == {"0", "1"}
    for device, seen_at_import, told in ones + more:
        assert (seen_at_import, told) == (device, (device,))


def test_a_licence_is_used_by_one_at_a_time(runtime: Runtime, tmp_path: Path) -> None:
    assert perdure.run(claims.licences, tmp_path).result(timeout=60) == list(range(10))


def test_a_call_that_can_never_run_beside_its_parent_says_so(
    runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(
        errors.InfeasibleError, match="the parents that wait for it keep 1 of the 1"
    ):
        perdure.run(claims.licensed_parent, tmp_path).result(timeout=60)


@pytest.mark.parametrize(
    ("resources", "shortage"),
    [
        (perdure.Resources(gpu=3), r"gpu=3 was asked for, the largest node has 2 \(T4\)"),
        (perdure.Resources(gpu="H100"), r"gpu=H100:1 was asked for"),
        (perdure.Resources(custom={"seat": 1}), "seat=1 was asked for.*not declared"),
        (perdure.Resources(disk="900Pi"), "disk=.* was asked for"),
        (perdure.Resources(shm="900Pi"), "shm=.* was asked for"),
    ],
)
def test_a_request_that_can_never_be_met_names_the_shortage(
    runtime: Runtime, tmp_path: Path, resources: perdure.Resources, shortage: str
) -> None:
    with pytest.raises(errors.InfeasibleError, match=shortage):
        perdure.run(claims.leaf.override(resources=resources), tmp_path, 0).result(timeout=60)
