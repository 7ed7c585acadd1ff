"""The controller: handles commands in batches and carries out what the core decides.

A batch is everything that arrived in one turn of the loop. After it the core places work, and its
effects are carried out once: one frame per worker, one hand-over to the scribe.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from perdure._controller.consulting import Consulting
from perdure._controller.crew import Crew
from perdure._controller.dormancy import Dormant, Dormitory
from perdure._controller.driven import Driven, at_end, lost, of_run, options, take_lease
from perdure._controller.ends import Ends
from perdure._controller.errands import run_errand
from perdure._controller.inquiries import look_up, missing_children, next_page
from perdure._controller.presence import Presence, is_alive
from perdure._controller.queueing import Queueing
from perdure._controller.scribe import Result, Scribe
from perdure._controller.session import Session
from perdure._core.effects import Consult, Effects
from perdure._core.errands import Errand
from perdure._core.failures import divergence
from perdure._core.ids import root_id
from perdure._core.machine import Machine
from perdure._core.model import Capacity, Outcome, Phase
from perdure._core.queues import Entrant
from perdure._core.records import ActionRow, Page, RunEnd, RunRow
from perdure._core.state import Action, Attempt, Run
from perdure._ports import Engine, Journal, Values
from perdure._wire.lingering import LoopConversation
from perdure._wire.messages import Event
from perdure.config import Config
from perdure.errors import LeaseLostError, RunNotFoundError, StorageError

FLUSH_SECONDS = 0.2
"""How often unfinished actions are written for people to see."""

UPKEEP_SECONDS = 1.0


class Controller:
    """Owns runs: takes calls, schedules, journals, delivers.

    Args:
        config: Settings.
        journal: Where runs are recorded.
        values: Knows about encoded values, for the cache.
        engine: Where workers are placed.
        capacity: What there is for them.
        warn: Tells the user something at once.
        echo: Shows the user what tasks print; None keeps it in the logs only.
    """

    def __init__(
        self,
        config: Config,
        journal: Journal,
        values: Values,
        engine: Engine,
        capacity: Capacity,
        warn: Callable[[str], None],
        echo: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.journal = journal
        self._values = values
        self.engine = engine
        self.warn = warn
        self.presence = Presence(config.controllers)
        self.token = self.presence.contact.token
        self.machine = Machine(
            capacity,
            first_worker=time.time_ns() // 1_000_000 << 12,
            grace=config.grace,
        )
        self.machine.parking.after = config.park_after
        self.crew = Crew(self, echo)
        self.runs: dict[int, Driven] = {}
        self.ends = Ends()
        self.dormitory = Dormitory(self)
        self._settling = False
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = math.inf
        self._flushing = False
        self.starting = asyncio.Lock()
        self._finishing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, and get the engine ready."""
        self._loop = asyncio.get_running_loop()
        self._conversation = LoopConversation(self._loop)
        self.scribe = Scribe(self.journal, self._loop, self._committed, self._cannot_write)
        self._consulting = Consulting(self.journal, self._values, self.scribe, self._is_alive)
        self._queueing = Queueing(self)
        address = self.presence.contact.address
        self._server = await self._loop.create_unix_server(lambda: Session(self), address)
        await self.crew.start(address, self.token)
        self._loop.call_later(UPKEEP_SECONDS, self._upkeep)

    async def stop(self) -> None:
        """End all work; runs that are not finished become resumable."""
        self._stopping = True
        await self.dormitory.stop()
        for driven in list(self.runs.values()):
            await self._leave(driven)
        await asyncio.gather(*self._finishing)
        self.settle()
        await self.crew.stop()
        await self._queueing.leave()
        self._server.close()
        self.scribe.close()
        self.presence.close()

    # --- runs -------------------------------------------------------------------------------------

    async def submit(self, row: RunRow) -> None:
        """Create a run and drive it; ``ends`` tell of its end.

        Raises:
            RunConflictError: The name exists.
            QueueFullError: As many runs wait for its queue as may.
        """
        async with self.starting:
            await self._queueing.refuse_if_full(options(row).queue, row.name)
            await self._drive(row)

    async def drive(self, name: str, *, strict: bool = False, mixed: bool = False) -> None:
        """Go on with a run of the journal, whose code may have changed (``mixed``).

        Raises:
            RunNotFoundError: There is none of that name.
            RunInUseError: A live controller drives it.
        """
        async with self.starting:
            row = await self.scribe.call(self.journal.load_run, name)
            if row is None:
                raise RunNotFoundError(f"there is no run {name!r} in {self.config.home}")
            driven = self.runs.get(row.key)
            if self.ends.is_awaited(name):
                return
            if driven is not None and driven.finishing is not None:
                await driven.finishing
            await self._drive(row, strict=strict, mixed=mixed)

    async def take_up(self, row: RunRow, dormant: Dormant) -> None:
        """Go on with a run that was dormant."""
        place = dormant.entrant
        await self._drive(row, strict=dormant.strict, mixed=dormant.mixed, place=place)

    async def _drive(
        self,
        row: RunRow,
        *,
        strict: bool = False,
        mixed: bool = False,
        place: Entrant | None = None,
    ) -> None:
        given = options(row)
        root, recover = root_id(row.name), 0
        if given.recover_from:
            root, recover = await self._origin(given.recover_from)
        lease = self.scribe.call(take_lease, self.journal, row, self.presence.name, self._is_alive)
        epoch, last_seq = await lease
        run = Run(
            key=row.key,
            name=row.name,
            epoch=epoch,
            bundle=self.crew.bundle_number(row),
            context=row.context,
            created=row.created,
            recover=recover,
            force=given.force,
            strict=strict or given.strict,
            env_vars=given.env_vars,
            cache=given.cache,
            mixed=mixed or given.mixed,
            priority=given.priority,
            queue=self.machine.scheduler.queues.get(given.queue),
            next_seq=last_seq + 1,
        )
        self.ends.expect(row.name)
        self.runs[row.key] = Driven(run, row)
        with self.batch():
            if place is not None:
                place.queue.arrive(run, place)
            is_queued = run.queue is not None and not run.admitted
            now, phase = self.machine.now, Phase.QUEUED if is_queued else Phase.RUNNING
            self.machine.effects.rows.append(RunEnd(run=row.key, phase=phase, at=now))
            self.machine.start_run(run, row.spec, root, row.inputs, row.blobs)

    async def _origin(self, name: str) -> tuple[bytes, int]:
        """Return the root id that a rerun shares with the run it began with, and that run's key."""
        row = await self.scribe.call(self.journal.load_run, name)
        if row is None:
            raise RunNotFoundError(f"there is no run {name!r} to recover from")
        before = options(row).recover_from
        root = (await self._origin(before))[0] if before else root_id(name)
        return root, row.key

    def ask(self, question: Callable[..., Result], *args: Any) -> "asyncio.Future[Result]":
        """Ask the journal, after what was written before."""
        return self.scribe.call(question, *args)

    def abort(self, name: str, action: bytes | None) -> tuple[bool, str]:
        """Stop a run of this controller, or one of its actions; tell whether that was possible."""
        for driven in self.runs.values():
            if driven.row.name != name:
                continue
            with self.batch():
                if self.machine.abort(driven.run, action, "aborted by request"):
                    return True, "aborted"
            return False, "it has finished already"
        if (dormant := self.dormitory.find(name)) is not None:
            if dormant.entrant is not None and action not in (None, dormant.root):
                return False, "it has finished already"  # nothing else has begun
            self.in_background(self.dormitory.abort(dormant, action, "aborted by request"))
            return True, "aborted"
        return False, f"run {name} is not driven by this process"

    async def _leave(self, driven: Driven) -> None:
        """Stop driving a run; one that has no outcome can be resumed by others."""
        run = driven.run
        self.settle()
        decided = run.outcome
        self.runs.pop(run.key, None)
        self.machine.drop_run(run.key)
        if decided is None:
            end = RunEnd(run=run.key, phase=Phase.INTERRUPTED, at=time.time())
            self.scribe.commit([end], [], {run.key: run.epoch})
        with contextlib.suppress(StorageError):  # the lease ends with this process in any case
            await self.scribe.call(self.journal.release, run.key, run.epoch)
        self.ends.tell(at_end(driven, decided))

    def _is_alive(self, owner: str) -> bool:
        return is_alive(self.config.controllers, owner)

    # --- batches ----------------------------------------------------------------------------------

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commands given inside are one batch: the clock is read before, effects come soon."""
        self.machine.advance(time.time())
        try:
            yield
        finally:
            if not self._settling:
                self._settling = True
                self._loop.call_soon(self.settle)

    def begin(self) -> None:
        """Read the clock before commands that :meth:`settle` follows at once."""
        self.machine.advance(time.time())
        self._settling = True

    def settle(self) -> None:
        """Place work and carry the effects of all commands so far out."""
        self._settling = True
        effects = self.machine.effects
        go_on = True
        try:
            while go_on:
                self.machine.place()
                self.crew.carry_out(effects)
                go_on = self._write(effects)
                self._ask(effects)
                over, effects.ended = effects.ended, []
                for run, outcome in over:
                    self._run_ended(run, outcome)
            if effects.dormant:
                dormant, effects.dormant = effects.dormant, []
                self.dormitory.admit(dormant)
            if effects.summoned:
                summoned, effects.summoned = effects.summoned, []
                self.dormitory.summon(summoned)
        finally:
            self._settling = False  # or no batch would ever be settled again
        self._set_timer()

    def linger(self) -> None:
        """A single message was dealt with: if little else goes on, the next is worth awaiting."""
        if self.machine.scheduler.computing() <= 1:
            self._conversation.linger()

    def _write(self, effects: Effects) -> bool:
        """Have the rows committed; return whether they are already, and there is more to do."""
        if not self._flushing and any(d.run.dirty or d.run.backlog for d in self.runs.values()):
            self._flushing = True
            self._loop.call_later(FLUSH_SECONDS, self._flush)
        if not effects.rows:
            return False
        rows, effects.rows = effects.rows, []
        finished, effects.finished = effects.finished, []
        rows = [row for row in rows if row.run in self.runs]
        epochs = {key: self.runs[key].run.epoch for key in {row.run for row in rows}}
        if self.scribe.idle and not self.machine.scheduler.computing():
            # Nobody is kept waiting by a commit here, and two changes of threads are saved.
            self.scribe.commit_here(rows, finished, epochs)
            return True
        self.scribe.commit(rows, finished, epochs)
        return False

    def _ask(self, effects: Effects) -> None:
        for run, ids in effects.lookups.items():
            found = self.scribe.call(look_up, self.journal, run, ids)
            found.add_done_callback(partial(self._found, run, ids))
        effects.lookups.clear()
        for attempt in effects.pages:
            page = self.scribe.call(next_page, self.journal, attempt)
            page.add_done_callback(partial(self._read, attempt))
        effects.pages.clear()
        for errand in effects.errands:
            outcome = self.scribe.call(run_errand, self.journal, errand)
            outcome.add_done_callback(partial(self._errand_done, errand))
        effects.errands.clear()
        if effects.consults:
            consults, effects.consults = effects.consults, []
            self.in_background(self._consult(consults))
        self._queueing.share(effects)
        for attempt in effects.audits:
            missing = self.scribe.call(missing_children, self.journal, attempt)
            missing.add_done_callback(partial(self._audited, attempt))
        effects.audits.clear()

    def _flush(self) -> None:
        self._flushing = False
        with self.batch():
            self.machine.flush()

    def _upkeep(self) -> None:
        with self.batch():
            self.machine.scheduler.let_go(self.machine.now)
            self.machine.parking.look()
        self.dormitory.look()
        self._loop.call_later(UPKEEP_SECONDS, self._upkeep)

    def _set_timer(self) -> None:
        due = self.machine.timers.next_due()
        if due is None or due >= self._wake_at:
            return  # a tick that comes too early does no harm
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = due
        self._timer = self._loop.call_later(max(0.0, due - time.time()), self._tick)

    def _tick(self) -> None:
        self._timer, self._wake_at = None, math.inf
        with self.batch():
            pass

    # --- what the journal says --------------------------------------------------------------------

    def _found(
        self, run: Run, ids: list[bytes], answer: "asyncio.Future[dict[bytes, ActionRow]]"
    ) -> None:
        if self.is_bad(answer):
            return
        with self.batch():
            self.machine.looked_up(run, ids, answer.result())

    def _read(self, attempt: Attempt, answer: "asyncio.Future[Page]") -> None:
        if self.is_bad(answer):
            return
        with self.batch():
            self.machine.read(attempt, answer.result())

    async def _consult(self, asked: list[Consult]) -> None:
        try:
            replies = await self._consulting.find(asked)
        except Exception as error:
            self._cannot_write(error)
            return
        with self.batch():
            for r in replies:
                self.machine.caching.consulted(
                    r.asked, r.inputs, r.key, r.answer, damaged=r.damaged
                )

    def _audited(self, attempt: Attempt, answer: "asyncio.Future[list[str]]") -> None:
        if self.is_bad(answer):
            return
        missing = answer.result()
        if missing:
            action = attempt.action
            self.warn(f"{divergence(missing)}\n  [run {action.run.name}, task {action.name}]")
        with self.batch():
            self.machine.audited(attempt, missing)

    def _errand_done(self, errand: Errand, answer: "asyncio.Future[Outcome]") -> None:
        if isinstance(answer.exception(), LeaseLostError):
            return  # the next commit will tell
        if self.is_bad(answer):
            return
        with self.batch():
            self.machine.record(errand.parent, errand.record(answer.result(), self.machine.now))

    def _committed(self, finished: list[Action], stale: frozenset[int]) -> None:
        for key in stale:
            self._lost_lease(key)
        self.machine.advance(time.time())
        self.machine.committed(finished)
        if not self._settling:
            self.settle()

    def _lost_lease(self, key: int) -> None:
        driven = self.runs.pop(key, None)
        if self.dormitory.lost(key) or driven is None:
            return
        self.machine.drop_run(key)
        self.ends.fail(driven.row.name, lost(driven.row.name))

    def is_bad(self, answer: "asyncio.Future[Any]") -> bool:
        """Whether the journal could not answer; then nothing can be recorded, either."""
        error = answer.exception()
        if error is not None:
            self._cannot_write(error)
        return error is not None

    def _cannot_write(self, error: BaseException) -> None:
        """Nothing can be recorded: stop driving; what is recorded stays good."""
        for key, driven in list(self.runs.items()):
            del self.runs[key]
            self.machine.drop_run(key)
            self.ends.fail(driven.row.name, of_run(error, driven.row.name))
            self.in_background(self._release(driven.run))
        self.dormitory.fail(error)
        with self.batch():
            self.machine.effects.rows.clear()
            self.machine.effects.finished.clear()
        self.scribe.mend()

    def _run_ended(self, run: Run, outcome: Outcome) -> None:
        driven = self.runs.get(run.key)
        if driven is None or driven.finishing is not None:
            return
        self.crew.look()  # what tasks printed comes before what follows the run
        self.ends.tell(at_end(driven, outcome))
        driven.finishing = self.in_background(self._finish(run))

    def in_background(self, work: "Coroutine[Any, Any, None]") -> "asyncio.Task[None]":
        """Start what :meth:`stop` waits for."""
        task = self._loop.create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    async def _finish(self, run: Run) -> None:
        """Let go of a run that has its outcome; what was cancelled below it is still written."""
        while run.actions:
            await asyncio.sleep(FLUSH_SECONDS / 4)
        if self.runs.pop(run.key, None) is not None:
            self.machine.runs.pop(run.key, None)
            await self._release(run)

    async def _release(self, run: Run) -> None:
        """Give the lease back; while that cannot be written, try again: nobody drives the run."""
        while True:
            try:
                await self.scribe.call(self.journal.release, run.key, run.epoch)
            except StorageError:
                if not self._stopping:  # otherwise it ends with this process, now
                    await asyncio.sleep(FLUSH_SECONDS)
                    continue
            return

    # --- peers ------------------------------------------------------------------------------------

    def peer_failed(self, session: Session, error: Exception) -> None:
        """A peer did not speak the protocol, or had no token."""
        number = session.worker.number if session.worker else None
        who = "a peer" if number is None else f"worker {number:x}"
        self.warn(f"{who} was disconnected: {error}")

    def event(self, event: Event) -> None:
        """An attempt has something to tell the user."""
        attempt = self.machine.scheduler.attempts.get(event.attempt)
        if attempt is not None and event.kind == "warning":
            action = attempt.action
            self.warn(f"{event.text} [run {action.run.name}, task {action.name}]")
