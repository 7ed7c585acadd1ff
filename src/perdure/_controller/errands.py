"""Steps that the controller does itself: publishing and finding artifacts.

Both are done on the scribe's thread, after the rows of the actions that ask for them. What is
published is durable before the step that did it is recorded; if a crash comes in between, the
replayed step publishes nothing new but finds what it had published.
"""

import time

import msgspec

from perdure._core.artifacts import Publication, not_found
from perdure._core.errands import Errand
from perdure._core.model import Failure, Outcome
from perdure._ports import Journal
from perdure.errors import ArtifactError

_PLAIN = b"\0"  # a value of plain data, as :mod:`perdure._serde` encodes it
_pack = msgspec.msgpack.Encoder().encode


def run_errand(journal: Journal, errand: Errand) -> Outcome:
    """Do what an errand asks for, and return the outcome of its step."""
    request = errand.request
    try:
        if isinstance(request, Publication):
            row = journal.publish(request, errand.publisher, time.time())
            return Outcome(_PLAIN + _pack(row))
        found = journal.find_artifact(request)
        if found is None:
            raise not_found(request)
    except ArtifactError as error:
        return Outcome(failure=_failure(error))
    return Outcome(_PLAIN + _pack(found), None, found.blobs)


def _failure(error: ArtifactError) -> Failure:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return Failure(name, error.message, code=kind.code, retryable=False)
