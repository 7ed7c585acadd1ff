"""What the core asks of its shell, besides the orders in the workers' outboxes."""

from dataclasses import dataclass, field

import msgspec

from perdure._core.errands import Errand
from perdure._core.model import Outcome
from perdure._core.queues import Entrant
from perdure._core.records import Row
from perdure._core.sharing import Ask
from perdure._core.state import Action, Attempt, Run
from perdure._core.workers import Worker


class Consult(msgspec.Struct, gc=False):
    """Is a value kept for the action, made at ``since`` or later?

    Attributes:
        action: The action; its inputs are known.
        number: Counts the questions of its run; names the claim to the key that it may get.
        since: Values made earlier do not count.
    """

    action: Action
    number: int
    since: float


@dataclass(slots=True)
class Effects:
    """Collected while commands are handled; the shell takes them after each batch.

    Attributes:
        rows: To be committed to the journal, in order.
        finished: Actions whose outcome is among the rows: to be reported as committed.
        lookups: Ids whose recorded state is wanted, per run.
        pages: Replaying attempts whose workers are to be told the next recorded children.
        errands: What steps ask of the artifacts; after the rows that they refer to.
        consults: Cached actions: is a value kept?
        asks: Queues: what may be used of them?
        audits: Replayed actions: were all recorded children called again?
        spawns: Workers to be placed.
        kills: Workers to be killed, with everything they started.
        limits: Workers whose memory is to be limited to their allowance, by number.
        told: Workers whose outbox is not empty, by number.
        ended: Runs whose root outcome is recorded.
        dormant: Runs that may be forgotten for a while, once the rows are written: see
            ``parking.py``.
        summoned: Places of such runs in queues: they are to be taken up now.
        warnings: What people should know at once.
    """

    rows: list[Row] = field(default_factory=list)
    finished: list[Action] = field(default_factory=list)
    lookups: dict[Run, list[bytes]] = field(default_factory=dict)
    pages: list[Attempt] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    consults: list[Consult] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    audits: list[Attempt] = field(default_factory=list)
    spawns: list[Worker] = field(default_factory=list)
    kills: list[Worker] = field(default_factory=list)
    limits: dict[int, Worker] = field(default_factory=dict)
    told: dict[int, Worker] = field(default_factory=dict)
    ended: list[tuple[Run, Outcome]] = field(default_factory=list)
    dormant: list[Run] = field(default_factory=list)
    summoned: list[Entrant] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
