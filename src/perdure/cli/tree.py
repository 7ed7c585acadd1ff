"""A run as a tree of actions. A fan-out is one line for its task and a few for its members.

The tree is read level by level and cut where it gets long: what is shown costs what is shown, not
what the run did.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure._core.model import Phase
from perdure.cli import render, report
from perdure.client import link

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from perdure._views.sqlite import ActionView

MEMBERS = 20
"""Actions shown per fan-out."""

LINES = 400
"""Actions shown in all."""


@dataclass(slots=True)
class Group:
    """The children of one action that belong together: same task, or same display group.

    Attributes:
        name: The task, or the group's name.
        members: Those that are shown.
        counts: All of them, by phase.
    """

    name: str
    members: "list[Node]" = field(default_factory=list)
    counts: dict[Phase, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


@dataclass(slots=True)
class Node:
    """An action and what is below it."""

    row: "ActionView"
    groups: list[Group] = field(default_factory=list)
