"""Who refers to blobs: every place in the journal from which a blob is reached.

A blob that is reached from nowhere is collected. Whoever gives the journal a column that holds
digests of blobs adds it here; a test compares this list with the schema.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from perdure._core.model import Bundle, Outcome, TaskSpec
from perdure._journal.rows import decode_digests, decode_failure, decode_note

Digests = Iterable[bytes]

_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
_decode_spec = msgspec.msgpack.Decoder(TaskSpec).decode
_decode_outcome = msgspec.msgpack.Decoder(Outcome).decode


def _of_bundle(data: bytes) -> Digests:
    if not data:
        return ()
    bundle = _decode_bundle(data)
    code = [file.blob for file in bundle.files]
    return [*code, bundle.environment] if bundle.environment else code


def _of_failure(data: bytes) -> Digests:
    return decode_failure(data).blobs


def _of_outcome(data: bytes) -> Digests:
    outcome = _decode_outcome(data)
    return outcome.blobs if outcome.failure is None else outcome.failure.blobs


def _of_spec(data: bytes) -> Digests:
    spec = _decode_spec(data)
    facts = () if spec.cache is None else (spec.cache.facts,)
    return (*facts, spec.image.recipe) if spec.image.recipe else facts


def _of_note(data: bytes) -> Digests:
    note = decode_note(data)
    return () if note is None else (note.facts,)


def _itself(data: bytes) -> Digests:
    return (data,)


class Root(NamedTuple):
    """A column that refers to blobs.

    Attributes:
        table: Its table.
        column: Its name; NULL refers to nothing.
        digests: Returns the blobs that one value of it refers to.
        run: Column of the same table with the key of the run it goes with, "" if it outlives runs.
    """

    table: str
    column: str
    digests: Callable[[bytes], Digests]
    run: str = ""


ROOTS = (
    Root("runs", "blobs", decode_digests, run="key"),
    Root("runs", "bundle", _of_bundle, run="key"),
    Root("runs", "outcome", _of_outcome, run="key"),
    Root("runs", "spec", _of_spec, run="key"),
    Root("actions", "blobs", decode_digests, run="run"),
    Root("actions", "value_blobs", decode_digests, run="run"),
    Root("actions", "failure", _of_failure, run="run"),
    Root("actions", "cache", _of_note, run="run"),
    Root("attempts", "failure", _of_failure, run="run"),
    Root("artifacts", "blob", _itself),
    Root("artifacts", "blobs", decode_digests),
    Root("cache", "facts", _itself),
    Root("cache", "blobs", decode_digests),
)

OWNED = ("actions", "attempts", "claims", "events", "lineage", "publications", "tallies")
"""Tables whose rows go with the run that their column ``run`` names."""
