"""Random workflows, and what plain Python makes of them.

A program is a tree of nodes. A node calls its children in groups (all of a group at once), takes
steps, sleeps, asks, fails now and then, hangs, gives up on endless children, and returns a number
made from what it got. ``expected`` evaluates the same tree without any system in between: that is
the oracle. Whatever time and kills may change (how often something runs) has no influence on it.
"""

import random
from copy import deepcopy
from dataclasses import dataclass, field

from msgspec.structs import replace

from perdure._core.ids import digest
from perdure._core.model import (
    CachePolicy,
    Capacity,
    Demand,
    Device,
    Loader,
    RetryPolicy,
    Reuse,
    TaskSpec,
    TimeoutPolicy,
)
from perdure._core.sharing import QueueLimits

MODULUS = 1_000_003
ALWAYS = 10**9
"""A node that fails this often never succeeds."""

LIMIT = {False: 3.0, True: 0.5}
"""``max_runtime`` of nodes that may hang: of parents and of leaves."""

SLACK = 12
"""Attempts a node with a time limit has beyond its hangs: faults may slow honest ones down."""

GENEROUS = 1000
SHARED = Reuse()
POOLS = {
    False: [
        SHARED,
        Reuse("p", 1, 0, 1),
        Reuse("p", 1, 2, 3),
        Reuse("p", max_attempts=1),
        Reuse("p", 1, 0, 1, max_attempts=2, per_run=True),
    ],
    True: [
        SHARED,
        Reuse("p", 3),
        Reuse("p", 5, 0, 1),
        Reuse("q", 2, 2, 2),
        Reuse("p", 1, 1, 1),
        Reuse("p", 3, 0, 1, max_attempts=2),
        Reuse("p", max_attempts=1),
    ],
}
"""Whose workers nodes run in, sync and async ones."""


@dataclass
class Node:
    """One task call of a program.

    Attributes:
        path: Unique name, "" for the root.
        fails: How many of its executions fail before one succeeds; a large number: all.
        retries: Attempts after the first.
        steps: Journaled steps it takes.
        naps: Durable sleeps it takes.
        asks: Conditions that are answered.
        ignored: Conditions that nobody answers in time.
        chained: Children of a group take the previous one's future as input.
        strict: A child's failure is its own; otherwise it is caught.
        memory: What it asks for, as ``gpu`` and ``licences``; None: a little, if it has children.
        growth: How much more memory it asks for when that did not suffice.
        hangs: How many of its executions do not end before their time limit.
        endless: It sleeps until its parent, which does not wait for it, cancels it.
        stubborn: It does not care to be interrupted.
        generous: Its budget is larger than any number of crashes.
        reuse: Whose workers it runs in.
        kept_as: Nodes of the same name have the same value, which is kept; "": it is not.
        serialized: Of those one runs at a time.
        queue: The queue that it runs in, or "".
    """

    path: str
    is_async: bool
    groups: "list[list[Node]]" = field(default_factory=list)
    steps: int = 0
    naps: int = 0
    asks: int = 0
    ignored: int = 0
    fails: int = 0
    retries: int = 0
    chained: bool = False
    strict: bool = False
    hangs: int = 0
    endless: bool = False
    stubborn: bool = False
    generous: bool = False
    cpu: float = 1.0
    memory: int | None = None
    gpu: float = 0.0
    licences: float = 0.0
    growth: tuple[int, ...] = (1, 2, 4)
    reuse: Reuse = SHARED
    kept_as: str = ""
    serialized: bool = False
    queue: str = ""

    @property
    def cache(self) -> CachePolicy | None:
        """How its value is kept."""
        if not self.kept_as:
            return None
        version = digest(self.kept_as.encode())
        return CachePolicy(version, b"f" * 32, serialize=self.serialized)

    @property
    def demand(self) -> Demand:
        """What its task asks for."""
        memory = len(self.groups) if self.memory is None else self.memory
        custom = (("licence", self.licences),) if self.licences else ()
        return Demand(cpu=self.cpu, memory=memory, gpu=self.gpu, custom=custom)

    @property
    def spec(self) -> TaskSpec:
        """The task this node calls: nodes of one kind share it."""
        kind = "a" if self.is_async else "s"
        retries = self.retries + (SLACK if self.hangs else 0)
        limit = LIMIT[not self.groups] if self.hangs else None
        return TaskSpec(
            name=f"{kind}{retries}",
            loader=Loader("module"),
            is_async=self.is_async,
            demand=self.demand,
            retry=RetryPolicy(
                count=GENEROUS if self.generous else retries,
                base=0.01 * self.retries,
                cap=0.5,
                on_oom=tuple(
                    replace(self.demand, memory=self.demand.memory + more) for more in self.growth
                ),
            ),
            timeout=TimeoutPolicy(max_runtime=limit),
            reuse=self.reuse,
            cache=self.cache,
            queue=self.queue,
        )


