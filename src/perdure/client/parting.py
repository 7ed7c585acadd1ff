"""Where two runs part: the first action that went differently."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._core.ids import digest
from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.client import link

if TYPE_CHECKING:
    from perdure._views.model import ActionRecord

_FUTURE = re.compile(rb"\xd8\x02(.{16})", re.DOTALL)  # in msgpack: 16 bytes of extension type 2
_PREVIEW = 200


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """An action that went differently in two runs.

    Attributes:
        task: Its task.
        kind: ``result``: the same call has another outcome; ``inputs``: it was made with other
            inputs; ``missing``: only one of the runs made it.
        numbers: Its number in either run, None where it was not made.
        inputs: What it was called with.
        outcomes: What came out, or the phase it is in.
    """

    task: str
    kind: str
    numbers: tuple[int | None, int | None]
    inputs: tuple[str | None, str | None]
    outcomes: tuple[str | None, str | None]


Place = tuple[float, int]
"""When something happened in a run, in seconds, and a number that orders what was simultaneous."""


class _Action:
    """An action of one of the runs, and its key, which is the same in the other."""

    def __init__(self, record: "ActionRecord", key: bytes, parent: bytes) -> None:
        self.record = record
        self.key = key
        self.parent = parent


def where_they_part(one: RunRow, other: RunRow) -> tuple[Parting | None, int]:
    """Return the first action that went differently, and how many did.

    The cause comes before its consequences: what was called differently counts from when it was
    called, what came out differently from when it did.
    """
    before, after = _actions(one), _actions(other)
    found: list[tuple[Place, Parting]] = []
    anchors: list[tuple[Place, Place]] = []
    for key, action in before.items():
        twin = after.get(key)
        if twin is None:
            continue
        anchors.append((_place(twin), _place(action)))
        if _outcome(action) != _outcome(twin):
            ended = action.record.ended or action.record.created
            found.append(((ended, action.record.seq), _parting("result", action, twin)))
    anchors.sort()
    left, right = _unmatched(before, after), _unmatched(after, before)
    for caller in left.keys() | right.keys():
        for mine, twin in zip_longest(left[caller], right[caller]):
            kind = "missing" if mine is None or twin is None else "inputs"
            at = _translated(_place(twin), anchors) if mine is None else _place(mine)
            found.append((at, _parting(kind, mine, twin)))
    if not found:
        return None, 0
    return min(found, key=lambda each: each[0])[1], len(found)


def _place(action: _Action) -> Place:
    return action.record.created, action.record.seq


def _translated(place: Place, anchors: list[tuple[Place, Place]]) -> Place:
    """Return where in the first run something would be that only the second has.

    That is right after what both have done and the second had done before. Their clocks cannot be
    compared: runs take their time to begin.
    """
    at = bisect_right(anchors, (place, (inf, 0)))
    return anchors[at - 1][1] if at else (0.0, 0)


def value_of(data: bytes | None) -> bytes | None:
    """Return what two encoded values have in common if, and only if, they are equal."""
    from perdure._serde.canonical import canonical
    from perdure._serde.format import POINTER

    if data is None or data[0] == POINTER:
        return data
    return digest(canonical(data[1:]))


def _actions(row: RunRow) -> dict[bytes, _Action]:
    """Return the actions of a run by a key that does not depend on the run's name."""
    found: dict[bytes, _Action] = {}
    by_seq: dict[int, bytes] = {0: b""}
    by_id: dict[bytes, bytes] = {}
    seen: Counter[bytes] = Counter()

    def known(match: "re.Match[bytes]") -> bytes:
        return by_id.get(match[1], match[0])

    for record in link.views().records(row.key):
        parent = by_seq[record.parent]
        inputs = b"" if not parent else _FUTURE.sub(known, _content(record.inputs))
        call = digest(parent + digest(record.task.encode()) + inputs)
        key = digest(call + seen[call].to_bytes(8))
        seen[call] += 1
        by_seq[record.seq] = by_id[record.id] = key
        found[key] = _Action(record, key, parent)
    return found


def _content(data: bytes) -> bytes:
    from perdure._serde.canonical import canonical
    from perdure._serde.format import POINTER

    return data if not data or data[0] == POINTER else canonical(data[1:])


def _unmatched(
    actions: dict[bytes, _Action], others: dict[bytes, _Action]
) -> dict[tuple[bytes, str], list[_Action]]:
    """Return the calls that the other run did not make, if it got as far as their parent.

    One whose value was found in the cache has made none.
    """
    found: dict[tuple[bytes, str], list[_Action]] = defaultdict(list)
    for key, action in actions.items():
        caller = others.get(action.parent)
        called = not action.parent or (caller and caller.record.phase is not Phase.CACHED)
        if key not in others and called:
            found[action.parent, action.record.task].append(action)
    return found


def _outcome(action: _Action) -> Any:
    record = action.record
    if record.failure is not None:
        return record.failure.type, record.failure.message
    return record.phase if record.value is None else value_of(record.value)


def _parting(kind: str, mine: _Action | None, twin: _Action | None) -> Parting:
    sides = (mine, twin)
    task = next(each.record.task for each in sides if each is not None)
    return Parting(
        task=task,
        kind=kind,
        numbers=_pair(*(None if each is None else each.record.seq for each in sides)),
        inputs=_pair(*(None if each is None else _preview(each.record.inputs) for each in sides)),
        outcomes=_pair(*(None if each is None else _shown(each) for each in sides)),
    )


def _pair(one: Any, other: Any) -> tuple[Any, Any]:
    return one, other


def _preview(data: bytes) -> str:
    from perdure import _serde

    return _serde.preview(data, _PREVIEW) if data else ""


def _shown(action: _Action) -> str:
    record = action.record
    if record.failure is not None:
        return f"{record.failure.type.removeprefix('builtins.')}: {record.failure.message}"
    return record.phase.value if record.value is None else _preview(record.value)
