"""Why a value was found in the cache, or why not: an action's key compared with the nearest one."""

import difflib
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from perdure._core.model import CacheNote, InputMark, RunOptions
from perdure._core.records import RunRow
from perdure.client import link
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure._api.caching import Facts
    from perdure._views.model import ActionDetail, CachedValue

COMPARED = 1000
"""Kept values of the task that an action's key is compared with: the newest that are older."""

_ABSENT = ""
_VERDICTS = {
    "hit": "its value was kept",
    "miss": "nothing was kept under its key",
    "expired": "what was kept under its key was older than max_age allows",
    "damaged": "what was kept under its key was damaged, or parts of it were gone",
    "overwrite": "it was to run whatever is kept",
    "unknowable": "it has no key: a future is inside an input that is pickled",
}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A part in which two keys differ.

    Attributes:
        part: ``input``, ``code``, ``package``, ``python``, ``parameter``, ``salt``, ``version``, or
            ``facts`` if no more is known.
        name: Which input, function, package or parameter; "" where there is only one.
        before: What it was, as text; "" if it was not there.
        now: What it is.
        diff: Of code, the lines that differ.
    """

    part: str
    name: str = ""
    before: str = _ABSENT
    now: str = _ABSENT
    diff: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache had to do with an action.

    Attributes:
        run: Name of the run.
        number: Number of the action in the run.
        action: Its id, in hex.
        task: Its task.
        verdict: See :class:`~perdure._core.model.CacheNote`; ``none`` if the cache was not asked.
        reason: The verdict in words.
        key: Its key, in hex, "" if there is none.
        other_run: Run that has made the value, or the nearest one before it; "" if none has.
        other_action: Likewise the action, by its id in hex.
        made: When that was, in wall-clock seconds.
        differences: In what the key differs from the nearest one.
    """

    run: str
    number: int
    action: str
    task: str
    verdict: str
    reason: str
    key: str = ""
    other_run: str = ""
    other_action: str = ""
    made: float | None = None
    differences: tuple[Difference, ...] = ()


def explain(name: str, reference: str) -> Explanation:
    """Return what the cache had to do with an action of a run.

    Raises:
        RunNotFoundError: There is no such run.
        ActionNotFoundError: It has no such action, or several.
    """
    row = link.get(name)
    action = link.action(row, reference)
    note = action.cache
    if note is None:
        return _explanation(row, action, "none", _why_not_asked(row, action))
    if action.origin is not None:
        kept = {"other_run": action.origin.run, "other_action": action.origin.action.hex()}
        return _explanation(row, action, note.verdict, _VERDICTS["hit"], key=note.key.hex(), **kept)
    reason = _VERDICTS.get(note.verdict, note.verdict)
    nearest = _nearest(row.name, action, note)
    if nearest is None:
        if note.verdict == "miss":
            reason = "nothing was kept of its task"
        return _explanation(row, action, note.verdict, reason, key=note.key.hex())
    value, differences = nearest
    return _explanation(
        row,
        action,
        note.verdict,
        reason,
        key=note.key.hex(),
        other_run=value.origin.run,
        other_action=value.origin.action.hex(),
        made=value.created,
        differences=differences,
    )


def _explanation(
    row: RunRow, action: "ActionDetail", verdict: str, reason: str, **more: object
) -> Explanation:
    brief = action.summary
    made = Explanation(
        run=row.name,
        number=brief.seq,
        action=brief.id,
        task=brief.task,
        verdict=verdict,
        reason=reason,
    )
    return msgspec.structs.replace(made, **more)


def _why_not_asked(row: RunRow, action: "ActionDetail") -> str:
    options = msgspec.msgpack.decode(row.options, type=RunOptions) if row.options else RunOptions()
    if action.summary.kind != "task":
        return "only the values of tasks are kept, not those of steps and sleeps"
    if options.cache == "disable":
        return "the run leaves the cache alone: it was started with disable_run_cache"
    if options.recover_from:
        return (
            "the cache was not asked: its task is not cached, or its value was taken over from "
            f"run {options.recover_from}"
        )
    return 'the cache was not asked: its task has no cache="auto"'


