"""A run as lineage sees it: what its tasks called, made, read, used and published."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from perdure._core.artifacts import ArtifactRow
from perdure._core.model import Phase
from perdure._serde.references import Artifact, Future, Holding, references
from perdure._views.lineage import Call, Link, Origin
from perdure.client import link

PUBLISH, GET = "artifacts.publish", "artifacts.get"
_HIDDEN_KINDS = ("sleep", "value")
_HIDDEN = (PUBLISH, GET)  # artifacts have nodes of their own


@dataclass(slots=True)
class Task:
    """The actions of a run that share a task.

    Attributes:
        name: The task or step.
        count: How many.
        phases: Where they stand, in words.
    """

    name: str
    count: int
    phases: str


@dataclass(frozen=True, slots=True)
class Used:
    """An artifact that a task got, or was given."""

    label: str
    task: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Results of a task that were taken over from another run: cached, or by a rerun."""

    run: str
    task: str
    cached: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Large values that went the same way.

    Attributes:
        blob: Digest of one blob of them.
        label: What they are.
        count: How many.
        makers: Tasks that made them; of the run ``run``, or of this one if that is "".
        readers: Tasks that read them.
        artifacts: Labels of artifacts that hold them.
        run: Name of another run that made them, or "".
    """

    blob: bytes
    label: str
    count: int
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    artifacts: tuple[str, ...]
    run: str = ""


@dataclass(slots=True)
class Portrait:
    """All of it.

    Attributes:
        key: Number of the run in the journal.
        name: Its name.
        root: Its root task.
        tasks: By name.
        calls: (caller, task).
        passed: (task whose future was passed on, task that was given it).
        used: Artifacts that were used.
        published: Artifacts that were published.
        publishers: Tasks that published them, by key of the artifact.
        data: Large values.
        taken: What was taken over from other runs.
    """

    key: int
    name: str
    root: str
    tasks: dict[str, Task] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    published: list[ArtifactRow] = field(default_factory=list)
    publishers: dict[int, list[str]] = field(default_factory=dict)
    data: list[Data] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)


def label_of(row: ArtifactRow) -> str:
    """Return name and version of an artifact."""
    return f"{row.name}@{row.version}"


def portrait(name: str) -> Portrait | None:
    """Return the portrait of a run, or None if there is no such run any more."""
    row = link.find(name)
    if row is None:
        return None
    views = link.views()
    made = Portrait(row.key, name, row.spec.name)
    _add_tasks(made, views.lineage.calls(row.key))
    made.published = views.artifacts.published(row.key)
    made.publishers = {each.key: _publishers(row.key, each.key) for each in made.published}
    links = views.lineage.links(row.key)
    known = _add_used(made, links) | {each.blobs[-1] for each in made.published}
    _add_data(made, [each for each in links if each.blob not in known])
    _add_passed(made)
    made.taken = [
        Taken(run, task, cached=True) for task, run in views.lineage.cached(row.key) if run != name
    ]
    if row.parent:
        made.taken += [Taken(row.parent, row.spec.name, cached=False)]
    return made


def _add_tasks(made: Portrait, calls: list[Call]) -> None:
    phases: dict[str, dict[Phase, int]] = defaultdict(dict)
    for call in calls:
        if call.kind in _HIDDEN_KINDS or call.task in _HIDDEN:
            continue
        counts = phases[call.task]
        counts[call.phase] = counts.get(call.phase, 0) + call.actions
        if call.parent and (call.parent, call.task) not in made.calls:
            made.calls.append((call.parent, call.task))
    for task, counts in phases.items():
        words = ", ".join(f"{count} {phase.value}" for phase, count in counts.items())
        made.tasks[task] = Task(task, sum(counts.values()), words)


def _publishers(run: int, artifact: int) -> list[str]:
    places = [seq for key, seq in link.views().artifacts.publishers(artifact) if key == run]
    found = [link.views().action(run, f"#{seq}") for seq in places]
    return list(dict.fromkeys(each.summary.task for each in found if each is not None))


def _add_used(made: Portrait, links: list[Link]) -> set[bytes]:
    """Find the artifacts that were used; return all their blobs."""
    read = [each for each in links if not each.made and each.task != PUBLISH]
    rows = link.views().artifacts.held(list(dict.fromkeys(each.blob for each in read)))
    whole = {row.blobs[-1] for row in rows}
    for each in read:
        for label in _labels(made.key, each) if each.blob in whole else ():
            used = Used(label, each.parent if each.task == GET else each.task)
            if used not in made.used:
                made.used.append(used)
    labels = {used.label for used in made.used}
    return {blob for row in rows if label_of(row) in labels for blob in row.blobs}


def _labels(run: int, using: Link) -> list[str]:
    """Return which artifacts an action meant: several may have the same content."""
    detail = link.views().action(run, f"#{using.seq}")
    if detail is None:
        return []
    if using.task == GET:
        return [_got(detail.outcome.value or b"")] if detail.outcome is not None else []
    return [
        each.label
        for each in references(detail.inputs, link.blobs())
        if isinstance(each, Artifact) and each.blob == using.blob
    ]


def _got(value: bytes) -> str:
    from perdure import _serde

    found = _serde.to_json(value)
    return f"{found['name']}@{found['version']}" if isinstance(found, dict) else ""


def _add_passed(made: Portrait) -> None:
    """Find which tasks were given the futures of which: by a few calls of each."""
    views = link.views().lineage
    for task, seq, _, inputs in views.samples(made.key):
        ids = [each.action for each in references(inputs) if isinstance(each, Future)]
        if not ids:
            continue
        for source in views.tasks_of(made.key, ids, seq).values():
            if (source, task) not in made.passed:
                made.passed.append((source, task))


# --- large values ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Way:
    """Blobs that were made and read by the same tasks, and the actions that tell of them."""

    blobs: list[bytes] = field(default_factory=list)
    places: dict[int, Link] = field(default_factory=dict)


def _add_data(made: Portrait, links: list[Link]) -> None:
    by_blob: dict[bytes, list[Link]] = defaultdict(list)
    for each in links:
        if each.task != GET:
            by_blob[each.blob].append(each)
    callers = _callers(made.calls)
    ways: dict[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], _Way] = {}
    for blob, group in by_blob.items():
        makers = _makers(group, callers)
        readers = {each.task for each in group if not each.made and each.task != PUBLISH}
        labels = tuple(label_of(row) for row in made.published if blob in row.blobs)
        run = ""
        if not makers:
            origin = link.views().lineage.origin(blob, made.key)
            run, makers = _elsewhere(origin)
        readers -= makers if not run else set()
        if not (readers or labels or makers):
            continue
        key = (run, tuple(sorted(makers)), tuple(sorted(readers)), labels)
        way = ways.setdefault(key, _Way())
        way.blobs.append(blob)
        teller = next((each for each in group if each.made == bool(makers and not run)), group[0])
        way.places.setdefault(teller.seq, teller)
    for (run, makers, readers, labels), way in ways.items():  # type: ignore[assignment]
        described = _described(made.key, way)
        if described is not None:
            label, count = described
            made.data.append(
                Data(way.blobs[0], label, count, tuple(makers), tuple(readers), labels, run)
            )


def _makers(group: list[Link], callers: dict[str, set[str]]) -> set[str]:
    """Return the tasks that made a blob, without those that passed it on."""
    makers = {each.task for each in group if each.made}
    own = makers - {each.task for each in group if not each.made} or makers
    return {task for task in own if not any(task in callers[other] for other in own - {task})}


def _callers(calls: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return for each task those that call it, directly or not; itself left out."""
    direct: dict[str, set[str]] = defaultdict(set)
    for parent, child in calls:
        direct[child].add(parent)
    found: dict[str, set[str]] = defaultdict(set)
    for task in list(direct):
        ahead = list(direct[task])
        while ahead:
            caller = ahead.pop()
            if caller not in found[task] and caller != task:
                found[task].add(caller)
                ahead += direct.get(caller, ())
    return found


def _elsewhere(origin: Origin | None) -> tuple[str, set[str]]:
    return ("", set()) if origin is None else (origin.run, {origin.task})


def _described(run: int, way: _Way) -> tuple[str, int] | None:
    """Return what the values are, and how many, judging by one of the actions.

    None if they are no values, but all the inputs of a call, which fill a blob together.
    """
    seq, teller = next(iter(way.places.items()))
    detail = link.views().action(run, f"#{seq}")
    if detail is None:
        return "value", len(way.blobs)
    outcome = detail.outcome
    data = (outcome.value or b"") if teller.made and outcome is not None else detail.inputs
    known = set(way.blobs)
    found = [each for each in references(data) if isinstance(each, Holding)]
    things = [each for each in found if known.intersection(each.blobs)]
    if not teller.made and any(not each.node for each in things):
        return None
    if not things:
        return "value", len(way.places)
    return things[0].label, len(things) * len(way.places)
