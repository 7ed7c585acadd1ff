"""A run as a tree of actions. A fan-out is one line for its task and a few for its members.

The tree is read level by level and cut where it gets long: what is shown costs what is shown, not
what the run did.
"""

from collections import Counter
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


def grow(key: int) -> Node | None:
    """Read the tree of a run; None if nothing is recorded yet.

    Args:
        key: Key of the run.
    """
    roots = list(link.views().children(key, 0))
    if not roots:
        return None
    budget = [LINES]
    return _grow(key, roots[0], budget)


def _grow(key: int, row: "ActionView", budget: list[int]) -> Node:
    budget[0] -= 1
    children: dict[str, list[ActionView]] = {}
    for child in link.views().children(key, row.seq):
        children.setdefault(child.group or child.task, []).append(child)
    groups = []
    for name, members in children.items():
        group = Group(name, counts=dict(Counter(each.phase for each in members)))
        group.members = [_grow(key, each, budget) for each in _telling(members, budget[0])]
        groups.append(group)
    return Node(row, groups)


def _telling(members: "list[ActionView]", budget: int) -> "list[ActionView]":
    """Return those to show, in order: what did not simply succeed comes before the rest."""
    chosen = sorted(members, key=lambda row: (row.phase is Phase.SUCCEEDED, row.seq))
    return sorted(chosen[: max(min(MEMBERS, budget), 0)], key=lambda row: row.seq)


def drawn(root: Node) -> "Tree":
    """Return the tree for a terminal."""
    from rich.tree import Tree

    tree = Tree(_line(root.row), guide_style="grey37")
    _draw_groups(tree, root.groups)
    return tree


def as_dict(node: Node) -> dict[str, Any]:
    """Return the tree as JSON-able data."""
    data = report.action_dict(node.row)
    if node.groups:
        data["children"] = [
            {
                "name": group.name,
                "counts": {phase.value: count for phase, count in group.counts.items()},
                "actions": [as_dict(member) for member in group.members],
            }
            for group in node.groups
        ]
    return data


def _draw_groups(branch: "Tree", groups: list[Group]) -> None:
    for group in groups:
        if group.total == 1 and group.members:
            _draw(branch, group.members[0])
            continue
        below = branch.add(_headline(group))
        for member in group.members:
            _draw(below, member, short=True)
        if rest := _rest(group):
            below.add(rest)


def _draw(branch: "Tree", node: Node, *, short: bool = False) -> None:
    _draw_groups(branch.add(_line(node.row, short=short)), node.groups)


def _headline(group: Group) -> "Text":
    from rich.text import Text

    text = Text.assemble((group.name, "bold"), f" x {render.number(group.total)}  ")
    return text.append_text(render.summary(_in_order(group.counts)))


def _rest(group: Group) -> "Text | None":
    """Say how many are not shown, and in which phases they are."""
    from rich.text import Text

    hidden = dict(group.counts)
    for member in group.members:
        hidden[member.row.phase] = hidden.get(member.row.phase, 0) - 1
    hidden = {phase: count for phase, count in hidden.items() if count > 0}
    if not hidden:
        return None
    count = render.number(sum(hidden.values()))
    if len(hidden) == 1:
        return Text(f"… {count} more (all {next(iter(hidden)).value})", style="bright_black")
    return Text.assemble((f"… {count} more: ", "bright_black"), render.summary(_in_order(hidden)))


def _in_order(counts: dict[Phase, int]) -> list[tuple[Phase, int]]:
    return [(phase, counts.get(phase, 0)) for phase in render.LOOK]


def _line(row: "ActionView", *, short: bool = False) -> "Text":
    """Return one action: sign, id, inputs, how long, how often, what went wrong."""
    text = render.glyph(row.phase)
    text.append(f" {row.id.hex()[:8]} ", style="bright_black")
    if not short:
        text.append(f"{row.task} ", style="bold")
    text.append(report.preview(row.inputs, 60), style="default")
    if (took := report.span(row)) is not None:
        text.append(f"  {render.duration(took)}", style="cyan")
    if row.attempts + row.losses > 1:
        text.append(f"  {row.attempts + row.losses} attempts", style="yellow")
    if row.error and row.phase is not Phase.SUCCEEDED:
        text.append(f"  {row.error[:100]}", style="red")
    return text
