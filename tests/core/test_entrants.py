"""Runs that wait long to be admitted by a queue: only their place is kept, and their turn comes."""

import random
from dataclasses import dataclass

import pytest

from core.driver import Driver, Stage, Timeout, policy, spec
from core.test_queues import ROOT, journal_with
from perdure._core import parking, queues
from perdure._core.lines import waiting_in_queue, waiting_to_enter
from perdure._core.model import Phase, TaskSpec
from perdure._core.overview import overview
from perdure._core.parking import NEVER, keep_place
from perdure._core.queues import Entrant, Queue
from perdure._core.sharing import QueueLimits
from perdure._core.state import Action
from perdure._core.turns import PERIOD

AFTER = 10.0


@pytest.fixture(autouse=True)
def nobody_stays_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "HEAD", 0)


@dataclass
class Asleep:
    """A controller one of whose runs has the only slot; others wait, and are asleep."""

    driver: Driver
    first: Action
    places: dict[str, Entrant]

    @property
    def queue(self) -> Queue:
        queue = self.driver.machine.scheduler.queues.get("q")
        assert queue is not None
        return queue

    def doze(self) -> list[str]:
        """Forget the runs that may be; return their names."""
        dormant, effects = [], self.driver.machine.effects
        for run in effects.dormant:
            place = keep_place(run)
            assert place is not None
            self.places[run.name] = place
            self.driver.machine.drop_run(run.key)
            dormant.append(run.name)
        effects.dormant.clear()
        self.driver.settle()
        return dormant

    def wait(self, seconds: float = AFTER) -> list[str]:
        self.driver.after(seconds)
        self.driver.machine.parking.look()
        self.driver.settle()
        return self.doze()

    def summoned(self) -> list[str]:
        """Return whose turn it is."""
        effects = self.driver.machine.effects
        entrants, effects.summoned = effects.summoned, []
        return [entrant.name for entrant in entrants]

    def take_up(self, name: str, task: TaskSpec = ROOT) -> Action:
        place = self.places.pop(name)
        return self.driver.start(task, name, queue="q", place=place, priority=place.priority)

    def admitted(self) -> Action:
        """Return the root of the run that has the slot, which is taken up if it is asleep."""
        for place in [*self.queue.summoned]:
            self.take_up(place.name)
        (run,) = [run for run in self.driver.machine.runs.values() if run.admitted]
        return run.actions[run.root]

    def next(self) -> str:
        """End the run that has the slot; return whose turn it is then, and take that up."""
        self.driver.end(self.first)
        (name,) = self.summoned()
        self.first = self.take_up(name)
        assert self.first.stage is Stage.RUNNING
        return name


def asleep(
    *others: str, priorities: dict[str, int] | None = None, task: TaskSpec = ROOT, **limits: object
) -> Asleep:
    driver = Driver(8, journal_with(concurrency=1, **limits), park_after=AFTER)
    first = driver.start(ROOT, "first", queue="q")
    for name in others:
        driver.start(task, name, queue="q", priority=(priorities or {}).get(name, 0))
    return Asleep(driver, first, {})


def test_runs_that_wait_long_keep_their_places_only_and_are_admitted_in_their_order() -> None:
    a = asleep("a", "b", "c", priorities={"c": 5})
    assert a.wait(AFTER / 2) == []
    assert sorted(a.wait(AFTER / 2)) == ["a", "b", "c"]
    assert [run.name for run in a.driver.machine.runs.values()] == ["first"]
    assert a.wait() == []
    last = a.driver.start(ROOT, "d", queue="q")
    assert (a.queue.waiting, a.queue.used) == (4, 1)
    assert [a.next() for _ in range(3)] == ["c", "a", "b"]
    a.driver.end(a.first)
    assert a.summoned() == []
    assert last.stage is Stage.RUNNING
    row = a.driver.recorded(a.first.id, a.first.run.key)
    assert row is not None
    assert (row.attempts, row.losses, row.phase) == (1, 0, Phase.SUCCEEDED)


def test_the_more_wait_the_sooner_only_their_places_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parking, "FEW", 1)
    a = asleep("a", "b")
    assert a.wait(AFTER / 2 - 1.0) == []
    assert sorted(a.wait(1.0)) == ["a", "b"]


def test_its_row_tells_how_long_it_waits() -> None:
    a = asleep("a")
    a.wait()
    waiting = a.driver.journal.load_run("a")
    assert waiting is not None
    (row,) = a.driver.journal._actions[waiting.key].values()
    assert (row.phase, row.created) == (Phase.QUEUED, 100.0)
    a.next()
    assert a.first.created == 100.0


