"""Answering conditions: what runs ask somebody outside, from any process.

The controller that drives the run takes the answer. If nobody drives it, this process records the
answer itself, under a lease of its own for that moment: whoever resumes the run finds it. Either
way there is one who decides, and the answer counts once it is recorded.
"""

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from perdure import _serde
from perdure._controller import presence
from perdure._controller.signals import ELSEWHERE
from perdure._core import failures
from perdure._core.model import Outcome
from perdure._core.outside import ANSWERED, CONDITION, answered
from perdure._core.records import RunRow
from perdure._serde import hints
from perdure._views.conditions import ConditionView
from perdure._wire.asking import ask
from perdure._wire.requests import Signal
from perdure.client import link
from perdure.errors import (
    ConditionAnsweredError,
    ConditionNotFoundError,
    ConfigurationError,
    RunInUseError,
    StorageError,
    TypeCheckError,
)

TRIES = 100
_PAUSE = 0.05

_SIMPLE = {"bool": bool, "int": int, "float": float, "str": str}


class OpenCondition(NamedTuple):
    """A condition that waits for an answer.

    Attributes:
        name: What it is answered by; if several are called so, the oldest gets the answer.
        prompt: The question.
        prompt_type: ``text`` or ``markdown``.
        data_type: What the answer must be, in words.
        choices: All answers there are, if they are few.
        description: More about it.
        asked: When it was first asked, in wall-clock seconds.
        until: When the time for an answer is over, None: never.
        number: Number of the action in the run; stands for the name where that is not enough.
        action: Id of the action (hex).
    """

    name: str
    prompt: str
    prompt_type: str
    data_type: str
    choices: tuple[str, ...]
    description: str
    asked: float
    until: float | None
    number: int
    action: str


def open_conditions(row: RunRow) -> list[OpenCondition]:
    """Return the conditions of a run that wait for an answer, the oldest first."""
    if row.phase.final:
        return []
    return [_described(each) for each in link.views().conditions.open(row.key)]


def _described(view: ConditionView) -> OpenCondition:
    told: dict[str, Any] = _serde.loads(view.inputs, link.blobs())
    return OpenCondition(
        name=view.name,
        prompt=told["prompt"],
        prompt_type=told["prompt_type"],
        data_type=told["data_type"],
        choices=tuple(told["choices"]),
        description=told["description"],
        asked=view.created,
        until=view.wake_at,
        number=view.seq,
        action=view.id.hex(),
    )


def find(row: RunRow, reference: str) -> OpenCondition:
    """Return the open condition of a name, the oldest if there are several, or of an action.

    Args:
        row: The run.
        reference: Its name; or its number (``12``, ``#12``) or the beginning of its id.

    Raises:
        ConditionNotFoundError: There is no such condition.
        ConditionAnsweredError: It does not wait for an answer any more.
    """
    found = open_conditions(row)
    for each in found:
        if each.name == reference:
            return each
    for each in found:
        by_id = len(reference) >= 4 and each.action.startswith(reference.lower())
        if reference.removeprefix("#") == str(each.number) or by_id:
            return each
    if ended := link.views().conditions.ended(row.key, reference):
        raise _too_late(row, reference, ended[-1])
    names = [f"{each.name} (#{each.number})" for each in found]
    raise ConditionNotFoundError(
        f"no condition {reference!r} waits for an answer",
        hint=f"these do: {', '.join(names)}" if names else f"none does: perdure show {row.name}",
        run=row.name,
    )


def _too_late(row: RunRow, name: str, view: ConditionView) -> ConditionAnsweredError:
    outcome = view.outcome
    if outcome is None or outcome.failure is None:
        told = f"was answered with {_serde.preview((outcome and outcome.value) or b'', 100)}"
    else:
        told = f"has ended: {outcome.failure.message}"
    return ConditionAnsweredError(
        f"condition {name!r} {told}",
        hint=f"the first answer counts; perdure show {row.name} {view.seq} tells whose it was",
        run=row.name,
        action=view.id.hex(),
    )


@contextmanager
def answer_type(row: RunRow, condition: OpenCondition) -> Iterator[Any]:
    """Give the type hint of the answers to a condition; inside, they are of the run's classes.

    Raises:
        TaskLoadError: The run's code, which has those classes, cannot be loaded.
    """
    if condition.data_type in _SIMPLE:
        yield _SIMPLE[condition.data_type]
        return
    from perdure.client.rerunning import recorded_bundle, root_task

    data: bytes = _serde.loads(link.action(row, condition.action).inputs, link.blobs())["hint"]
    plain = hints.is_plain(data)
    with nullcontext() if plain else root_task(row, recorded_bundle(row)):
        yield hints.load_hint(data, link.blobs())


