"""The handle of a run: its phase, its result, its actions, its logs."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from perdure import _absent
from perdure._core.ids import root_id
from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.client import link, unseen
from perdure.client.twofold import Twofold, twofold
from perdure.errors import (
    NotSupportedError,
    PerdureError,
    RemoteError,
    RunAbortedError,
    RunError,
    RunInterruptedError,
)

if TYPE_CHECKING:
    from perdure._core.model import Failure
    from perdure._views.model import ActionSummary
    from perdure.client.signalling import OpenCondition
    from perdure.client.why import Why


class Run:
    """One execution of a root task. Handles are cheap, and any process may hold one.

    Blocking methods have an awaitable form: ``await run.result.aio()``.

    Attributes:
        name: Unique name, under which any process of the same home finds the run again.
    """

    __slots__ = ("name",)

    get: "ClassVar[Twofold[[str], Run]]"
    """What Flyte 2 calls :func:`perdure.get_run`."""

    listall: "ClassVar[Twofold[..., Iterator[Run]]]"
    """What Flyte 2 calls :func:`perdure.runs`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def url(self) -> str | None:
        """Address of the run's page; ``None``, as embedded runs have no server."""
        return None

    @property
    def phase(self) -> Phase:
        """Where the run stands now; ``interrupted`` if nobody drives it to its end."""
        unseen.looked_at(self.name)
        return link.get(self.name).phase

    def done(self) -> bool:
        """Return whether the run has ended or was interrupted: :meth:`wait` would not wait."""
        return _is_over(link.get(self.name))

    def sync(self) -> "Run":
        """Return the run itself: what it tells is never old, as it may be in Flyte 2."""
        return self

    @twofold
    def wait(
        self, timeout: float | object = None, *, quiet: bool = False, wait_for: str = "terminal"
    ) -> Phase:
        """Wait until the run has ended or was interrupted, and return its phase.

        If it has failed, and nothing else is asked of it, that is told as the program ends.

        Args:
            timeout: Seconds to wait at most. What is no number is no limit: in Flyte 2 ``quiet``
                comes first, and ``run.wait(run)`` is in many scripts.
            quiet: Nothing is told.
            wait_for: For the end, ``"terminal"``; nothing else is supported.

        Raises:
            TimeoutError: The run goes on, but the time is over.
            NotSupportedError: It is to be waited for something else.
        """
        if wait_for != "terminal":
            raise NotSupportedError(f"Run.wait(wait_for={wait_for!r}) is not supported")
        is_limit = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        row = self._ended(float(timeout) if is_limit else None)  # type: ignore[arg-type]
        if not (quiet or timeout is True):
            unseen.waited_for(row)
        return row.phase

    @twofold
    def result(self, timeout: float | None = None) -> Any:
        """Wait for the run to end; return what its task returned or raise what it raised.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: The run goes on, but the time is over.
            RunAbortedError: The run was aborted.
            RunInterruptedError: The run was stopped before its end; it can be resumed.
        """
        return self._value(self._ended(timeout))

    @twofold
    def raise_for_status(self) -> None:
        """Raise what :meth:`result` raises, if the run has not succeeded; it has to be over.

        Raises:
            RunError: The run goes on.
            Exception: What its task raised.
            RunAbortedError: The run was aborted.
            RunInterruptedError: The run was stopped before its end; it can be resumed.
        """
        row = link.get(self.name)
        if not _is_over(row):
            raise RunError(
                "the run has not ended",
                hint="run.wait() before run.raise_for_status()",
                run=self.name,
            )
        self._check(row)

    @twofold
    def outputs(self) -> tuple[Any, ...]:
        """Wait for the run to end; return the result as a tuple: ``()`` for None, a tuple as it is.

        Raises:
            Exception: What :meth:`result` raises.
        """
        value = self._value(self._ended(None))
        if value is None:
            return ()
        return value if isinstance(value, tuple) else (value,)

    @twofold
    def inputs(self) -> dict[str, Any]:
        """Return the inputs of the root task by parameter name, defaults included."""
        from perdure import _serde

        inputs: dict[str, Any] = _serde.loads(link.get(self.name).inputs, link.blobs())
        return inputs

    @twofold
    def actions(
        self, *, task: str | None = None, phase: str | None = None
    ) -> "list[ActionSummary]":
        """Return the recorded actions of the run, in the order of first recording.

        Args:
            task: Only actions of this task.
            phase: Only actions in this phase.
        """
        unseen.looked_at(self.name)
        found = link.actions(link.get(self.name))
        return [each for each in found if task in (None, each.task) and phase in (None, each.phase)]

    def logs(self, action: str | None = None, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines that actions of the run wrote to stdout and stderr.

        Args:
            action: Only this action, by its id or the beginning of it.
            follow: Go on with new lines until the run ends.
        """
        from perdure.client.output import lines

        return (line.text for line in lines(self.name, action, follow=follow))

    @twofold
    def report(self, action: str | None = None) -> Path | None:
        """Return the file of a report, None if there is none.

        Args:
            action: Of this action, by its number, its id or the beginning of it; otherwise the
                root's, or the first there is.
        """
        from perdure.client import reports

        row = link.get(self.name)
        if action is not None:
            return reports.of_action(row, link.action(row, action).summary)
        found = reports.of_run(row)
        return found[0].path if found else None

    @twofold
    def conditions(self) -> "list[OpenCondition]":
        """Return the conditions that wait for an answer, those first that were asked first."""
        from perdure.client.signalling import open_conditions

        return open_conditions(link.get(self.name))

    @twofold
    def signal(self, condition: str, value: Any = None, *, fail: str | None = None) -> None:
        """Answer a condition, whichever process drives the run; also while none does.

        Args:
            condition: Its name; of several that are called so, the oldest is answered. Or the
                number or id of its action.
            value: The answer, which has to fit the condition's ``data_type``.
            fail: Answer with an error instead: the condition raises ``ConditionFailedError`` with
                this message.

        Raises:
            TypeCheckError: The value does not fit.
            ConditionNotFoundError: No such condition waits for an answer.
            ConditionAnsweredError: It has been answered already: the first answer counts.
        """
        from perdure.client import signalling

        if fail is None:
            signalling.answer(self.name, condition, lambda _: value)
        else:
            signalling.fail(self.name, condition, fail)

    @twofold
    def why(self, action: str | None = None) -> "Why":
        """Return what keeps the run from ending; ``print`` says it as ``perdure why`` does.

        Args:
            action: Of this action, by its number, its id or the beginning of it.

        Raises:
            ActionNotFoundError: The run has no such action, or several.
        """
        from perdure.client.why import why

        unseen.looked_at(self.name)
        return why(self.name, action)

    @twofold
    def abort(self, reason: str | None = None) -> None:
        """Stop the run for good, and everything below it, whichever process drives it.

        Args:
            reason: Flyte 2 has it; here none is kept.

        Raises:
            NotSupportedError: A reason is given.
        """
        if reason is not None:
            raise NotSupportedError("Run.abort(reason=...) is not supported", hint="leave it out")
        link.get(self.name)
        link.runtime().abort(self.name)

    def __repr__(self) -> str:
        unseen.looked_at(self.name)
        row = link.find(self.name)
        if row is None:
            return f"<Run {self.name!r}, unknown here>"
        return f"<Run {self.name!r} of {row.spec.name}: {row.phase.value}>"

    def __getattr__(self, name: str) -> NoReturn:
        _absent.refuse_of_run(name, self)

    def _ended(self, timeout: float | None) -> RunRow:
        row = link.get(self.name)
        if _is_over(row) and link.running() is None:  # a runtime may be about to go on with the run
            return row
        if link.runtime().wait(self.name, timeout) is None:
            raise TimeoutError(
                f"run {self.name!r} is still {row.phase.value}; it goes on, and "
                f"perdure.get_run({self.name!r}) finds it again"
            )
        return link.get(self.name)

    def _check(self, row: RunRow) -> None:
        """Raise what the run has ended with, if it has not succeeded."""
        unseen.looked_at(self.name)
        if row.phase is Phase.INTERRUPTED:
            raise RunInterruptedError(
                "the run was stopped before its end; what it finished is kept",
                hint=f"go on with perdure.resume({self.name!r}), or: perdure resume {self.name}",
                run=self.name,
            )
        if row.phase is Phase.ABORTED:
            raise RunAbortedError(
                "the run was aborted",
                hint=f"perdure.resume({self.name!r}) goes on with it after all",
                run=self.name,
            )
        assert row.outcome is not None  # the phase is final
        if row.outcome.failure is not None:
            error = _original(row, row.outcome.failure)
            if not isinstance(error, Exception):
                raise _harmless(row, error) from error
            raise error

    def _value(self, row: RunRow) -> Any:
        from perdure import _serde

        self._check(row)
        assert row.outcome is not None  # it has succeeded
        try:
            return _serde.loads(row.outcome.value or b"", link.blobs())
        except PerdureError as error:  # of a blob that is damaged: whose it is, it cannot know
            error.locate(run=row.name, action=root_id(row.name).hex(), task=row.spec.name)
            raise


def get_run(name: str) -> Run:
    """Return the handle of an existing run.

    Raises:
        RunNotFoundError: There is no such run.
    """
    return Run(link.get(name).name)


def _listall(
    in_phase: Sequence[str] | None = None,
    task_name: str | None = None,
    *,
    limit: int = 100,
    **flyte_options: Any,
) -> Iterator[Run]:
    """Yield runs, newest first; :func:`perdure.runs` gives a list.

    Args:
        in_phase: Only runs in one of these phases.
        task_name: Only runs of this root task, by full name.
        limit: At most so many.
        **flyte_options: Flyte 2's other options are refused by name.
    """
    from perdure.client.running import checked_phase

    for option, value in flyte_options.items():
        if value is not None:
            raise NotSupportedError(f"Run.listall({option}=...) is not supported")
    phases = None if in_phase is None else {checked_phase(each) for each in in_phase}
    found = link.listed(None, task_name)
    fitting = (each for each in found if phases is None or each.phase in phases)
    return (Run(each.name) for each in islice(fitting, limit))


Run.get = Twofold(get_run)
Run.listall = Twofold(_listall)


def _is_over(row: RunRow) -> bool:
    """Whether it has ended; the journal still has the last end of one that is about to go on."""
    runtime = link.running()
    if runtime is not None and runtime.controller.ends.is_awaited(row.name):
        return False
    return row.phase.final or row.phase is Phase.INTERRUPTED


def _original(row: RunRow, failure: "Failure") -> BaseException:
    from perdure import _serde

    error = _serde.load_error(
        failure, link.blobs(), run=row.name, action=root_id(row.name).hex(), task=row.spec.name
    )
    if row.ended is not None and row.ended < _BORN:
        error.add_note(
            f"run {row.name!r} failed before this process began; "
            f"perdure.resume({row.name!r}) tries what failed again"
        )
    return error


def _harmless(row: RunRow, error: BaseException) -> RemoteError:
    """Return what to raise for a SystemExit or the like: it ended the task, not this program."""
    kind = type(error).__name__
    shown = f"{kind}({error})" if str(error) else kind
    instead = RemoteError(
        f"the task ended with {shown}",
        hint="return a value or raise an Exception: this one would end the program that waits",
        run=row.name,
        action=root_id(row.name).hex(),
        task=row.spec.name,
    )
    instead.type_name = f"{type(error).__module__}.{kind}"
    return instead


_BORN = time.time()
