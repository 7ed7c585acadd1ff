"""The small parts: retry, ledger, ids, the table of moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.driver import Driver, Stage, error, spec
from perdure._core.devices import Devices, is_kind
from perdure._core.ids import action_id, digest, root_id
from perdure._core.invariants import BrokenInvariantError, check
from perdure._core.ledger import Ledger, Share
from perdure._core.model import Capacity, Demand, Device, RetryPolicy
from perdure._core.retry import delay, should_retry
from perdure._core.transitions import MOVES, PHASES, IllegalMoveError

ID = bytes(range(16))
BYTES = st.binary(min_size=16, max_size=16)
POLICY = RetryPolicy(count=9, base=1.0, factor=2.0, cap=10.0, jitter=0.0)


# --- retry ----------------------------------------------------------------------------------------


def test_delays_grow_up_to_the_cap() -> None:
    assert [delay(POLICY, n, ID) for n in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_no_base_means_no_delay() -> None:
    assert delay(RetryPolicy(count=1), 1, ID) == 0.0


def test_a_huge_number_of_attempts_does_not_overflow() -> None:
    assert delay(POLICY, 10_000_000, ID) == 10.0


@given(BYTES, st.integers(1, 50))
def test_jitter_spreads_by_its_fraction_and_is_the_same_every_time(id_: bytes, n: int) -> None:
    policy = RetryPolicy(count=99, base=1.0, factor=1.0, jitter=0.25)
    assert 0.75 <= delay(policy, n, id_) <= 1.25
    assert delay(policy, n, id_) == delay(policy, n, id_)


def test_a_policy_of_two_retries_allows_three_attempts() -> None:
    policy = RetryPolicy(count=2)
    assert [should_retry(policy, error(), n) for n in (1, 2, 3)] == [True, True, False]
    assert not should_retry(policy, error(retryable=False), 1)


# --- ledger ---------------------------------------------------------------------------------------


def test_fractions_of_cores_add_up() -> None:
    ledger, tenth = Ledger(Capacity(cpu=1.0)), Share(Demand(cpu=0.1))
    for _ in range(10):
        assert ledger.fits(tenth)
        ledger.take_cpu(tenth.cpu)
    assert not ledger.fits(tenth)
    assert ledger.fits(Share(Demand(cpu=0.0)))


def test_the_scarcest_resource_decides_what_there_is_room_for() -> None:
    ledger = Ledger(Capacity(cpu=8.0, memory=100, custom=(("licence", 1.5),)))
    share = Share(Demand(cpu=1.0, memory=10, custom=(("licence", 0.5),)))
    assert ledger.room_for(share) == 3
    ledger.take_space(share.space)
    assert ledger.room_for(share) == 2
    assert ledger.room_for(Share(Demand(cpu=0.0))) > 1000
    assert ledger.room_for(Share(Demand(custom=(("unheard-of", 1.0),)))) == 0


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (Demand(cpu=3.0), "cpu=3"),
        (Demand(memory=11), "memory=0.00 GiB"),
        (Demand(disk=1 << 30), "disk=1.00 GiB"),
        (Demand(shm=1), "shm="),
        (Demand(custom=(("licence", 2.0),)), "licence=2 was asked for, the largest node has 1"),
    ],
)
def test_a_shortage_is_named(asked: Demand, named: str) -> None:
    shortage = Ledger(Capacity(cpu=2.0, memory=10, custom=(("licence", 1.0),))).shortage(asked)
    assert named in shortage
    assert "was asked for, the largest node has" in shortage
    assert "declared" not in shortage


def test_a_resource_that_nobody_has_declared_is_named_as_such() -> None:
    shortage = Ledger(Capacity()).shortage(Demand(custom=(("licence", 1.0),)))
    assert shortage.endswith("the largest node has 0: it is not declared in PERDURE_RESOURCES")


# --- devices --------------------------------------------------------------------------------------


def test_shares_of_a_device_are_packed_and_whole_devices_are_exclusive() -> None:
    devices = Devices((Device("0"), Device("1")))
    for gpu, place in ((0.5, 0), (0.25, 0), (0.25, 0), (0.25, 1)):
        assert devices.find(gpu, "") == (place,)
        devices.take((place,), gpu)
    assert devices.find(1, "") is None
    devices.give((1,), 0.25)
    assert devices.find(1, "") == (1,)
    assert devices.find(2, "") is None
    assert devices.find(2, "", [((0,), 0.5), ((0,), 0.25), ((0,), 0.25)]) == (0, 1)


@pytest.mark.parametrize(
    ("kind", "wanted", "same"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100", True),
        ("NVIDIA A100-SXM4-80GB", "A100_80G", True),
        ("NVIDIA A100-SXM4-40GB", "A100_80G", False),
        ("NVIDIA A10G", "A10", False),
        ("NVIDIA L40S", "L40s", True),
        ("Tesla T4", "T4", True),
        ("", "T4", False),
        ("", "", True),
    ],
)
def test_kinds_of_devices_are_known_by_the_words_of_their_names(
    kind: str, wanted: str, same: bool
) -> None:
    assert is_kind(kind, wanted) == same


def test_a_shortage_of_devices_is_named() -> None:
    devices = Devices((Device("0", "Tesla T4"), Device("1", "Tesla T4")))
    assert devices.shortage(Demand(gpu=3)) == (
        "gpu=3 was asked for, the largest node has 2 (Tesla T4)"
    )
    assert "gpu=H100:1 was asked for" in devices.shortage(Demand(gpu=1, device="H100"))
    assert devices.shortage(Demand(gpu=2, device="T4")) == ""
    assert "keep theirs" in devices.shortage(Demand(gpu=2), [(1, "")])


# --- ids ------------------------------------------------------------------------------------------


@given(BYTES, BYTES, st.text(min_size=1), st.integers(0, 99))
def test_an_id_depends_on_each_of_its_parts(
    parent: bytes, inputs: bytes, task: str, k: int
) -> None:
    ids = {
        action_id(parent, task, inputs, k),
        action_id(digest(parent), task, inputs, k),
        action_id(parent, task + "x", inputs, k),
        action_id(parent, task, digest(inputs), k),
        action_id(parent, task, inputs, k + 1),
    }
    assert len(ids) == 5
    assert {len(each) for each in ids} == {16}


def test_a_digit_moves_from_the_occurrence_to_the_task_without_a_clash() -> None:
    assert action_id(ID, "1x", ID, 1) != action_id(ID, "x", ID, 11)


def test_ids_are_the_same_in_every_release() -> None:
    assert root_id("run").hex() == "e77d0ee1328fcc1d7f970a1620759014"
    assert action_id(ID, "env.task", ID, 3).hex() == "381828dc2dcb7ef8d1f0ce9369033c26"


# --- the table ------------------------------------------------------------------------------------


def test_every_stage_is_reachable_and_leads_to_the_end() -> None:
    reached, todo = {Stage.RECALLING, Stage.WAITING}, [Stage.RECALLING, Stage.WAITING]
    while todo:
        new = MOVES[todo.pop()] - reached
        reached |= new
        todo += new
    assert reached == set(Stage) == set(MOVES)
    assert not MOVES[Stage.COMMITTED]
    assert all(MOVES[stage] for stage in Stage if stage is not Stage.COMMITTED)


def test_people_are_shown_a_phase_for_every_stage_before_the_record() -> None:
    assert set(PHASES) == set(Stage) - {Stage.COMMITTED}


def test_an_illegal_move_raises_with_the_actions_story() -> None:
    action = Driver().start()
    with pytest.raises(IllegalMoveError, match=r"root [0-9a-f]{32} of run run: RUNNING -> WAITING"):
        action.move(Stage.WAITING)


@pytest.mark.parametrize("before", list(Stage))
def test_moves_the_table_does_not_list_are_refused(before: Stage) -> None:
    action = Driver().start()
    for after in Stage:
        action.stage = before
        if after in MOVES[before]:
            action.move(after)
        else:
            with pytest.raises(IllegalMoveError):
                action.move(after)


# --- invariants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (lambda d, a: setattr(d.machine.scheduler.ledger, "cpu", 0), "ledger_adds_up"),
        (lambda d, a: setattr(d.machine.scheduler.ledger, "cpu", -1), "nothing_is_over_committed"),
        (lambda d, a: setattr(d.worker(a), "cpu", 1), "what_runs_has_its_share"),
        (
            lambda d, a: d.machine.scheduler.staff.devices.left.append(1),
            "devices_belong_to_one_worker",
        ),
        (lambda d, a: setattr(a.attempt, "resuming", True), "who_waits_for_cpu_is_blocked"),
        (lambda d, a: setattr(d.worker(a), "lane", None), "a_worker_holds_its_lane"),
        (lambda d, a: setattr(a, "stage", Stage.QUEUED), "running_means_on_a_worker"),
        (lambda d, a: setattr(a.task.lane, "count", 7), "queued_means_in_a_lane"),
        (lambda d, a: a.parent.children.clear(), "families_agree"),
        (lambda d, a: setattr(a, "stage", Stage.WAITING), "nobody_waits_for_nothing"),
    ],
)
def test_a_broken_rule_is_named(harm, rule: str) -> None:
    driver = Driver()
    child = driver.call(driver.start(), spec("child"))
    check(driver.machine)
    harm(driver, child)
    with pytest.raises(BrokenInvariantError, match=rule):
        check(driver.machine)