def make(seed: int, *, generous: bool = False, kept: bool = False) -> Node:
    """Return the program of that seed; with ``kept``, one that has values kept."""
    program = _make(random.Random(seed), "r", 0, generous)
    _settle(random.Random(seed + 1_000_000), program)
    _ask(random.Random(seed + 3_000_000), program)
    if kept:
        _share(random.Random(seed + 2_000_000), program)
    return program


SCARCE = Capacity(
    cpu=3.0,
    memory=16,
    custom=(("licence", 4.0),),
    devices=tuple(Device(str(place)) for place in range(4)),
)
"""Enough for any chain of parents and children of :func:`make_scarce`, and for little more."""


def make_scarce(seed: int, *, generous: bool = False) -> Node:
    """Return a program whose nodes ask for a mix of what there is little of."""
    program = make(seed, generous=generous)
    rng = random.Random(seed + 3_000_000)
    nodes = [program]
    while nodes:
        node = nodes.pop()
        node.hangs = 0  # what waits for long for what it needs does not run into a time limit
        node.cpu = rng.choice((0.0, 0.5, 1.0, 1.0, 2.0, 3.0))
        node.memory = rng.choice((0, 0, 1, 2, 3))
        node.growth = (1,)
        node.gpu = rng.choice((0.0, 0.0, 0.0, 0.25, 0.5, 1.0))
        node.licences = rng.choice((0.0, 0.0, 0.5, 1.0))
        nodes += [child for group in node.groups for child in group]
    return program


QUEUES = (
    QueueLimits("one", concurrency=1, depth=1),
    QueueLimits("two", concurrency=2, priority=3),
    QueueLimits("slow", concurrency=3, starts=6, period=0.5, depth=2),
    QueueLimits("paced", starts=4, period=0.2, depth=1),
)


def make_queued(seed: int, *, generous: bool = False) -> Node:
    """Return a program most of whose nodes run in queues, parents and children in the same."""
    program = make(seed, generous=generous)
    rng = random.Random(seed + 4_000_000)
    names = ["", *(limits.name for limits in QUEUES)]
    usual = rng.choice(names)
    nodes = [program]
    while nodes:
        node = nodes.pop()
        node.hangs = 0  # what waits for long in a queue does not run into a time limit
        if not node.endless:  # others wait for its slot, and it for its parent
            node.queue = usual if rng.random() < 0.5 else rng.choice(names)
        nodes += [child for group in node.groups for child in group]
    return program


def twin(node: Node, path: str) -> Node:
    """Return a node of the same value at another path, which has to be as long."""
    assert len(path) == len(node.path)
    copy = deepcopy(node)
    nodes = [copy]
    while nodes:
        each = nodes.pop()
        each.path = path + each.path[len(path) :]
        nodes += [child for group in each.groups for child in group]
    return copy


def _share(rng: random.Random, program: Node) -> None:
    """Have values kept: put twins of some nodes in the places of others, near and far."""
    places: dict[int, list[tuple[list[Node], int]]] = {}
    parents = [program]
    while parents:
        for group in parents.pop().groups:
            parents += group
            for at, child in enumerate(group):
                if not child.endless:
                    places.setdefault(len(child.path), []).append((group, at))
    for length in sorted(places, reverse=True):  # what is below a twin is a twin already
        group, at = rng.choice(places[length])
        original = group[at]
        if original.retries < original.fails < ALWAYS:
            continue  # its value depends on the parent: on how often that tries it
        original.kept_as, original.serialized = original.path, rng.random() < 0.6
        others = [place for place in places[length] if place != (group, at)]
        for group, at in rng.sample(others, min(len(others), rng.choice((1, 2, 3)))):
            group[at] = twin(original, group[at].path)


