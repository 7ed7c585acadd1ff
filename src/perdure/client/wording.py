"""Reasons in words."""

import shlex
from collections.abc import Iterator

from perdure._core.reasons import (
    Asleep,
    BackingOff,
    Brief,
    Children,
    HeldBack,
    Holder,
    Inputs,
    JournalAsked,
    Line,
    Link,
    MemoryScarce,
    Next,
    NoneFree,
    NoRoom,
    NoSlot,
    NoWorker,
    QueueFull,
    Reason,
    Recorded,
    Running,
    SameKey,
    Stopping,
    Unanswered,
    Unexplained,
)
from perdure.client.words import amount, amounts, duration, number, when

COUNTED = {
    "no_room": "resources",
    "no_slot": "their queues",
    "queue_full": "room in a queue",
    "none_free": "a free worker",
    "no_worker": "a worker that starts",
    "next": "the next occasion",
    "memory_scarce": "memory of the machine",
    "children": "their calls",
    "inputs": "their inputs",
    "asleep": "the end of a sleep",
    "unanswered": "somebody's answer",
    "backing_off": "their next attempt",
    "same_key": "an identical call",
    "held_back": "their parents",
    "journal_asked": "the journal",
    "recorded": "the journal",
    "unexplained": "nothing that is known",
    "other": "one thing or another",
}
"""What several actions wait for, by the kind of their reason."""


def named(action: Brief, run: str = "") -> str:
    """Return the name of an action for people.

    Args:
        action: The action.
        run: The run that is spoken of anyway.
    """
    place = f"#{action.number}" if action.number else action.id[:8]
    return f"{action.task} {place}" + ("" if action.run == run else f" of {action.run}")


def sentence(link: Link, now: float) -> str:
    """Return what the action of a link waits for, without its name."""
    return _said(link.reason, link, now)


def _said(reason: Reason, link: Link, now: float) -> str:  # noqa: C901  # one case for each reason
    match reason:
        case Running():
            return _running(reason, now)
        case Stopping(pid=pid, why=why):
            return f"was asked to stop ({why})" + (f", in process {pid}" if pid else "")
        case Children():
            return _children(reason)
        case NoRoom():
            return _no_room(reason)
        case NoneFree(environment=environment, workers=workers, most=most):
            limit = ", the most there may be" if most else ""
            return (
                f"waits for a worker: {_all(workers)}{_whose(environment)} {_are(workers)}{limit}"
            )
        case NoWorker():
            return _no_worker(reason, now)
        case Next():
            return "is about to be given to a worker"
        case MemoryScarce(most=most):
            return (
                "waits until the machine has memory to spare: it ran short, and for a while no "
                f"more than {_workers(most)} may be busy"
            )
        case Inputs(open=left, inputs=inputs):
            return f"waits for {left} of its {inputs} inputs, which are outcomes of other calls"
        case NoSlot():
            return _no_slot(reason)
        case QueueFull():
            return _queue_full(reason)
        case Asleep(until=until):
            return f"sleeps until {when(until)}, for another {duration(until - now)}"
        case Unanswered(until=until):
            limit = "" if until is None else f", until {when(until)}"
            return f"waits for somebody to answer{limit}"
        case BackingOff(until=until):
            return f"has failed, and is tried again at {when(until)}, in {duration(until - now)}"
        case SameKey(holder=holder):
            where = "" if holder else " of another process"
            return f"waits for an identical call{where}, whose value it will have, too"
        case HeldBack():
            return "waits: its parent had cancelled it before the crash, and may do so again"
        case JournalAsked():
            return "waits for the journal to tell what is known of it"
        case Recorded():
            return "has ended, and its outcome is being recorded"
        case Unexplained():
            return f"is {link.phase.value}, and waits for nothing that is known: a mistake of ours"


def details(link: Link, now: float) -> Iterator[tuple[str, str]]:
    """Yield what else there is to say of a link, with labels."""
    reason, run = link.reason, link.action.run
    if isinstance(reason, NoRoom):
        if reason.first is not None:
            asked = amounts(reason.first_asked)
            yield "goes first", f"{named(reason.first, run)}, which asks for {asked}"
        yield from _held(reason.holders, run, now)
        if reason.others:
            yield "", f"... and {number(reason.others)} more"
    elif isinstance(reason, NoneFree):
        yield from _held(reason.holders, run, now)
    elif isinstance(reason, NoWorker) and reason.delay:
        text, _, log = reason.delay.partition("; log: ")
        yield "first", text
        if log:
            yield "log", log
    elif isinstance(reason, Unanswered):
        which = link.action.number or shlex.quote(link.action.task)
        yield "answer", f"perdure signal {link.action.run} {which} VALUE"
    if link.line is not None:
        yield "in line", _line(link.line)


