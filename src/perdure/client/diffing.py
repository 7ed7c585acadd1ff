"""``diff``: what was different between two runs, and where they parted.

Ids of actions depend on the name of their run. So actions are compared by what they are: parent,
task, inputs, and how often the same call was made before, all the way up to the root, whose inputs
are compared by themselves.
"""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._core.records import RunRow
from perdure.client import link
from perdure.client.parting import Parting, value_of, where_they_part
from perdure.errors import BlobMissingError

if TYPE_CHECKING:
    from perdure._core.model import Bundle

_PREVIEW = 200

Pair = tuple[str | None, str | None]
"""What something is in the one run and in the other; None where it is not there."""


class TaskTime(msgspec.Struct, frozen=True, kw_only=True):
    """How many actions of a task two runs have, and the seconds they took together."""

    task: str
    actions: tuple[int, int]
    seconds: tuple[float, float]


class RunDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What was different between two runs. Pairs are what the first has and what the second has.

    Attributes:
        names: The two runs.
        tasks: Their root tasks, if these differ.
        inputs: Inputs that differ, by parameter.
        code: Functions, classes and files that differ, comments and docstrings aside.
        text: Unified diffs of those files.
        commits: The commits they were started from, if these differ.
        environment: What differs in Python and packages; None if one of them is not known.
        results: Results or errors, if these differ.
        phases: Their phases.
        seconds: How long they took, None while they have not ended.
        durations: Actions and time by task.
        first: The first action that went differently, None if none did.
        actions: How many actions went differently; what is below them is not counted.
    """

    names: tuple[str, str]
    tasks: tuple[str, str] | None
    inputs: dict[str, Pair]
    code: list[str]
    text: str
    commits: Pair | None
    environment: list[str] | None
    results: Pair | None
    phases: tuple[str, str]
    seconds: tuple[float | None, float | None]
    durations: list[TaskTime]
    first: Parting | None
    actions: int

    @property
    def same(self) -> bool:
        """Whether code, inputs, environment and results are the same."""
        return not (
            self.tasks or self.inputs or self.code or self.environment or self.results or self.first
        )


def diff(a: str, b: str) -> RunDiff:
    """Return what was different between two runs.

    Args:
        a: Name of the one run.
        b: Name of the other.

    Raises:
        RunNotFoundError: There is no such run.
    """
    one, other = link.get(a), link.get(b)
    code, text = _code(one, other)
    commits = one.bundle.commit or None, other.bundle.commit or None
    first, count = where_they_part(one, other)
    return RunDiff(
        names=(a, b),
        tasks=None if one.spec.name == other.spec.name else (one.spec.name, other.spec.name),
        inputs=_inputs(one, other),
        code=code,
        text=text,
        commits=None if commits[0] == commits[1] else commits,
        environment=_environment(one.bundle, other.bundle),
        results=_results(one, other),
        phases=(one.phase.value, other.phase.value),
        seconds=(_seconds(one), _seconds(other)),
        durations=_durations(one, other),
        first=first,
        actions=count,
    )


def _inputs(one: RunRow, other: RunRow) -> dict[str, Pair]:
    from perdure._serde.parts import parts

    before, after = parts(one.inputs, link.blobs()), parts(other.inputs, link.blobs())
    return {
        name: (_preview(before.get(name)), _preview(after.get(name)))
        for name in dict.fromkeys((*before, *after))
        if value_of(before.get(name)) != value_of(after.get(name))
    }


def _preview(data: bytes | None) -> str | None:
    from perdure import _serde

    return None if data is None else _serde.preview(data, _PREVIEW)


def _results(one: RunRow, other: RunRow) -> Pair | None:
    before, after = _result(one), _result(other)
    if before[0] == after[0]:
        return None
    return before[1], after[1]


def _result(row: RunRow) -> tuple[object, str | None]:
    """Return a run's outcome, to compare and to show."""
    if row.outcome is None:
        return None, None
    if row.outcome.failure is not None:
        failure = row.outcome.failure
        shown = f"{failure.type.removeprefix('builtins.')}: {failure.message}"
        return shown, shown
    return value_of(row.outcome.value), _preview(row.outcome.value)


def _seconds(row: RunRow) -> float | None:
    return None if row.ended is None else row.ended - row.created


def _durations(one: RunRow, other: RunRow) -> list[TaskTime]:
    found: dict[str, list[float]] = {}
    for side, row in enumerate((one, other)):
        for each in link.views().counts(row.key):
            sums = found.setdefault(each.task, [0, 0, 0.0, 0.0])
            sums[side] += each.actions
            sums[2 + side] += each.seconds
    return [
        TaskTime(task=task, actions=(int(a), int(b)), seconds=(was, now))
        for task, (a, b, was, now) in sorted(found.items())
    ]


def _environment(one: "Bundle", other: "Bundle") -> list[str] | None:
    from perdure._version.environment import differences
    from perdure._version.snapshot import environment_of

    if one.environment == other.environment:
        return [] if one.environment else None
    try:
        before, after = (environment_of(each, link.blobs()) for each in (one, other))
    except BlobMissingError:
        return None
    return None if before is None or after is None else differences(before, after)


# --- code -----------------------------------------------------------------------------------------


def _code(one: RunRow, other: RunRow) -> tuple[list[str], str]:
    """Return the names of what differs, and the unified diffs of the files it is in."""
    from perdure._bundle import differing

    before, after = _files(one.bundle), _files(other.bundle)
    names: list[str] = []
    text: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was == now:
            continue
        if was is None or now is None:
            found = [f"only in {(one if now is None else other).name}"]
        else:
            found = list(differing(_text(was), _text(now)))
        if found:
            names += [f"{path}: {each}" for each in found]
            text += _unified(path, was, now)
    by_value = not (before or after)
    if by_value and one.spec.code != other.spec.code:
        names.append(one.spec.name)
    return names, "".join(text)


def _files(bundle: "Bundle") -> dict[str, bytes]:
    """Return the blobs of a run's files, by their path in its folder."""
    return {
        os.path.relpath(file.path, bundle.cwd)
        if bundle.cwd and Path(file.path).is_relative_to(bundle.cwd)
        else file.path: file.blob
        for file in bundle.files
    }


def _text(blob: bytes) -> bytes:
    try:
        return bytes(link.blobs().get(blob))
    except BlobMissingError:
        return b"\0"  # no Python: the file differs as a whole


def _unified(path: str, was: bytes | None, now: bytes | None) -> Iterator[str]:
    before, after = (
        [] if blob is None else _text(blob).decode(errors="replace").splitlines(keepends=True)
        for blob in (was, now)
    )
    for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def as_json(found: RunDiff) -> dict[str, Any]:
    """Return a difference as JSON-able data."""
    data: dict[str, Any] = msgspec.to_builtins(found)
    return data | {"same": found.same}