# --- the nearest key ------------------------------------------------------------------------------


def _nearest(
    run: str, action: "ActionDetail", note: CacheNote
) -> "tuple[CachedValue, tuple[Difference, ...]] | None":
    """Return the kept value whose key is nearest to the action's, and in what it differs.

    That is the value of the call which was this one before something changed, not that of the next
    item of the same fan-out: equal inputs count more than equal code, and other runs more than
    this one. Of values that are equally near, it is the newest.
    """
    brief = action.summary
    asked = brief.started or brief.ended or time.time()
    found = []
    for value in link.views().cache.values(brief.task, asked, COMPARED):
        if value.origin.action.hex() == brief.id:
            continue
        inputs = tuple(_inputs(value.inputs, note.inputs))
        facts = _facts(value.facts, note.facts)
        distance = (len(inputs), value.origin.run == run, len(facts))
        found.append((distance, value, (*inputs, *facts)))
    if not found:
        return None
    _, nearest, differences = min(found, key=lambda each: each[0])
    return nearest, differences


def _inputs(before: Mapping[str, InputMark], now: Mapping[str, InputMark]) -> Iterator[Difference]:
    for name in [*now, *(each for each in before if each not in now)]:
        old, new = before.get(name), now.get(name)
        if old is None or new is None or old.digest != new.digest:
            yield Difference(
                part="input",
                name=name,
                before=old.preview if old else _ABSENT,
                now=new.preview if new else _ABSENT,
            )


def _facts(before: bytes, now: bytes) -> tuple[Difference, ...]:
    return () if before == now else _compared(before, now)


@lru_cache(maxsize=COMPARED)
def _compared(before: bytes, now: bytes) -> tuple[Difference, ...]:
    old, new = _load(before), _load(now)
    if old is None or new is None:
        return (Difference(part="facts"),)
    return (
        *_texts("parameter", _parameters(old), _parameters(new)),
        *_texts("salt", {"": old.salt}, {"": new.salt}),
        *_texts("version", {"": old.version or ""}, {"": new.version or ""}),
        *_code(old, new),
        *_environment(old, new),
    )


def _load(digest: bytes) -> "Facts | None":
    """Return what went into a key; None if it is no longer known."""
    from perdure._api.caching import decode_facts

    try:
        return decode_facts(link.blobs().get(digest))
    except (PerdureError, msgspec.DecodeError):
        return None


def _parameters(facts: "Facts") -> dict[str, str]:
    shown = {}
    for each in facts.parameters:
        hint = f": {each.hint}" if each.hint else ""
        default = f" = {each.default}" if each.default else ""
        shown[each.name] = f"{each.name}{hint}{default}"
    return shown


def _texts(part: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    for name in [*now, *(each for each in before if each not in now)]:
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if old != new:
            yield Difference(part=part, name=name, before=old, now=new)


def _code(before: "Facts", now: "Facts") -> Iterator[Difference]:
    old, new = ({each.name: each for each in facts.code} for facts in (before, now))
    for name in [*new, *(each for each in old if each not in new)]:
        was, is_ = old.get(name), new.get(name)
        if was is None or is_ is None or was.digest != is_.digest:
            yield Difference(
                part="code",
                name=name,
                before="" if was is None else was.digest.hex()[:8],
                now="" if is_ is None else is_.digest.hex()[:8],
                diff=_diff(name, was.source if was else "", is_.source if is_ else ""),
            )


def _diff(name: str, before: str, now: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), now.splitlines(), f"{name} (before)", f"{name} (now)", lineterm=""
    )
    return "\n".join(lines)


def _environment(before: "Facts", now: "Facts") -> Iterator[Difference]:
    if before.environment != now.environment:
        yield from _texts("python", {"": before.python}, {"": now.python})
        yield from _texts("package", dict(before.packages), dict(now.packages))
