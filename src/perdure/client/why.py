"""Why a run or an action has not ended yet; or how it has.

A run that is driven is asked about where that is done, which may be another process. Of all others
the journal tells.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._controller import presence
from perdure._core.model import Phase
from perdure._core.reasons import BackingOff, Link, NoWorker, Running
from perdure._core.records import RunRow
from perdure._wire.asking import ask
from perdure._wire.requests import Why as Question
from perdure.client import link, wording
from perdure.client.measuring import Meter
from perdure.client.words import duration, number, size, when
from perdure.config import log_path

if TYPE_CHECKING:
    from perdure._views.model import ActionSummary

SHOWN = 6
"""Links of a chain that are shown, and of failures."""

PATIENCE_SECONDS = 10.0
"""How long a controller may take to answer: it is busy for less, unless it was stopped."""

_TAIL_BYTES = 4096
_TURNS = 5
_LAG_SECONDS = 0.1
_MEASURED_SECONDS = 0.1
_CLOCK_SECONDS = 0.05
"""By so much the times of files may be behind the clock."""


class Note(msgspec.Struct, frozen=True):
    """Something else that is known: a label, and what it is about."""

    label: str
    text: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run, or an action of it, has not ended; or how it has. ``str`` says it in words.

    Attributes:
        run: Name of the run.
        action: Id of the action that was asked about, in hex; "" for the run as a whole.
        phase: Phase of the run, or of the action.
        summary: In a sentence.
        chain: The action, what it waits for, and so on to what all of them wait for in the end;
            empty if nobody drives the run, or the action has ended.
        notes: What else is known of the last of them, or of the end.
        at: When that was so, in wall-clock seconds.
    """

    run: str
    action: str
    phase: Phase
    summary: str
    chain: tuple[Link, ...] = ()
    notes: tuple[Note, ...] = ()
    at: float = 0.0

    @property
    def cause(self) -> str:
        """What it comes down to, in a sentence."""
        if not self.chain:
            return self.summary
        last = self.chain[-1]
        return f"{wording.named(last.action, self.run)} {wording.sentence(last, self.at)}"

    def __str__(self) -> str:
        lines = [self.summary]
        for depth, each in enumerate(_shortened(self.chain)):
            text = "..."
            if each is not None:
                text = f"{wording.named(each.action, self.run)} {wording.sentence(each, self.at)}"
            lines.append(f"{'  ' * (depth + 1)}{text}")
        lines += [f"  {note.label:<12} {note.text}".rstrip() for note in self.notes]
        return "\n".join(lines)


def why(name: str, reference: str | None = None, *, closely: bool = True) -> Why:
    """Return why a run, or one of its actions, has not ended; or how it has.

    Args:
        name: Name of the run.
        reference: Number of the action, or the beginning of its id.
        closely: Look at its process, its log and its earlier attempts, too.

    Raises:
        RunNotFoundError: There is no such run.
        ActionNotFoundError: It has no such action, or several.
    """
    for _ in range(_TURNS):
        row = link.get(name)
        action = None if reference is None else link.action(row, reference).summary
        if (action is not None and action.phase.final) or row.phase.final:
            return _ended(row, action)
        if row.phase is Phase.INTERRUPTED:
            return _interrupted(row, action)
        if (found := _asked(row, action, closely=closely)) is not None:
            return found
        time.sleep(_LAG_SECONDS)  # between two phases, of which the journal tells soon
    return _between(row, action)


# --- of a live run --------------------------------------------------------------------------------


def _asked(row: RunRow, action: "ActionSummary | None", *, closely: bool) -> Why | None:
    """Return what the process that drives the run says; None if it is about to change."""
    peer = presence.contact(link.config().controllers, row.owner)
    if peer is None:
        return None
    target = None if action is None else bytes.fromhex(action.id)
    try:
        reply = ask(peer.address, peer.token, Question(row.name, target), PATIENCE_SECONDS)
    except TimeoutError:
        return _told(row, action, f"{row.name} is driven by process {peer.pid}, which is silent")
    except OSError:
        return None  # it has just ended
    if reply.chain:
        found = _explained(row, action, reply.chain, peer.pid)
        return _noted(found) if closely else found
    if action is None and reply.left:
        left = f"{number(reply.left)} call{'' if reply.left == 1 else 's'}"
        return _told(row, None, f"{row.name} has its result, and stops the {left} that are left")
    return None


def _explained(
    row: RunRow, action: "ActionSummary | None", chain: tuple[Link, ...], pid: int
) -> Why:
    now = time.time()
    driven = f"driven by process {pid} for {duration(now - row.created)}"
    if action is None:
        summary = f"{row.name} is {row.phase.value}, {driven}"
    else:
        what = f"{wording.named(chain[0].action, row.name)} of {row.name}"
        summary = f"{what} is {chain[0].phase.value}; the run is {driven}"
    return Why(
        run=row.name,
        action=action.id if action else "",
        phase=chain[0].phase if action else row.phase,
        summary=summary,
        chain=chain,
        at=now,
    )


def _noted(found: Why) -> Why:
    """Return it with what else is known of the last link."""
    last = found.chain[-1]
    notes = [Note(*each) for each in wording.details(last, found.at)]
    notes += [*_measured(last), *_before(last), *_building(last)]
    return msgspec.structs.replace(found, notes=tuple(notes))