def answer(name: str, reference: str, make: Callable[[Any], object]) -> tuple[OpenCondition, Any]:
    """Answer a condition of a run.

    Args:
        name: Name of the run.
        reference: See :func:`find`.
        make: Makes the value, for the type hint that it must fit.

    Returns:
        The condition, and a picture of the answer.

    Raises:
        TypeCheckError: The value does not fit.
        ConditionNotFoundError: There is no such condition.
        ConditionAnsweredError: It does not wait for an answer any more.
    """
    row = link.get(name)
    condition = find(row, reference)
    with answer_type(row, condition) as hint:
        value = _checked(condition, hint, make(hint))
        encoded = _serde.dumps(value, link.blobs())
    if encoded.needs:
        raise ConfigurationError("a future cannot be an answer", hint="give its result")
    _deliver(row, condition, Outcome(encoded.data, None, encoded.blobs))
    return condition, _serde.to_json(encoded.data)


def fail(name: str, reference: str, message: str) -> OpenCondition:
    """Answer a condition of a run with an error.

    Raises:
        ConditionNotFoundError: There is no such condition.
        ConditionAnsweredError: It does not wait for an answer any more.
    """
    row = link.get(name)
    condition = find(row, reference)
    _deliver(row, condition, Outcome(failure=failures.refused(message)))
    return condition


def _checked(condition: OpenCondition, hint: Any, value: object) -> object:
    try:
        return _serde.checker(hint)(value)
    except _serde.Mismatch as mismatch:
        at = f" at {mismatch.path}" if mismatch.path else ""
        why = f": {mismatch.reason}" if mismatch.reason else ""
        raise TypeCheckError(
            f"condition {condition.name}{at}: expected {mismatch.expected}, "
            f"got {mismatch.actual} ({mismatch.value}){why}",
            hint="the condition still waits: give a value of its type",
        ) from None


def _deliver(row: RunRow, condition: OpenCondition, outcome: Outcome) -> None:
    """Have the answer recorded, by whoever may do so now."""
    signal = Signal(row.name, bytes.fromhex(condition.action), outcome, _me())
    for tries in range(TRIES):
        refused = _hand_over(row, condition, signal)
        if refused is None:
            if tries:  # somebody takes the run over, or lets go of it
                time.sleep(_PAUSE)
            row = link.get(row.name)
            continue
        if refused == ANSWERED and tries and _is_ours(row, condition, outcome):
            return  # whoever was asked before has done it, and died before it could say so
        if refused == ANSWERED:
            raise ConditionAnsweredError(
                f"condition {condition.name!r} (#{condition.number}) does not wait for an answer "
                "any more",
                hint=f"what came of it: perdure show {row.name} {condition.number}",
                run=row.name,
                action=condition.action,
            )
        if refused:
            raise StorageError(refused, hint="nothing has changed; try again", run=row.name)
        return
    raise StorageError(
        f"nobody takes the answer to condition {condition.name!r}",
        hint="does the process that drives the run hang, or is it of another release?",
        run=row.name,
    )


def _hand_over(row: RunRow, condition: OpenCondition, signal: Signal) -> str | None:
    """Return why the answer cannot count, "" if it does, None if somebody else is to be asked."""
    if row.phase.final:
        return ANSWERED
    controllers = link.config().controllers
    driver = presence.contact(controllers, row.owner) if row.owner else None
    if driver is None:
        return _record(row, condition, signal)
    try:
        told = ask(driver.address, driver.token, signal)
    except TimeoutError:
        return "the process that drives the run does not answer"
    except OSError:  # it has just ended
        return None
    if told.done:
        return ""
    return None if told.text == ELSEWHERE else told.text


def _record(row: RunRow, condition: OpenCondition, signal: Signal) -> str | None:
    """Record the answer for a run that nobody drives."""
    now, controllers = time.time(), link.config().controllers
    if condition.until is not None and condition.until < now:
        return ANSWERED
    with link.journal() as journal:
        try:
            epoch = journal.acquire(
                row.key, "", lambda owner: presence.is_alive(controllers, owner)
            )
        except RunInUseError:
            return None
        found = journal.lookup(row.key, [signal.action]).get(signal.action)
        if found is None or found.kind != CONDITION or found.outcome is not None:
            return ANSWERED
        rows = answered(found, signal.outcome, signal.by, now)
        return None if journal.commit(rows, {row.key: epoch}) else ""


def _is_ours(row: RunRow, condition: OpenCondition, outcome: Outcome) -> bool:
    ended = link.views().conditions.ended(row.key, condition.name)
    found = [each.outcome for each in ended if each.id.hex() == condition.action]
    return any(
        each is not None and (each.value, each.failure) == (outcome.value, outcome.failure)
        for each in found
    )


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for its user
        return "somebody without a name"
