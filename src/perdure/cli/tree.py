"""A run as a tree of actions. A fan-out is one line for its task and a few for its members.

Only what is shown is read: how many there are is counted in the journal, and the few members are
looked up. So a run of a million actions is drawn as fast as one of a hundred.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure._core.model import Phase
from perdure._core.outside import CONDITION
from perdure._core.records import RunRow
from perdure.cli import render, report
from perdure.client import link

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from perdure._views.model import ActionSummary

MEMBERS = 20
"""Actions shown per fan-out."""

LINES = 400
"""Actions shown in all."""


@dataclass(slots=True)
class Group:
    """The children of one action that belong together: same task, or same display group.

    Attributes:
        name: The task, or the group's name.
        counts: All of them, by phase.
        members: The actions that are shown, in order.
    """

    name: str
    counts: dict[Phase, int]
    members: "list[Node]"

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


@dataclass(slots=True)
class Node:
    """An action, its encoded inputs, and what is below it."""

    row: "ActionSummary"
    inputs: bytes
    groups: list[Group] = field(default_factory=list)


def grow(run: RunRow) -> Node | None:
    """Read the tree of a run, as far as it is shown; None if nothing is recorded yet."""
    roots = link.groups(run, 0)
    if not roots:
        return None
    (root,) = link.members(run, 0, roots[0].name, 1)
    return _grow(run, root, [LINES])


def _grow(run: RunRow, row: "ActionSummary", budget: list[int]) -> Node:
    budget[0] -= 1
    detail = link.views().action(run.key, f"#{row.seq}")
    node = Node(row, b"" if detail is None else detail.inputs)
    for each in link.groups(run, row.seq):
        shown = link.members(run, row.seq, each.name, max(min(MEMBERS, budget[0]), 0))
        shown.sort(key=lambda member: member.seq)
        members = [_grow(run, member, budget) for member in shown]
        node.groups.append(Group(each.name, each.counts, members))
    return node


def drawn(root: Node) -> "Tree":
    """Return the tree for a terminal."""
    from rich.tree import Tree

    tree = Tree(_line(root), guide_style="grey37")
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
    _draw_groups(branch.add(_line(node, short=short)), node.groups)


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


def _given(node: Node) -> str:
    """Return what the action was called with; of a condition the question."""
    if node.row.kind == CONDITION and node.inputs:
        return str(report.json_value(node.inputs)["prompt"])
    return report.preview(node.inputs, 60)


def _line(node: Node, *, short: bool = False) -> "Text":
    """Return one action: sign, number, inputs, how long, how often, what went wrong."""
    row = node.row
    text = render.glyph(row.phase)
    text.append(f" #{row.seq} ", style="bright_black")
    if not short:
        text.append(f"{row.task} ", style="bold")
    text.append(_given(node), style="default")
    if (took := report.span(row)) is not None:
        text.append(f"  {render.duration(took)}", style="cyan")
    if row.attempts + row.losses > 1:
        text.append(f"  {row.attempts + row.losses} attempts", style="yellow")
    if row.wake_at is not None and row.phase is Phase.WAITING:
        text.append(f"  until {render.when(row.wake_at)}", style="cyan")
    if row.error and row.phase is not Phase.SUCCEEDED:
        text.append(f"  {row.error[:100]}", style="red")
    return text
