"""How controllers divide a queue: never more than it has, fairly, and nobody goes without."""

import random

import pytest

from perdure._core.sharing import (
    PATIENCE_SECONDS,
    Ask,
    Division,
    QueueLimits,
    Stake,
    Starts,
    divide,
)

THREE = QueueLimits("q", concurrency=3)


class Table:
    """The stakes of one queue, as a journal keeps them."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.log: Starts = ()
        self.stakes: dict[str, Stake] = {}
        self.now = 1000.0

    def ask(self, owner: str, gone: tuple[str, ...] = (), **ask: object) -> Division:
        lost = [self.stakes.pop(name) for name in gone if name in self.stakes]
        asked = Ask("q", **ask)  # type: ignore[arg-type]
        stakes = [*self.stakes.values()]
        divided = divide(self.limits, self.log, stakes, owner, asked, self.now, lost)
        self.log = divided.log
        self.stakes.pop(owner, None)
        if divided.stake is not None:
            self.stakes[owner] = divided.stake
        return divided

    def slots(self, owner: str, used: int = 0, **ask: object) -> tuple[int, int]:
        grant = self.ask(owner, used=used, **ask).grant
        return grant.held, grant.allowed


def test_who_is_alone_has_what_it_could_use_up_to_the_concurrency() -> None:
    table = Table(THREE)
    assert table.slots("a", wanted=2) == (2, 2)
    assert table.slots("a", wanted=9) == (3, 3)


def test_a_second_one_gets_what_is_free_and_its_part_as_soon_as_that_is() -> None:
    table = Table(THREE)
    table.slots("a", wanted=9)
    assert table.slots("b", wanted=9)[0] == 0
    table.now += 1
    held, allowed = table.slots("a", used=3, wanted=9)
    assert held == 3  # nobody is made to give up what it uses
    assert allowed < 3
    table.slots("a", used=allowed, wanted=9)
    assert table.slots("b", wanted=9)[0] == 3 - allowed


def test_a_single_slot_goes_round() -> None:
    table = Table(QueueLimits("q", concurrency=1))
    turns = []
    used = dict.fromkeys("abc", 0)
    for _ in range(60):
        for owner in used:
            table.now += 0.1
            held, allowed = table.slots(owner, used=used[owner], wanted=5)
            if used[owner] and not allowed:
                used[owner] = 0
                held, _ = table.slots(owner, used=0, wanted=5)
            if held and allowed and not used[owner]:
                used[owner] = 1
                turns.append(owner)
    counts = [turns.count(owner) for owner in used]
    assert max(counts) - min(counts) <= 1
    assert min(counts) > 5


def test_who_could_use_little_leaves_the_rest_to_others() -> None:
    table = Table(QueueLimits("q", concurrency=10))
    table.slots("a", wanted=1)
    assert table.slots("b", wanted=50) == (9, 9)


def test_a_higher_priority_comes_first_but_who_goes_without_is_not_forgotten() -> None:
    table = Table(QueueLimits("q", concurrency=2))
    table.slots("low", wanted=5)
    assert table.slots("high", wanted=5, priority=1)[1] == 2
    assert table.slots("low", used=2, wanted=5)[1] == 0
    assert table.slots("low", wanted=5) == (0, 0)
    assert table.slots("high", wanted=5, priority=1) == (2, 2)
    table.now += PATIENCE_SECONDS + 1
    table.slots("low", wanted=5)
    assert table.slots("high", used=2, wanted=5, priority=1) == (2, 1)


def test_what_the_dead_held_is_free_and_what_they_may_have_started_counts() -> None:
    table = Table(QueueLimits("q", concurrency=3, starts=5, period=10.0))
    table.ask("dead", wanted=3, hoped=4)
    grant = table.ask("b", gone=("dead",), wanted=3, hoped=5).grant
    assert (grant.held, grant.tokens) == (3, 1)
    table.now += 10.0
    assert table.ask("b", wanted=3, hoped=5, starts=((1000.0, 1),)).grant.tokens == 5


def test_a_lowered_limit_holds_as_attempts_end() -> None:
    table = Table(THREE)
    table.slots("a", wanted=3)
    table.limits = QueueLimits("q", concurrency=1)
    assert table.slots("a", used=3, wanted=3) == (3, 1)
    assert table.slots("b", wanted=3)[0] == 0
    assert table.slots("a", used=1, wanted=3)[0] == 1


def test_no_concurrency_means_any_number() -> None:
    assert Table(QueueLimits("q", starts=1, period=1.0)).slots("a", wanted=70) == (70, 70)


def test_who_wants_nothing_leaves_nothing_behind() -> None:
    table = Table(THREE)
    table.slots("a", wanted=3)
    table.slots("a")
    assert not table.stakes


@pytest.mark.parametrize("seed", range(30))
def test_however_they_ask_die_and_change_their_minds_no_limit_is_exceeded(seed: int) -> None:
    rng = random.Random(seed)
    starts, period = rng.choice(((0, 0.0), (5, 10.0), (40, 1.0)))
    limits = QueueLimits("q", concurrency=rng.choice((0, 1, 3, 10)), starts=starts, period=period)
    table = Table(limits)
    used: dict[str, int] = {}
    tokens: dict[str, int] = {}
    started: dict[str, list[tuple[float, int]]] = {}
    made: list[float] = []
    served: dict[str, float] = {}
    for _ in range(600):
        table.now += rng.choice((0.001, 0.05, 0.3))
        owner = rng.choice("abcd")
        if rng.random() < 0.03:  # it dies, and one of the same name is born
            other = rng.choice([each for each in "abcd" if each != owner])
            for book in (used, tokens, started):
                book.pop(owner, None)
            table.ask(other, (owner,), used=used.get(other, 0), wanted=used.get(other, 0),
                      starts=tuple(started.pop(other, ())))  # fmt: skip
            tokens[other] = 0
            continue
        used[owner] = rng.randrange(used.get(owner, 0) + 1)
        wish = used[owner] + rng.randrange(6)
        grant = table.ask(
            owner, used=used[owner], wanted=wish, hoped=wish, starts=tuple(started.pop(owner, ())),
            priority=rng.randrange(3),
        ).grant  # fmt: skip
        tokens[owner] = grant.tokens
        most = min(wish, grant.held, grant.allowed) - used[owner]
        more = min(most, tokens[owner]) if starts else most
        if more > 0:
            used[owner] += more
            tokens[owner] -= more
            served[owner] = table.now
            made += [table.now] * more
            started.setdefault(owner, []).append((table.now, more))
        if limits.concurrency:
            assert sum(used.values()) <= limits.concurrency
            assert sum(stake.held for stake in table.stakes.values()) <= limits.concurrency
    assert set(served) == set("abcd")
    if starts:
        for moment in made:
            assert sum(moment <= each < moment + period for each in made) <= starts
