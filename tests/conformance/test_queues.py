"""What every journal promises of queues."""

from perdure._core.sharing import Ask, Grant, QueueLimits
from perdure._ports import Journal

API = QueueLimits("api", concurrency=3, starts=5, period=10.0, depth=7, priority=-1)


def alive(owner: str) -> bool:
    return owner != "dead"


def share(journal: Journal, owner: str, now: float = 1.0, **ask: object) -> Grant:
    asked = Ask("api", **ask)  # type: ignore[arg-type]
    (grant,) = journal.queues.share(owner, [asked], now, alive)
    return grant


def test_a_declared_queue_comes_back_with_all_its_limits(journal: Journal) -> None:
    assert journal.queues.known(["api"]) == {}
    assert journal.queues.declare([API], 1.0) == [None]
    assert journal.queues.known(["api", "other"]) == {"api": API}


def test_the_newest_declaration_holds_and_what_is_held_stays(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    share(journal, "a", used=2, wanted=2)
    smaller = QueueLimits("api", concurrency=1)
    assert journal.queues.declare([smaller], 2.0) == [API]
    assert journal.queues.declare([smaller], 2.0) == [smaller]
    grant = share(journal, "a", used=2, wanted=2)
    assert (grant.limits, grant.held, grant.allowed) == (smaller, 2, 1)


def test_a_removed_queue_is_unknown(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    share(journal, "a", wanted=1)
    assert journal.queues.remove("api")
    assert not journal.queues.remove("api")
    assert share(journal, "a", wanted=1) == Grant("api")
    assert journal.queues.stakes("api") == []


def test_what_one_has_another_does_not_get(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    assert share(journal, "a", wanted=9, hoped=9).held == 3
    grant = share(journal, "b", wanted=9, hoped=9)
    assert (grant.held, grant.tokens) == (0, 0)
    assert [(stake.owner, stake.held, stake.tokens) for stake in grant.others] == [("a", 3, 5)]


def test_what_the_dead_had_is_free_and_their_stakes_are_forgotten(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    share(journal, "dead", wanted=3)
    assert [stake.owner for stake in journal.queues.stakes("api")] == ["dead"]
    assert share(journal, "b", wanted=3).held == 3
    assert [stake.owner for stake in journal.queues.stakes("api")] == ["b"]


def test_starts_count_for_a_period_whoever_made_them(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    assert share(journal, "a", wanted=3, hoped=5).tokens == 5
    share(journal, "a", now=2.0, starts=((1.5, 3), (2.0, 1)))
    grant = share(journal, "b", now=3.0, wanted=3, hoped=5)
    assert (grant.tokens, grant.next_start) == (1, 11.5)
    assert share(journal, "b", now=11.6, wanted=3, hoped=5).tokens == 4


def test_who_leaves_gives_everything_back(journal: Journal) -> None:
    journal.queues.declare([API], 1.0)
    share(journal, "a", wanted=3, hoped=3)
    share(journal, "a")
    assert journal.queues.stakes("api") == []