def test_who_is_summoned_has_the_slot_until_it_is_there() -> None:
    a = asleep("a", "b")
    a.wait()
    a.driver.end(a.first)
    assert a.summoned() == ["a"]
    a.driver.after(60.0)
    assert a.summoned() == []
    assert (a.queue.used, a.queue.waiting) == (1, 1)
    a.queue.abandon(a.places.pop("a"))  # somebody else has taken it over
    a.driver.settle()
    assert a.summoned() == ["b"]
    assert a.take_up("b").stage is Stage.RUNNING
    assert (a.queue.used, a.queue.waiting) == (1, 0)


def test_who_is_abandoned_in_its_sleep_has_no_place_any_more() -> None:
    a = asleep("a", "b")
    a.wait()
    gone = a.places.pop("a")
    a.queue.abandon(gone)
    a.queue.abandon(gone)
    assert a.next() == "b"
    late = a.driver.start(ROOT, "a", queue="q", place=gone)  # it was being taken up meanwhile
    assert late.is_entrant
    assert not late.run.admitted


def test_who_is_taken_up_before_its_turn_keeps_its_place() -> None:
    a = asleep("a", "b", "c")
    a.wait()
    early = a.take_up("b")
    assert early.is_entrant
    assert a.queue.waiting == 3
    assert a.next() == "a"
    a.driver.end(a.first)
    assert a.summoned() == []
    assert early.stage is Stage.RUNNING
    a.first = early
    assert a.next() == "c"


def test_who_is_admitted_before_the_journal_has_answered_begins_then() -> None:
    a = asleep("a")
    a.wait()
    a.driver.hold_answers = True
    early = a.take_up("a")
    a.driver.end(a.first)
    assert (early.run.admitted, early.stage) == (True, Stage.RECALLING)
    a.driver.answer()
    assert early.stage is Stage.RUNNING
    phases = [end.phase for end in a.driver.run_ends() if end.run == early.run.key]
    assert phases == [Phase.RUNNING]


def test_who_is_aborted_in_its_sleep_is_not_admitted_any_more() -> None:
    a = asleep("a", "b")
    a.wait()
    a.driver.hold_answers = a.driver.hold_commits = True
    early = a.take_up("a")
    a.driver.abort(early)
    a.queue.abandon(a.places["b"])
    a.driver.journal.queues.declare([QueueLimits("q", concurrency=2)], a.driver.now)
    a.driver.hold_answers = False
    a.driver.after(1.0)  # there is room, and its end is not recorded yet
    assert early.run.closed
    assert not early.run.admitted
    a.driver.hold_commits = False
    a.driver.settle()
    row = a.driver.recorded(early.id, early.run.key)
    assert row is not None
    assert row.phase is Phase.ABORTED
    assert (a.queue.waiting, a.queue.used) == (0, 1)
    assert [end.phase for end in a.driver.run_ends()][-1] is not Phase.RUNNING


def test_where_only_so_many_may_start_who_is_summoned_has_its_start() -> None:
    a = asleep("a", "b", "c", starts=2, period=50.0)
    a.wait()
    a.driver.end(a.first)
    assert a.summoned() == ["a"]
    assert a.queue.starting == {a.places["a"]}
    a.queue.abandon(a.places.pop("a"))
    a.driver.settle()
    assert a.summoned() == ["b"]  # it has the start that nobody has made
    place = a.places["b"]
    begun = a.take_up("b")
    assert begun.stage is Stage.RUNNING
    assert place not in a.queue.starting
    a.driver.end(begun)
    a.driver.after(39.0)
    assert a.summoned() == []
    a.driver.after(50.0)
    assert a.summoned() == ["c"]


def test_every_eighth_turn_belongs_to_the_oldest_asleep_or_not() -> None:
    names = [f"p{n}" for n in range(PERIOD + 2)]
    a = asleep("old", *names, priorities=dict.fromkeys(names, 1))
    a.wait()
    turns = [a.next() for _ in range(PERIOD)]
    assert turns.index("old") == PERIOD - 2  # the first turn was that of the run before


def test_p7_it_says_which_place_it_has() -> None:
    a = asleep("a", "b")
    a.wait()
    last = a.driver.start(ROOT, "last", queue="q")
    place = waiting_to_enter(a.driver.machine, a.places["b"])
    assert place is not None
    assert (place.queue, place.position, place.waiting) == ("q", 2, 3)
    assert [holder.run for holder in place.holders] == ["first"]
    beside = waiting_in_queue(a.driver.machine, last)
    assert beside is not None
    assert (beside.position, beside.waiting) == (3, 3)
    assert overview(a.driver.machine, {}, 2).waiting == {"no_slot": 3}
    a.driver.end(a.first)
    assert waiting_to_enter(a.driver.machine, a.places["a"]) is None  # it is its turn