def _measured(last: Link) -> list[Note]:
    """Return what an attempt uses, and what it has written last."""
    reason = last.reason
    if not isinstance(reason, Running) or not reason.pid:
        return []
    notes, meter = [], Meter()
    meter.processes([reason.pid])
    time.sleep(_MEASURED_SECONDS)
    use = meter.processes([reason.pid]).get(reason.pid)
    if use is not None:
        cpu = "" if use.cpu is None else f"{100 * use.cpu:.0f} % of a core, "
        notes.append(Note("uses", f"{cpu}{size(use.memory)}"))
    if reason.alone:  # otherwise, who knows whose it is
        log = log_path(link.config().logs, reason.worker)
        if line := _last_line(log, reason.since):
            notes.append(Note("wrote", line))
    return notes


def _before(last: Link) -> list[Note]:
    """Return how its last attempt has ended, if there was one."""
    if not last.attempt or not last.action.number:
        return []
    row = link.find(last.action.run)
    attempts = link.views().attempts(row.key, last.action.number) if row is not None else []
    if not attempts:
        return []
    failure = attempts[-1].failure
    kind = failure.type.rpartition(".")[2]
    first = failure.message.partition("\n")[0]
    what = f"attempt {attempts[-1].number} ended with {kind}: {first}"
    then = f"attempt {last.attempt} is next" if isinstance(last.reason, BackingOff) else ""
    return [Note("before", "; ".join(filter(None, (what, then))))]


def _building(last: Link) -> list[Note]:
    """Return what has been written last of an environment that is built."""
    if not isinstance(last.reason, NoWorker):
        return []
    log = last.reason.delay.partition("; log: ")[2]
    line = _last_line(Path(log), 0.0) if log else ""
    return [Note("wrote", line)] if line else []


def _last_line(path: Path, since: float) -> str:
    """Return the last line of a file, "" if nothing was written to it since then."""
    try:
        with path.open("rb") as file:
            stat = path.stat()
            if stat.st_mtime < since - _CLOCK_SECONDS:
                return ""
            file.seek(max(0, stat.st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# --- of all others --------------------------------------------------------------------------------


def _ended(row: RunRow, action: "ActionSummary | None") -> Why:
    if action is not None:
        return _action_ended(row, action)
    took = duration((row.ended or row.created) - row.created)
    summary = f"{row.name} has {row.phase.value}, at {when(row.ended)}, after {took}"
    if row.phase is Phase.SUCCEEDED:
        return _told(row, None, summary)
    failure = row.outcome.failure if row.outcome else None
    notes = [Note("error", _first_line(failure.type, failure.message))] if failure else []
    for at, each in enumerate(link.views().failures(row.key, SHOWN)):
        text = f"{each.summary.task} #{each.summary.seq}: {each.summary.error}"
        notes.append(Note("" if at else "what failed", text))
    notes.append(Note("go on", f"perdure resume {row.name}"))
    return _told(row, None, summary, notes)


def _action_ended(row: RunRow, action: "ActionSummary") -> Why:
    began = action.started or action.created
    took = duration((action.ended or began) - began)
    how = "was taken from the cache" if action.phase is Phase.CACHED else f"has {action.phase}"
    summary = f"{action.task} #{action.seq} of {row.name} {how}, at {when(action.ended)}"
    notes = [Note("error", action.error)] if action.error else []
    return _told(row, action, f"{summary}, after {took}", notes)


def _interrupted(row: RunRow, action: "ActionSummary | None") -> Why:
    pid = row.owner.partition("-")[0]
    who = (
        f"process {pid}, which drove it, is gone"
        if pid
        else "the process that drove it has let go of it"
    )
    at = link.views().last_news(row.key)
    since = f" (last heard of at {when(at)})" if at else ""
    notes = []
    if action is None:
        left = link.views().unfinished(row.key)
        for place, each in enumerate(left[:SHOWN]):
            notes.append(Note("" if place else "under way", f"{each.task} #{each.seq}"))
        if len(left) > SHOWN:
            notes.append(Note("", f"... and {number(len(left) - SHOWN)} more"))
    notes.append(Note("go on", f"perdure resume {row.name}"))
    what = row.name if action is None else f"{action.task} #{action.seq} of {row.name}"
    return _told(row, action, f"{what} was interrupted: {who}{since}", notes)


def _between(row: RunRow, action: "ActionSummary | None") -> Why:
    peer = presence.contact(link.config().controllers, row.owner)
    if peer is not None and action is None:
        text = f"{row.name} is driven by process {peer.pid}, which does not say why it goes on"
        return _told(row, None, text, [Note("perhaps", "it runs another release of Perdure")])
    what = row.name if action is None else f"{action.task} #{action.seq} of {row.name}"
    return _told(row, action, f"{what} is about to change; ask again")


def _told(
    row: RunRow, action: "ActionSummary | None", summary: str, notes: list[Note] | None = None
) -> Why:
    return Why(
        run=row.name,
        action=action.id if action else "",
        phase=action.phase if action else row.phase,
        summary=summary,
        notes=tuple(notes or ()),
        at=time.time(),
    )


def _first_line(kind: str, message: str) -> str:
    shown = kind.removeprefix("builtins.")
    first = message.partition("\n")[0]
    return f"{shown}: {first}" if first else shown


def _shortened(chain: tuple[Link, ...]) -> list[Link | None]:
    """Return the links that are shown; None stands for those in the middle of a long chain."""
    if len(chain) <= SHOWN:
        return list(chain)
    return [chain[0], None, *chain[2 - SHOWN :]]


def as_dict(found: Why) -> dict[str, Any]:
    """Return it as JSON-able data."""
    data: dict[str, Any] = msgspec.to_builtins(found)
    return data | {"cause": found.cause}
