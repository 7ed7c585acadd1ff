"""Where values came from and where they went, as a graph.

The nodes are artifacts, large values and tasks; all actions of a run that share a task are one
node with a count, and so are values that went the same way. Edges point along the way of the
data, from what was made first. Small values have no node: the calls that passed them on connect
their tasks.

A run is looked at as a whole; from run to run one gets through values and artifacts that one has
made and another has read, and through results that a run has taken over from an earlier one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from perdure._core.artifacts import ArtifactRow, Wanted
from perdure.client import link
from perdure.client.portrait import Portrait, label_of, portrait

MOST_RUNS = 100
"""Runs that are looked at for one question."""


@dataclass(frozen=True, slots=True)
class Node:
    """Something in the graph.

    Attributes:
        id: Unique in the graph, and the same every time.
        kind: ``artifact``, ``data`` or ``task``.
        label: For people.
        run: Name of the run it belongs to; "" for artifacts.
        count: How many actions or values it stands for.
        note: What else there is to say: phases of the actions, kind of the artifact.
    """

    id: str
    kind: str
    label: str
    run: str = ""
    count: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """One thing led to another.

    Attributes:
        source: Id of the node that came first.
        target: Id of the node that came of it.
        kind: ``made``, ``read``, ``published``, ``part`` (of an artifact), ``used``, ``passed`` (a
            future), ``called``, ``cached`` or ``rerun`` (results were taken over).
    """

    source: str
    target: str
    kind: str


@dataclass(slots=True)
class Graph:
    """What was found.

    Attributes:
        start: Ids of the nodes that were asked about.
        nodes: All nodes, by id.
        edges: All edges, each once, in the order in which they were found.
        tasks: Root task of each run, by its name.
        complete: Whether nothing was left out for being too far or too much.
    """

    start: list[str]
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    def into(self, node: str) -> list[Edge]:
        """Return the edges that end at a node."""
        return [edge for edge in self.edges if edge.target == node]

    def out_of(self, node: str) -> list[Edge]:
        """Return the edges that start at a node."""
        return [edge for edge in self.edges if edge.source == node]


def of_run(name: str, *, up: bool = True, down: bool = True, depth: int = 10) -> Graph:
    """Return what a run was made of and what was made of it.

    Args:
        name: Name of the run.
        up: Where its values came from.
        down: Where they went.
        depth: How many runs away to look.

    Raises:
        RunNotFoundError: There is no such run.
    """
    row = link.get(name)
    explorer = _Explorer(Graph([_task(name, row.spec.name)]))
    explorer.visit(name, depth, up=up, down=down)
    return explorer.graph


def of_artifact(row: ArtifactRow, *, up: bool = True, down: bool = True, depth: int = 10) -> Graph:
    """Return what a version of an artifact was made of and what was made of it."""
    explorer = _Explorer(Graph([_artifact(label_of(row))]))
    explorer.add_artifact(row)
    if up:
        explorer.makers(row, depth)
    if down:
        explorer.users(row, depth)
    return explorer.graph


class _Explorer:
    """Goes from run to run, and collects what it sees."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._portraits: dict[str, Portrait | None] = {}
        self._seen: set[tuple[str, str]] = set()

    def visit(self, name: str, depth: int, *, up: bool, down: bool) -> None:
        """Add a run, and what it is connected with."""
        seen = self._look(name)
        if seen is None:
            return
        if up and (name, "up") not in self._seen:
            self._seen.add((name, "up"))
            self._before(seen, depth)
        if down and (name, "down") not in self._seen:
            self._seen.add((name, "down"))
            self._after(seen, depth)

    def makers(self, row: ArtifactRow, depth: int) -> None:
        """Add the run that published a version first, or those that made what is in it.

        Runs that came to the same later are left out: there may be one a day.
        """
        runs = [run for run, _ in link.views().artifacts.publishers(row.key)]
        known = link.views().lineage.names(runs)
        names = [known[run] for run in runs if run in known][:1]
        if not names:  # published outside of runs
            for blob in row.blobs:
                origin = link.views().lineage.origin(blob, 0)
                if origin is not None:
                    source = self._far(origin.run, origin.task)
                    self._edge(source, _artifact(label_of(row)), "made")
                    names.append(origin.run)
        self._go_on(names, depth, up=True, down=False)

    def users(self, row: ArtifactRow, depth: int) -> None:
        """Add the runs that used a version."""
        keys = link.views().lineage.users(row.blobs[-1], MOST_RUNS)
        label = label_of(row)
        for name in link.views().lineage.names(keys).values():
            seen = self._peek(name)
            if seen is not None and any(used.label == label for used in seen.used):
                self._go_on([name], depth, up=False, down=True)

    def add_artifact(self, row: ArtifactRow) -> None:
        """Add a version of an artifact."""
        label = label_of(row)
        self._node(Node(_artifact(label), "artifact", label, note=row.kind))

    def _before(self, seen: Portrait, depth: int) -> None:
        for label in dict.fromkeys(used.label for used in seen.used):
            name, _, version = label.rpartition("@")
            row = link.views().artifacts.find(Wanted(name, version))
            if row is not None:
                self.add_artifact(row)
                self.makers(row, depth - 1)
        names = [data.run for data in seen.data if data.run]
        names += [taken.run for taken in seen.taken]
        self._go_on(dict.fromkeys(names), depth - 1, up=True, down=False)

    def _after(self, seen: Portrait, depth: int) -> None:
        views = link.views().lineage
        for row in seen.published:
            self.users(row, depth - 1)
        keys = views.readers(seen.key, MOST_RUNS) + views.reruns(seen.name, MOST_RUNS)
        keys += views.cached_elsewhere(seen.name, MOST_RUNS)
        names = views.names(list(dict.fromkeys(keys))).values()
        self._go_on(names, depth - 1, up=False, down=True)

    def _go_on(self, names: Iterable[str], depth: int, *, up: bool, down: bool) -> None:
        for name in names:
            if depth < 0:
                self.graph.complete = False
                return
            self.visit(name, depth, up=up, down=down)

    # --- what is seen -----------------------------------------------------------------------------

    def _peek(self, name: str) -> Portrait | None:
        if name not in self._portraits:
            if len(self._portraits) >= MOST_RUNS:
                self.graph.complete = False
                return None
            self._portraits[name] = portrait(name)
        return self._portraits[name]

    def _look(self, name: str) -> Portrait | None:
        """Add all of a run."""
        seen = self._peek(name)
        if seen is None or name in self.graph.tasks:
            return seen
        self.graph.tasks[name] = seen.root
        for task in seen.tasks.values():
            self._node(
                Node(_task(name, task.name), "task", task.name, name, task.count, task.phases)
            )
        for parent, child in seen.calls:
            self._edge(_task(name, parent), _task(name, child), "called")
        for source, target in seen.passed:
            self._edge(_task(name, source), _task(name, target), "passed")
        for taken in seen.taken:
            kind = "cached" if taken.cached else "rerun"
            self._edge(self._far(taken.run, taken.task), _task(name, taken.task), kind)
        self._look_at_data(seen)
        return seen

    def _look_at_data(self, seen: Portrait) -> None:
        name = seen.name
        for used in seen.used:
            known = Node(_artifact(used.label), "artifact", used.label)
            self.graph.nodes.setdefault(known.id, known)
            self._edge(_artifact(used.label), _task(name, used.task), "used")
        for row in seen.published:
            self.add_artifact(row)
            for task in seen.publishers[row.key]:
                self._edge(_task(name, task), _artifact(label_of(row)), "published")
        for data in seen.data:
            where = data.run or name
            node = f"data:{data.blob.hex()[:16]}"
            known = Node(node, "data", data.label, where, data.count)
            self.graph.nodes.setdefault(node, known)  # whoever made it comes before who had it kept
            for task in data.makers:
                self._edge(self._far(where, task), node, "made")
            for task in data.readers:
                self._edge(node, _task(name, task), "read")
            for label in data.artifacts:
                self._edge(node, _artifact(label), "part")

    def _node(self, node: Node) -> None:
        self.graph.nodes[node.id] = node

    def _far(self, run: str, task: str) -> str:
        """Return the node of a task of a run that may not be looked at."""
        node = Node(_task(run, task), "task", task, run)
        return self.graph.nodes.setdefault(node.id, node).id

    def _edge(self, source: str, target: str, kind: str) -> None:
        self.graph.edges[Edge(source, target, kind)] = None


def _task(run: str, task: str) -> str:
    return f"task:{run}/{task}"


def _artifact(label: str) -> str:
    return f"artifact:{label}"
