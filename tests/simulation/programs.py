"""Random workflows, and what plain Python makes of them.

A program is a tree of nodes. A node calls its children in groups (all of a group at once), takes
steps, sleeps, fails now and then, and returns a number made from what it got. ``expected`` evaluates
the same tree without any system in between: that is the oracle.
"""

import random
from dataclasses import dataclass, field

from perdure._core.model import Demand, Loader, RetryPolicy, TaskSpec

MODULUS = 1_000_003
ALWAYS = 10**9
"""A node that fails this often never succeeds."""


@dataclass
class Node:
    """One task call of a program.

    Attributes:
        path: Unique name, "" for the root.
        fails: How many of its executions fail before one succeeds; a large number: all.
        retries: Attempts after the first.
        steps: Journaled steps it takes.
        naps: Durable sleeps it takes.
        chained: Children of a group take the previous one's future as input.
    """

    path: str
    is_async: bool
    groups: "list[list[Node]]" = field(default_factory=list)
    steps: int = 0
    naps: int = 0
    fails: int = 0
    retries: int = 0
    chained: bool = False
    cpu: float = 1.0

    @property
    def spec(self) -> TaskSpec:
        """The task this node calls: nodes of one kind share it."""
        kind = "a" if self.is_async else "s"
        return TaskSpec(
            name=f"{kind}{self.retries}",
            loader=Loader("module"),
            is_async=self.is_async,
            demand=Demand(cpu=self.cpu, memory=len(self.groups)),
            retry=RetryPolicy(count=self.retries, base=0.01 * self.retries),
        )


def make(seed: int) -> Node:
    """Return the program of that seed."""
    return _make(random.Random(seed), "r", 0)


def _make(rng: random.Random, path: str, depth: int) -> Node:
    node = Node(path, is_async=rng.random() < 0.5)
    node.steps = rng.choice((0, 0, 1, 2))
    node.naps = rng.choice((0, 0, 0, 1))
    node.cpu = rng.choice((1.0, 1.0, 0.5, 2.0))
    node.chained = rng.random() < 0.2
    if rng.random() < 0.25:
        # Failures within the budget, or without end: in between, kills would shift the verdict.
        node.retries = rng.choice((0, 1, 3))
        node.fails = rng.choice((node.retries, ALWAYS))
    width = {0: 5, 1: 4, 2: 3}.get(depth, 0)
    for group in range(rng.randrange(width // 2 + 1) if depth else 2):
        size = rng.randrange(1, width + 1)
        node.groups.append(
            [_make(rng, f"{path}.{group}.{i}", depth + 1) for i in range(size)]
        )
    return node


class Failed(Exception):
    """A node's own failure, or a child's that nobody caught."""


def expected(node: Node) -> int | None:
    """Return the node's value, or None if it ends in failure, whoever dies meanwhile."""
    if node.fails > node.retries:
        return None
    total = len(node.path)
    for group in node.groups:
        previous: int | None = 0
        for child in group:
            value = expected(child)
            if node.chained and previous is None:
                value = None
            previous = value
            total = mix(total, value, child)
    for step in range(node.steps):
        total = (total * 31 + step) % MODULUS
    return total


def mix(total: int, value: int | None, child: Node) -> int:
    """Fold a child's value, or its caught failure, into the parent's."""
    return (total * 33 + (7 if value is None else value) + len(child.path)) % MODULUS