def _held(holders: tuple[Holder, ...], run: str, now: float) -> Iterator[tuple[str, str]]:
    for at, each in enumerate(holders):
        yield "" if at else "held by", _holder(each, run, now)


def _holder(holder: Holder, run: str, now: float) -> str:
    parts = [amounts(holder.amounts)] if holder.amounts else []
    if holder.action is None:
        return ", ".join(["a worker that has nothing to do", *parts])
    if holder.since is not None:
        parts.append(f"for {duration(now - holder.since)}")
    if holder.waits:
        parts.append("waits for its calls")
    if holder.beside:
        parts.append(f"shared with {number(holder.beside)} more")
    return f"{named(holder.action, run)}: {', '.join(parts)}"


def _line(line: Line) -> str:
    ahead = f"{number(line.ahead)}{'' if line.counted else ' or more'}"
    text = "it is the first of this run" if not line.ahead else f"{ahead} of this run go first"
    others = f"; {number(line.others)} of other runs wait, too: runs take turns"
    return text + (others if line.others else "")


def _running(reason: Running, now: float) -> str:
    where = f"in process {reason.pid}" if reason.pid else f"on worker {reason.worker:x}"
    if reason.behind:
        return f"is with a worker, {where}, which does {number(reason.behind)} others first"
    return f"has been running for {duration(now - reason.since)}, {where}"


def _children(reason: Children) -> str:
    text = f"waits for {number(reason.open)} of its {number(reason.calls)} calls"
    if reason.calls == 1:
        text = "waits for its call"
    if reason.open > 1 and reason.phases:
        shown = (f"{number(count)} {phase}" for phase, count in reason.phases.items())
        text += f" ({', '.join(shown)})"
    return text


def _no_room(reason: NoRoom) -> str:
    asked = amounts(reason.asked)
    names = reason.short or reason.kept
    free = ", ".join(
        f"{amount(name, reason.free[name])} of {amount(name, reason.total[name])} {name}"
        for name in names
    )
    if reason.resumes:
        return f"could go on, its calls have ended, and waits for {asked}: {free} are free"
    if reason.short:
        return f"waits for resources: it asks for {asked}, and {free} are free"
    return f"waits for resources: it asks for {asked}; what is free ({free}) is for older work"


def _no_worker(reason: NoWorker, now: float) -> str:
    text = f"waits for a worker{_whose(reason.environment)} to start"
    if reason.hooks:
        text += ", which calls the start-up hook"
    text += f", for {duration(now - reason.since)} now"
    if reason.died:
        text += f"; {_workers(reason.died)} before it died while starting"
    return text


def _whose(environment: str) -> str:
    return f" of environment {environment}" if environment else ""


def _all(workers: int) -> str:
    return "the one" if workers == 1 else f"all {number(workers)}"


def _are(workers: int) -> str:
    return "is busy" if workers == 1 else "are busy"


def _workers(count: int) -> str:
    return f"{number(count)} worker{'' if count == 1 else 's'}"


def _no_slot(reason: NoSlot) -> str:
    """Return the place in a queue."""
    text = f"waits in queue {reason.queue}, as number {reason.position} of {reason.waiting}"
    if reason.next_start is not None:
        return f"{text}, for the next start at {when(reason.next_start)}"
    holders = ", ".join(f"{each.task} of {each.run}" for each in reason.holders)
    there = [f"held by {holders}"] if holders else []
    there += [f"{reason.elsewhere} by other processes"] if reason.elsewhere else []
    if not there:
        return text
    return f"{text}; of its {reason.concurrency or 'many'} slots: {', '.join(there)}"


def _queue_full(reason: QueueFull) -> str:
    text = f"holds back a call of {reason.task}: "
    if not reason.depth:
        return f"{text}the journal is asked how many may wait in queue {reason.queue}"
    are = "call waits" if reason.waiting == 1 else "calls wait"
    text += f"{number(reason.waiting)} {are} in queue {reason.queue}, whose depth is {reason.depth}"
    if reason.ahead:
        text += f"; {number(reason.ahead)} more go first"
    return text
