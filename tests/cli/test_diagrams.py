"""Lineage as pictures: names that mean something to a language do no harm in it."""

from perdure.cli import diagrams
from perdure.client.lineage import Edge, Graph, Node

NASTY = 'a "b" <c> `d` \\ & [e]|f|'


def graph() -> Graph:
    made = Graph(["task:r/t"])
    for node in (
        Node("task:r/t", "task", NASTY, "r"),
        Node("data:1", "data", "table", "r", 1000),
        Node("artifact:a@1", "artifact", "a@1"),
    ):
        made.nodes[node.id] = node
    for edge in (
        Edge("task:r/t", "data:1", "made"),
        Edge("data:1", "artifact:a@1", "published"),
        Edge("task:r/t", "task:gone/t", "cached"),
    ):
        made.edges[edge] = None
    made.tasks["r"] = "t"
    return made


def test_mermaid() -> None:
    assert diagrams.mermaid(graph()).splitlines() == [
        "flowchart LR",
        '  subgraph run1["r (t)"]',
        '    n0["a &quot;b&quot; &lt;c&gt; &#96;d&#96; \\ &amp; [e]|f|"]',
        '    n1[/"table x 1,000"/]',
        "  end",
        '  n2[("a@1")]',
        "  n0 -->|made| n1",
        "  n1 -->|published| n2",
        "  style n0 stroke-width:3px",
    ]


def test_dot() -> None:
    assert diagrams.dot(graph()).splitlines() == [
        "digraph lineage {",
        "  rankdir=LR;",
        '  node [fontname="sans-serif"];',
        "  subgraph cluster_3 {",
        '    label="r (t)";',
        '    n0 [shape=box, label="a \\"b\\" <c> `d` \\\\ & [e]|f|", penwidth=3];',
        '    n1 [shape=parallelogram, label="table x 1,000"];',
        "  }",
        '  n2 [shape=cylinder, label="a@1"];',
        '  n0 -> n1 [label="made"];',
        '  n1 -> n2 [label="published"];',
        "}",
    ]
