"""Events: a run and each of its task actions are OpenLineage runs, their tasks are the jobs.

Each time a run is driven is an OpenLineage run of its own, as each try is in other orchestrators: a
run that was interrupted has ended, for whoever watches from outside, and its resumption begins
another one. Ids are derived, so that telling something twice tells nothing new.
"""

import datetime as dt
import os
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
)
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    parent_run,
    processing_engine_run,
    source_code_job,
)

from perdure._core.artifacts import ArtifactRow
from perdure._core.ids import digest
from perdure._core.model import Failure, Outcome, Phase
from perdure._core.records import RunRow
from perdure._openlineage import datasets
from perdure._openlineage.datasets import PRODUCER
from perdure._openlineage.sources import Sources
from perdure._ports import Blobs
from perdure._views.news import ActionNews

_STATES = {
    Phase.SUCCEEDED: RunState.COMPLETE,
    Phase.CACHED: RunState.COMPLETE,
    Phase.FAILED: RunState.FAIL,
    Phase.ABORTED: RunState.ABORT,
    Phase.INTERRUPTED: RunState.ABORT,
}


class Known(NamedTuple):
    """What an action did with artifacts.

    Attributes:
        got: Names and versions of those that it asked for.
        published: Those that it published.
    """

    got: Sequence[tuple[str, str]] = ()
    published: Sequence[ArtifactRow] = ()


class Events:
    """Makes the events of one run, as it is driven now.

    Args:
        row: The run.
        blobs: Where large values are.
    """

    def __init__(self, row: RunRow, blobs: Blobs) -> None:
        from importlib.metadata import version

        self._row = row
        self._blobs = blobs
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "perdure"
        self._sources = Sources(row.bundle, blobs)
        self._version = version("perdure")
        self._client_version = version("openlineage-python")

    # --- ids --------------------------------------------------------------------------------------

    def run_id(self, epoch: int | None = None) -> str:
        """Return the id of the run, driven for the ``epoch``-th time."""
        row = self._row
        text = f"{row.name}\0{row.created!r}\0{row.epoch if epoch is None else epoch}"
        return _uuid(text.encode())

    def action_id(self, action: bytes) -> str:
        """Return the id of an action; that of the root is the run's."""
        return _uuid(self.run_id().encode() + action)

    # --- the run ----------------------------------------------------------------------------------

    def started(self, at: float) -> RunEvent:
        """Return the event of the run's start."""
        return self._of_run(RunState.START, at, inputs=self._read(self._row.inputs, Known()))

    def lost(self, at: float) -> RunEvent:
        """Return the event that ends the run as it was driven before: its process died."""
        return self._of_run(RunState.ABORT, at, epoch=self._row.epoch - 1)

    def ended(self, phase: Phase, at: float, outcome: Outcome | None, known: Known) -> RunEvent:
        """Return the event of the run's end; without an outcome it was interrupted."""
        value, failure = (outcome.value, outcome.failure) if outcome else (None, None)
        return self._of_run(
            _STATES[phase],
            at,
            failure=failure,
            inputs=self._read(self._row.inputs, known),
            outputs=self._made(value, known),
        )

    def _of_run(
        self, state: RunState, at: float, *, epoch: int | None = None,
        failure: Failure | None = None, inputs: Any = (), outputs: Any = (),
    ) -> RunEvent:  # fmt: skip
        facets = self._run_facets(failure)
        run = Run(runId=self.run_id(epoch), facets=facets)
        return self._event(state, at, run, self._job(self._row.spec.name, "RUN"), inputs, outputs)

    # --- actions ----------------------------------------------------------------------------------

    def action_started(self, news: ActionNews, parent: ActionNews) -> RunEvent:
        """Return the event of an action's start."""
        run = self._run_of(news, parent, None)
        job = self._job(news.task, "TASK")
        at = news.started or news.created
        return self._event(RunState.START, at, run, job, self._read(news.inputs, Known()), ())

    def action_ended(self, news: ActionNews, parent: ActionNews, known: Known) -> RunEvent:
        """Return the event of an action's end."""
        run = self._run_of(news, parent, news.failure)
        inputs, outputs = self._read(news.inputs, known), self._made(news.value, known)
        job = self._job(news.task, "TASK")
        at = news.ended or news.created
        return self._event(_STATES[news.phase], at, run, job, inputs, outputs)

    def _run_of(self, news: ActionNews, parent: ActionNews, failure: Failure | None) -> Run:
        above = self.run_id() if parent.parent == 0 else self.action_id(parent.id)
        name = self._row.spec.name
        facet = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=above),
            job=parent_run.Job(namespace=self._namespace, name=parent.task),
            root=parent_run.Root(
                run=parent_run.RootRun(runId=self.run_id()),
                job=parent_run.RootJob(namespace=self._namespace, name=name),
            ),
        )
        facets = {"parent": facet, **self._run_facets(failure)}
        return Run(runId=self.action_id(news.id), facets=facets)

    # --- parts ------------------------------------------------------------------------------------

    def _event(
        self, state: RunState, at: float, run: Run, job: Job, inputs: Any, outputs: Any
    ) -> RunEvent:
        when = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="microseconds")
        return RunEvent(
            eventType=state, eventTime=when, run=run, job=job, producer=PRODUCER,
            inputs=list(inputs), outputs=list(outputs),
        )  # fmt: skip

    def _run_facets(self, failure: Failure | None) -> dict[str, Any]:
        engine = processing_engine_run.ProcessingEngineRunFacet(
            name="perdure", version=self._version, openlineageAdapterVersion=self._client_version,
            producer=PRODUCER,
        )  # fmt: skip
        if failure is None:
            return {"processing_engine": engine}
        error = error_message_run.ErrorMessageRunFacet(
            message=f"{failure.type}: {failure.message}", programmingLanguage="python",
            stackTrace=failure.traceback or None, producer=PRODUCER,
        )  # fmt: skip
        return {"processing_engine": engine, "errorMessage": error}

    def _job(self, task: str, kind: str) -> Job:
        facets: dict[str, Any] = {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType="BATCH", integration="PERDURE", jobType=kind, producer=PRODUCER
            )
        }
        if source := self._sources.of(task):
            facets["sourceCode"] = source_code_job.SourceCodeJobFacet(
                language="python", sourceCode=source, producer=PRODUCER
            )
        return Job(namespace=self._namespace, name=task, facets=facets)

    def _read(self, inputs: bytes, known: Known) -> list[Any]:
        """Return the input datasets: what was passed, got, and published without being made."""
        where = self._blobs, self._namespace, InputDataset
        found = datasets.of_value(inputs, *where)
        found += [
            datasets.of_artifact(name, version, self._namespace, InputDataset, {})
            for name, version in known.got
        ]
        for row in known.published:
            found += datasets.of_content(row, *where)
        return _once(found)

    def _made(self, value: bytes | None, known: Known) -> list[Any]:
        """Return the output datasets: what was returned, and what was published."""
        where = self._blobs, self._namespace, OutputDataset
        found = datasets.of_value(value or b"", *where)
        return _once(found + [datasets.of_row(row, *where) for row in known.published])


def _once(found: list[Any]) -> list[Any]:
    return [*{each.name: each for each in found}.values()]


def _uuid(content: bytes) -> str:
    return str(uuid.UUID(bytes=digest(b"openlineage\0" + content), version=5))