def _settle(rng: random.Random, program: Node) -> None:
    """Let half of the programs use pools: most of their nodes the same, some another."""
    if rng.random() < 0.5:
        return
    usual = {colour: rng.choice(pools) for colour, pools in POOLS.items()}
    nodes = [program]
    while nodes:
        node = nodes.pop()
        pools = POOLS[node.is_async]
        node.reuse = usual[node.is_async] if rng.random() < 0.7 else rng.choice(pools)
        nodes += [child for group in node.groups for child in group]


def _ask(rng: random.Random, program: Node) -> None:
    """Let a few nodes wait for answers."""
    nodes = [program]
    while nodes:
        node = nodes.pop()
        if not node.hangs and not node.endless:
            node.asks = rng.choice((0, 0, 0, 0, 0, 1, 2))
            node.ignored = rng.choice((0,) * 12 + (1,))
        nodes += [child for group in node.groups for child in group]


def _make(rng: random.Random, path: str, depth: int, generous: bool) -> Node:
    node = Node(path, is_async=rng.random() < 0.5, generous=generous)
    node.steps = rng.choice((0, 0, 1, 2))
    node.naps = rng.choice((0, 0, 0, 1))
    node.cpu = rng.choice((1.0, 1.0, 0.5, 2.0))
    node.chained = rng.random() < 0.2
    node.stubborn = rng.random() < 0.3
    fate = rng.random()
    if fate < 0.25:
        # Failures within the budget, or without end: in between, kills would shift the verdict.
        node.retries = rng.choice((0, 1, 3))
        node.fails = rng.choice((node.retries, ALWAYS))
    elif fate < 0.35:
        node.retries = node.hangs = rng.choice((1, 2))
    width = {0: 5, 1: 4, 2: 3}.get(depth, 0)
    for group in range(rng.randrange(width // 2 + 1) if depth else 2):
        size = rng.randrange(1, width + 1)
        node.groups.append(
            [_make(rng, f"{path}.{group}.{i}", depth + 1, generous) for i in range(size)]
        )
    if node.groups and fate >= 0.35 and rng.random() < 0.4:
        _make_strict(rng, node)
    if node.groups and rng.random() < 0.3:
        group = rng.choice(node.groups)
        name = f"{path}.e"
        group.append(Node(name, rng.random() < 0.5, endless=True, stubborn=rng.random() < 0.3))
    return node


def _make_strict(rng: random.Random, node: Node) -> None:
    """Let some children succeed only when their parent is attempted again."""
    node.strict = True
    for group in node.groups:
        child = rng.choice(group)
        if not child.fails and not child.hangs and not child.strict:
            child.fails = child.retries + 1
            node.retries += 1


def sleepers(seed: int) -> Node:
    """Return a program that does little else than to sleep, and to wait for those that do."""
    colour = seed % 2 == 0
    child = Node("r.0.0", colour, naps=2, steps=1, retries=1, fails=1)
    parent = Node("r.0.1", not colour, [[Node("r.0.1.0.0", colour, naps=1)]], naps=1)
    return Node("r", seed % 3 > 0, [[child], [parent]], naps=3, steps=1)


def with_budget(node: Node) -> Node:
    """Return the program with more retries than there are crashes."""
    node.generous = True
    for group in node.groups:
        for child in group:
            with_budget(child)
    return node


def expected(node: Node) -> int | None:
    """Return the node's value, or None if it ends in failure, whoever dies meanwhile."""
    if node.fails == ALWAYS:
        return None
    total = len(node.path)
    for group in node.groups:
        previous: int | None = 0
        for child in group:
            if child.endless:
                continue
            value = expected(child)
            if node.chained and previous is None:
                value = None
            if node.strict and value is None:
                return None
            previous = value
            total = mix(total, value, child)
    for question in range(node.asks):
        total = (total * 37 + answer(node, question)) % MODULUS
    for _ in range(node.ignored):
        total = (total * 41 + 3) % MODULUS
    for step in range(node.steps):
        total = (total * 31 + step) % MODULUS
    return total


def answer(node: Node, question: int) -> int:
    """Return what is answered to one of the node's questions."""
    return 100 * len(node.path) + question


def mix(total: int, value: int | None, child: Node) -> int:
    """Fold a child's value, or its caught failure, into the parent's."""
    return (total * 33 + (7 if value is None else value) + len(child.path)) % MODULUS