def test_all_hear_of_it_if_there_is_no_such_queue_any_more() -> None:
    a = asleep("a", "b")
    a.wait()
    a.driver.journal.queues.remove("q")
    a.driver.after(1.0)
    assert a.summoned()[:2] == ["a", "b"]
    for name in ("a", "b"):
        root = a.take_up(name)
        a.driver.after(1.0)
        assert a.driver.failure(root).code == "queue_not_found"
    assert a.queue.waiting == 0


@pytest.mark.parametrize(
    "task",
    [
        spec("root", is_async=True, cpu=0, timeout=Timeout(max_queued_time=60.0)),
        spec("root", is_async=True, cpu=0, timeout=Timeout(deadline=60.0)),
        spec("root", is_async=True, cpu=0, cache=policy()),
    ],
    ids=["queued", "deadline", "cached"],
)
def test_those_of_which_more_is_to_be_known_stay_awake(task: TaskSpec) -> None:
    a = asleep("a", task=task)
    assert a.wait() == a.wait() == []
    assert len(a.driver.machine.runs) == 2


def test_a_run_that_failed_before_is_not_forgotten_while_it_waits_again() -> None:
    a = asleep()
    a.driver.fail(a.first)
    a.first = a.driver.start(ROOT, "other", queue="q")
    again = a.driver.start(ROOT, "first", queue="q")
    assert again.is_entrant
    assert a.wait() == a.wait() == []


def root_of(driver: Driver, name: str) -> Action:
    (run,) = [run for run in driver.machine.runs.values() if run.name == name]
    return run.actions[run.root]


# --- those that come next -------------------------------------------------------------------------


def test_those_that_are_next_stay_awake_and_are_admitted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "HEAD", 2)
    a = asleep("a", "b", "c", "d", "u", priorities={"u": 1})
    assert sorted(a.wait()) == ["b", "c", "d"]
    assert a.wait() == a.summoned() == []
    a.driver.end(a.first)
    assert a.admitted().run.name == "u"
    assert a.summoned() == ["b"]
    called = a.take_up("b")
    assert called.is_entrant
    assert a.wait() == a.wait() == [], "it has been taken up to stay"
    a.driver.end(a.admitted())
    assert a.summoned() == ["c"]
    a.driver.end(a.admitted())
    assert called.stage is Stage.RUNNING
    assert a.summoned() == ["d"]
    a.driver.end(called)
    assert a.summoned() == ["c"], "it has the slot, and is still not there"
    assert a.take_up("c").stage is Stage.RUNNING


def test_who_was_called_and_is_none_of_the_queue_any_more_makes_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "HEAD", 1)
    a = asleep("a", "b", "c")
    assert sorted(a.wait()) == ["b", "c"]
    a.driver.abort(root_of(a.driver, "a"))
    assert a.summoned() == ["b"]
    a.queue.abandon(a.places.pop("b"))
    a.driver.settle()
    assert a.summoned() == ["c"]
    assert (a.queue.used, a.queue.waiting) == (1, 1)


def test_who_is_not_among_the_next_any_more_may_fall_asleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "HEAD", 1)
    a = asleep("a")
    assert a.wait() == []
    a.driver.start(ROOT, "u", queue="q", priority=1)
    assert a.wait() == ["a"]
    a.driver.end(a.first)
    assert a.admitted().run.name == "u"
    assert a.summoned() == ["a"]


def order(seed: int, head: int, after: float) -> list[str]:
    """Let runs come, be aborted and be admitted as drawn; return who was admitted, in order."""
    rng, delays = random.Random(seed), random.Random(seed)
    queues.HEAD = head  # the fixture restores it
    driver = Driver(8, journal_with(concurrency=1), park_after=after)
    a = Asleep(driver, driver.start(ROOT, "first", queue="q"), {})
    waiting: list[str] = []
    admitted: list[str] = []
    on_the_way: list[str] = []
    for step in range(120):
        what = rng.random()
        if what < 0.4 or not waiting:
            waiting.append(f"r{step}")
            driver.start(ROOT, waiting[-1], queue="q", priority=rng.randrange(3))
        elif what < 0.5:
            gone = waiting.pop(rng.randrange(len(waiting)))
            if gone in a.places:
                a.queue.abandon(a.places.pop(gone))
                driver.settle()
            else:
                driver.abort(root_of(driver, gone))
        elif what < 0.8:
            driver.end(a.first)
            a.first = a.admitted()
            admitted.append(a.first.run.name)
            waiting.remove(admitted[-1])
        else:
            a.wait()
        on_the_way += a.summoned()
        while on_the_way and delays.random() < 0.4:
            if (name := on_the_way.pop(0)) in a.places:
                a.take_up(name)
    return admitted


@pytest.mark.parametrize("seed", range(4))
def test_who_is_awake_makes_no_difference_to_the_order(seed: int) -> None:
    awake = order(seed, 0, NEVER)
    assert len(awake) > 20
    assert order(seed, 0, AFTER) == order(seed, 1, AFTER) == order(seed, 3, AFTER) == awake
