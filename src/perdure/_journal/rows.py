"""Rows of the ports as tuples of columns, and back.

Empty text and bytes cost nothing in SQLite's format and stay what they are; NULL stands for None
alone, or for an empty tuple.
"""

from typing import Any

import msgspec

from perdure._core.model import (
    Bundle,
    CacheNote,
    Failure,
    LogSpan,
    Origin,
    Outcome,
    Phase,
    TaskSpec,
)
from perdure._journal.codes import KIND_NUMBERS, KINDS, PHASE_NUMBERS, PHASES
from perdure._ports import ActionRow, AttemptRow, EventRow, RunRow

Columns = tuple[Any, ...]

RUN_COLUMNS = (
    "name, task, phase, owner, epoch, created, ended, parent, python, cwd, error, "
    "inputs_digest, inputs, spec, bundle, context, options, blobs, outcome"
)
PLAIN_COLUMNS = (
    "run, seq, id, parent, task, kind, phase, created, started, ended, attempts, worker, inputs, "
    "value"
)
"""Those of an action that nothing happened to but its value: half the work of binding all."""

ACTION_COLUMNS = (
    f"{PLAIN_COLUMNS}, losses, wake_at, label, error, log, blobs, value_blobs, failure, origin, "
    "cache"
)

ATTEMPT_COLUMNS = "run, seq, number, started, ended, worker, error, log, failure"
EVENT_COLUMNS = "run, seq, at, kind, text"

ERROR_LENGTH = 200

_encode = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(TaskSpec).decode
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
_decode_outcome = msgspec.msgpack.Decoder(Outcome).decode
decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_spans = msgspec.msgpack.Decoder(tuple[LogSpan, ...]).decode
_decode_digests = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
_decode_origin = msgspec.msgpack.Decoder(Origin).decode
_decode_note = msgspec.msgpack.Decoder(CacheNote).decode


def error_line(failure: Failure) -> str:
    """Return the failure in one line for lists, e.g. ``KeyError: 'month'``."""
    name = failure.type.removeprefix("builtins.")
    first = failure.message.strip().partition("\n")[0]
    return (f"{name}: {first}" if first else name)[:ERROR_LENGTH]


def decode_spans(data: bytes | None) -> tuple[LogSpan, ...]:
    """Return the log ranges of a column."""
    return _decode_spans(data) if data else ()


def decode_digests(data: bytes | None) -> tuple[bytes, ...]:
    """Return the blob digests of a column."""
    return _decode_digests(data) if data else ()


def decode_origin(data: bytes | None) -> Origin | None:
    """Return where the value of an action was made, if it is from the cache."""
    return _decode_origin(data) if data else None


def decode_note(data: bytes | None) -> CacheNote | None:
    """Return what is known of an action's cache key."""
    return _decode_note(data) if data else None


def encode_outcome(outcome: Outcome | None) -> tuple[bytes | None, str | None]:
    """Return a run's outcome and its error line."""
    if outcome is None:
        return None, None
    return _encode(outcome), None if outcome.failure is None else error_line(outcome.failure)


def encode_run(row: RunRow) -> Columns:
    """Return the row in the order of ``RUN_COLUMNS``."""
    outcome, error = encode_outcome(row.outcome)
    return (
        row.name,
        row.spec.name,
        PHASE_NUMBERS[row.phase],
        row.owner,
        row.epoch,
        row.created,
        row.ended,
        row.parent,
        row.bundle.python,
        row.bundle.cwd,
        error,
        row.inputs_digest,
        row.inputs,
        _encode(row.spec),
        _encode(row.bundle),
        row.context,
        row.options,
        _encode(row.blobs) if row.blobs else None,
        outcome,
    )


