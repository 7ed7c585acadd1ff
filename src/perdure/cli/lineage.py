"""``perdure lineage``: what a run or an artifact was made of, and what was made of it."""

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import diagrams, exits, render
from perdure.errors import ArtifactNotFoundError, RunNotFoundError

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from perdure.client.lineage import Edge, Graph, Node

_BEFORE = {
    "made": "made by", "read": "read", "published": "published by", "used": "used",
    "passed": "was given what came of", "called": "called by", "cached": "taken from the cache:",
    "rerun": "rerun of", "part": "holds",
}  # fmt: skip
_AFTER = {
    "made": "made", "read": "read by", "published": "published", "used": "used by",
    "passed": "passed on to", "called": "called", "cached": "cached for", "rerun": "rerun as",
    "part": "is part of",
}  # fmt: skip
_LOOK = {"artifact": "bold magenta", "data": "cyan", "task": "bold"}


@click.command()
@click.argument("name", metavar="ARTIFACT|RUN")
@click.option("--upstream", is_flag=True, help="Only what it was made of.")
@click.option("--downstream", is_flag=True, help="Only what was made of it.")
@click.option("--depth", type=click.IntRange(0), default=10, show_default=True,
              help="How many runs away to look.")  # fmt: skip
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@click.option("--dot", is_flag=True, help="Print a Graphviz graph.")
@exits.json_option
def lineage(
    name: str,
    upstream: bool,
    downstream: bool,
    depth: int,
    mermaid: bool,
    dot: bool,
    as_json: bool,
) -> None:
    """Show where values came from and where they went.

    The name is that of an artifact, such as flights or flights@3, or of a run; artifact:NAME and
    run:NAME tell them apart if need be. Actions of one task are one node with a count.
    """
    if mermaid + dot + as_json > 1:
        raise click.UsageError("choose one of --mermaid, --dot and --json")
    up, down = upstream or not downstream, downstream or not upstream
    graph = _graph(name, up, down, depth)
    if as_json:
        exits.print_json(_as_dict(graph))
    elif mermaid:
        click.echo(diagrams.mermaid(graph))
    elif dot:
        click.echo(diagrams.dot(graph))
    else:
        _print(graph, up, down)
    if not graph.complete and not as_json:
        click.echo("... there is more: --depth looks further", err=True)


def _graph(name: str, up: bool, down: bool, depth: int) -> "Graph":
    from perdure.cli.artifact import find
    from perdure.client import lineage, link

    what, colon, rest = name.partition(":")
    if colon and what == "run":
        return lineage.of_run(rest, up=up, down=down, depth=depth)
    if colon and what == "artifact":
        return lineage.of_artifact(find(rest, {}), up=up, down=down, depth=depth)
    run = link.find(name)
    versions = link.views().artifacts.count(name.partition("@")[0])
    if run is not None and versions:
        raise click.UsageError(
            f"{name!r} names a run and an artifact: write run:{name} or artifact:{name}"
        )
    if run is not None:
        return lineage.of_run(name, up=up, down=down, depth=depth)
    try:
        return lineage.of_artifact(find(name, {}), up=up, down=down, depth=depth)
    except ArtifactNotFoundError as error:
        if versions:
            raise
        raise RunNotFoundError(
            f"there is neither a run nor an artifact {name!r} in {link.config().home}",
            hint="perdure ls and perdure artifact ls show what there is",
        ) from error


def _as_dict(graph: "Graph") -> dict[str, Any]:
    return {
        "start": graph.start,
        "complete": graph.complete,
        "runs": [{"name": name, "task": task} for name, task in graph.tasks.items()],
        "nodes": [
            {
                "id": node.id,
                "kind": node.kind,
                "label": node.label,
                "run": node.run or None,
                "count": node.count,
                "note": node.note or None,
            }
            for node in graph.nodes.values()
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "kind": edge.kind}
            for edge in graph.edges
        ],
    }


# --- as a tree ------------------------------------------------------------------------------------


def _print(graph: "Graph", up: bool, down: bool) -> None:
    from rich.tree import Tree

    for start in graph.start:
        node = graph.nodes.get(start)
        if node is None:
            continue
        tree = Tree(_line(node), guide_style="grey37")
        for title, wanted in (("upstream", up), ("downstream", down)):
            if wanted:
                branch = tree.add(title, style="bright_black")
                _grow(graph, start, branch, {start}, up=title == "upstream")
                if not branch.children:
                    branch.add("nothing", style="bright_black")
        render.show(tree)


def _grow(graph: "Graph", at: str, branch: "Tree", seen: set[str], *, up: bool) -> None:
    """Add what is next to a node; calls lead both ways, for what is passed on comes back."""
    steps = [(each.source, _BEFORE[each.kind], each.kind) for each in graph.into(at) if up]
    steps += [(each.target, _AFTER[each.kind], each.kind) for each in graph.out_of(at) if not up]
    steps += [(e.target, "called", e.kind) for e in graph.out_of(at) if up and _is_call(e)]
    steps += [(e.source, "called by", e.kind) for e in graph.into(at) if not up and _is_call(e)]
    ahead = []
    for other, words, kind in dict.fromkeys(sorted(steps, key=lambda step: step[2] == "called")):
        again = other in seen
        if other not in graph.nodes or (again and kind == "called"):
            continue
        below = branch.add(_line(graph.nodes[other], words, again=again))
        if not again:
            seen.add(other)
            ahead.append((other, below))
    for other, below in ahead:
        _grow(graph, other, below, seen, up=up)


def _is_call(edge: "Edge") -> bool:
    return edge.kind == "called"


def _line(node: "Node", words: str = "", *, again: bool = False) -> "Text":
    from rich.text import Text

    text = Text(f"{words} " if words else "", style="bright_black")
    text.append(node.label, style=_LOOK[node.kind])
    if node.count > 1:
        text.append(f" x {render.number(node.count)}", style="default")
    if again:
        return text.append("  (see above)", style="bright_black")
    if node.note:
        text.append(f"  {node.note}", style="bright_black")
    if node.run:
        text.append(f"  run {node.run}", style="bright_black")
    return text
