"""Numbers that stand for phases and kinds in the database.

Never change or reuse one: journals outlive releases.
"""

from perdure._core.model import FINAL_PHASES, Phase

PHASE_NUMBERS = {
    Phase.WAITING: 1,
    Phase.QUEUED: 2,
    Phase.RUNNING: 3,
    Phase.RETRYING: 4,
    Phase.SUCCEEDED: 5,
    Phase.FAILED: 6,
    Phase.ABORTED: 7,
    Phase.INTERRUPTED: 8,
    Phase.CACHED: 9,
}
RUIN = 0
"""Not a phase: what is left of a run that is being removed; see ``perdure._housekeeping``."""

PHASES = {number: phase for phase, number in PHASE_NUMBERS.items()}
FINAL_NUMBERS = tuple(sorted(PHASE_NUMBERS[phase] for phase in FINAL_PHASES))

KIND_NUMBERS = {"task": 0, "trace": 1, "sleep": 2, "value": 3, "condition": 4}
KINDS = {number: kind for kind, number in KIND_NUMBERS.items()}
