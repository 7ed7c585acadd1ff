"""Errands: steps that the controller does for an attempt, because they need the journal."""

import msgspec

from perdure._core.artifacts import Publication, Publisher, Request
from perdure._core.model import Outcome
from perdure._core.records import ActionRow


class Errand(msgspec.Struct, frozen=True, gc=False):
    """A step to be done by the controller, and recorded like one that ran in the worker.

    Attributes:
        parent: Handle of the attempt.
        step: Id of the step.
        name: Name of the step.
        inputs: Encoded inputs.
        group: Display group, or "".
        request: What to do.
        publisher: Whose step it is.
        started: Wall-clock seconds.
    """

    parent: int
    step: bytes
    name: str
    inputs: bytes
    group: str
    request: Request
    publisher: Publisher
    started: float

    def record(self, outcome: Outcome, ended: float) -> ActionRow:
        """Return what is to be recorded of the step.

        The blobs of an artifact are what the step has read, also where it has found the artifact:
        somebody else has made them.
        """
        request = self.request
        return ActionRow(
            run=0,
            seq=0,
            id=self.step,
            parent=0,
            task=self.name,
            created=self.started,
            kind="trace",
            inputs=self.inputs,
            blobs=request.blobs if isinstance(request, Publication) else outcome.blobs,
            outcome=Outcome(outcome.value, outcome.failure),
            started=self.started,
            ended=ended,
            group=self.group,
        )
