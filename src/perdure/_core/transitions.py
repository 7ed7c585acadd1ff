"""The life of an action, as a table.

::

                    ┌──────────────────────────── recorded outcome found ─────────────┐
                    │                                                                 ▼
    RECALLING ──► WAITING ──► QUEUED ──► RUNNING ──► AUDITING ──► COMMITTING ──► COMMITTED
        ▲           │  │        ▲ ▲ │        │  ▲          │             ▲
      called        │  │   miss │ │ │ lost   │  │          └─────────────┤
                    │  ▼        │ └─┼────────┤  │                        │
                    │ CONSULTING┴───┼────────┼──┼── cached value found ──┤
                    │               └────────┼──┼── cancelled, expired ──┤
                    │                        ▼  │                        │
                    └──────────────────► RETRYING ───────────────────────┘

    RUNNING ──► PARKED ──► QUEUED, RETRYING, COMMITTING

A stage says what the controller waits for; :func:`phase` is what people are shown. Every move that
the table does not list is a bug, and raises with the action's story.
"""

from enum import IntEnum

from perdure._core.model import Phase


class Stage(IntEnum):
    """What the controller waits for before an action can move on."""

    RECALLING = 0  # the journal's answer: is an outcome recorded?
    WAITING = 1  # the outcomes of the futures in its inputs, or something outside
    QUEUED = 2  # a worker
    RUNNING = 3  # the attempt's end
    RETRYING = 4  # the end of a backoff
    AUDITING = 5  # the journal's answer: did the replay call every recorded child?
    COMMITTING = 6  # the outcome's commit; it is decided but nobody has seen it
    COMMITTED = 7  # nothing: the outcome is recorded
    CONSULTING = 8  # the journal's answer: is there a cached value, or somebody who makes it?
    PARKED = 9  # the outcome of something that it has called; until then no worker has it


S = Stage
MOVES: dict[Stage, frozenset[Stage]] = {
    S.RECALLING: frozenset({S.WAITING, S.QUEUED, S.COMMITTING, S.COMMITTED}),
    S.WAITING: frozenset({S.CONSULTING, S.QUEUED, S.COMMITTING}),
    S.CONSULTING: frozenset({S.QUEUED, S.COMMITTING}),
    S.QUEUED: frozenset({S.RUNNING, S.COMMITTING}),
    S.RUNNING: frozenset({S.QUEUED, S.RETRYING, S.AUDITING, S.COMMITTING, S.PARKED}),
    S.PARKED: frozenset({S.QUEUED, S.RETRYING, S.COMMITTING}),
    S.RETRYING: frozenset({S.QUEUED, S.COMMITTING}),
    S.AUDITING: frozenset({S.COMMITTING}),
    S.COMMITTING: frozenset({S.COMMITTED}),
    S.COMMITTED: frozenset(),
}

PHASES: dict[Stage, Phase] = {
    S.RECALLING: Phase.WAITING,
    S.WAITING: Phase.WAITING,
    S.CONSULTING: Phase.WAITING,
    S.PARKED: Phase.WAITING,
    S.QUEUED: Phase.QUEUED,
    S.RUNNING: Phase.RUNNING,
    S.RETRYING: Phase.RETRYING,
    S.AUDITING: Phase.RUNNING,
    S.COMMITTING: Phase.RUNNING,
}
"""What people are shown while an action has no recorded outcome."""


class IllegalMoveError(AssertionError):
    """An action was about to make a move the table does not list: a bug in the controller."""