def decode_run(columns: Columns) -> RunRow:
    """Return the row of ``key`` followed by ``RUN_COLUMNS``."""
    (key, name, _task, phase, owner, epoch, created, ended, parent, _python, _cwd, _error) = (
        columns[:12]
    )
    inputs_digest, inputs, spec, bundle, context, options, blobs, outcome = columns[12:]
    return RunRow(
        key=key,
        name=name,
        spec=_decode_spec(spec),
        inputs=inputs,
        inputs_digest=inputs_digest,
        blobs=decode_digests(blobs),
        bundle=_decode_bundle(bundle),
        context=context,
        options=options,
        created=created,
        ended=ended,
        phase=PHASES[phase],
        outcome=None if outcome is None else _decode_outcome(outcome),
        owner=owner,
        epoch=epoch,
        parent=parent,
    )


def is_plain(row: ActionRow) -> bool:
    """Whether ``PLAIN_COLUMNS`` say all of a new row."""
    outcome = row.outcome
    return (
        outcome is not None
        and outcome.failure is None
        and not (row.log or row.losses or row.blobs or row.group or outcome.blobs)
        and row.wake_at is None
        and row.cache is None
    )


def encode_plain(row: ActionRow, task: int) -> Columns:
    """Return the row in the order of ``PLAIN_COLUMNS``, ``task`` being its number in ``tasks``."""
    return (
        row.run,
        row.seq,
        row.id,
        row.parent,
        task,
        KIND_NUMBERS[row.kind],
        PHASE_NUMBERS[row.phase if row.origin is None else Phase.CACHED],
        row.created,
        row.started,
        row.ended,
        row.attempts,
        row.worker,
        row.inputs,
        None if row.outcome is None else row.outcome.value,
    )


def encode_action(row: ActionRow, task: int) -> Columns:
    """Return the row in the order of ``ACTION_COLUMNS``, ``task`` being its number in ``tasks``."""
    failure = error = value_blobs = None
    outcome = row.outcome
    if outcome is not None:
        if outcome.blobs:
            value_blobs = _encode(outcome.blobs)
        if outcome.failure is not None:
            failure = _encode(outcome.failure)
            error = error_line(outcome.failure)
    return (
        *encode_plain(row, task),
        row.losses,
        row.wake_at,
        row.group,
        error,
        _encode(row.log) if row.log else None,
        _encode(row.blobs) if row.blobs else None,
        value_blobs,
        failure,
        None if row.origin is None else _encode(row.origin),
        None if row.cache is None else _encode(row.cache),
    )


def decode_action(columns: Columns) -> ActionRow:
    """Return the row of ``ACTION_COLUMNS`` followed by the task's name and code."""
    (run, seq, id_, parent, _task, kind, phase, created, started, ended) = columns[:10]
    (attempts, worker, inputs, value, losses, wake_at, label, _error) = columns[10:18]
    log, blobs, value_blobs, failure, origin, note, name, code = columns[18:]
    outcome = None
    if value is not None or failure is not None:
        outcome = Outcome(
            value,
            None if failure is None else decode_failure(failure),
            decode_digests(value_blobs),
        )
    return ActionRow(
        run=run,
        seq=seq,
        fresh=False,
        id=id_,
        parent=parent,
        task=name,
        code=code,
        kind=KINDS[kind],
        phase=PHASES[phase] if origin is None else Phase.SUCCEEDED,
        inputs=inputs,
        outcome=outcome,
        created=created,
        started=started,
        ended=ended,
        attempts=attempts,
        losses=losses,
        worker=worker,
        log=decode_spans(log),
        group=label,
        wake_at=wake_at,
        blobs=decode_digests(blobs),
        origin=decode_origin(origin),
        cache=decode_note(note),
    )


def encode_attempt(row: AttemptRow) -> Columns:
    """Return the row in the order of ``ATTEMPT_COLUMNS``."""
    return (
        row.run,
        row.seq,
        row.number,
        row.started,
        row.ended,
        row.worker,
        error_line(row.failure),
        _encode(row.log) if row.log else None,
        _encode(row.failure),
    )


def encode_event(row: EventRow) -> Columns:
    """Return the row in the order of ``EVENT_COLUMNS``."""
    return (row.run, row.seq, row.at, row.kind, row.text)
