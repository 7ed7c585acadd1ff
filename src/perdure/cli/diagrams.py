"""Lineage as a picture: Mermaid, for Markdown pages, and DOT, for Graphviz."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client.lineage import Graph, Node

_SHAPES = {"artifact": ("[(", ")]"), "data": ("[/", "/]"), "task": ("[", "]")}
_DOT_SHAPES = {"artifact": "cylinder", "data": "parallelogram", "task": "box"}
_DASHED = ("called", "cached", "rerun")


def mermaid(graph: "Graph") -> str:
    """Return the graph as a Mermaid flowchart; runs are subgraphs."""
    names = _names(graph)
    lines = ["flowchart LR"]
    for run, nodes in _by_run(graph):
        inner = "  " if run else ""
        if run:
            lines.append(f'  subgraph run{len(lines)}["{_quoted(_title(graph, run))}"]')
        for node in nodes:
            start, end = _SHAPES[node.kind]
            lines.append(f'{inner}  {names[node.id]}{start}"{_quoted(_label(node))}"{end}')
        if run:
            lines.append("  end")
    for edge in graph.edges:
        if edge.source in names and edge.target in names:
            arrow = "-.->" if edge.kind in _DASHED else "-->"
            lines.append(f"  {names[edge.source]} {arrow}|{edge.kind}| {names[edge.target]}")
    lines += [f"  style {names[start]} stroke-width:3px" for start in graph.start if start in names]
    return "\n".join(lines)


def dot(graph: "Graph") -> str:
    """Return the graph in the DOT language; runs are clusters."""
    names = _names(graph)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    for run, nodes in _by_run(graph):
        inner = "  " if run else ""
        if run:
            lines.append(f"  subgraph cluster_{len(lines)} {{")
            lines.append(f'    label="{_escaped(_title(graph, run))}";')
        for node in nodes:
            look = f'shape={_DOT_SHAPES[node.kind]}, label="{_escaped(_label(node))}"'
            bold = ", penwidth=3" if node.id in graph.start else ""
            lines.append(f"{inner}  {names[node.id]} [{look}{bold}];")
        if run:
            lines.append("  }")
    for edge in graph.edges:
        if edge.source in names and edge.target in names:
            style = ", style=dashed" if edge.kind in _DASHED else ""
            ends = f"{names[edge.source]} -> {names[edge.target]}"
            lines.append(f'  {ends} [label="{edge.kind}"{style}];')
    return "\n".join([*lines, "}"])


def _names(graph: "Graph") -> dict[str, str]:
    return {node: f"n{number}" for number, node in enumerate(graph.nodes)}


def _by_run(graph: "Graph") -> "Iterator[tuple[str, list[Node]]]":
    nodes = graph.nodes.values()
    for run in dict.fromkeys(node.run for node in nodes):
        yield run, [node for node in nodes if node.run == run]


def _title(graph: "Graph", run: str) -> str:
    task = graph.tasks.get(run)
    return f"{run} ({task})" if task else run


def _label(node: "Node") -> str:
    return f"{node.label} x {node.count:,}" if node.count > 1 else node.label


def _quoted(text: str) -> str:
    """Return a text for between Mermaid's quotes, in which entities are all there is."""
    special = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "`": "&#96;"}
    return "".join(special.get(character, character) for character in text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
