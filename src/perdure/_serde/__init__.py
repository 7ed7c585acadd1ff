"""User values to bytes and back: encoding, type checks, errors, previews."""

from perdure._serde import containers, fields, models, scalars  # noqa: F401 - they register
from perdure._serde.decode import loads
from perdure._serde.encode import dumps
from perdure._serde.errors import dump_error, load_error
from perdure._serde.format import Deferred, Encoded
from perdure._serde.marks import input_marks
from perdure._serde.named import Named, store
from perdure._serde.preview import preview, to_json
from perdure._serde.typecheck import Mismatch, arrived, checker
from perdure._serde.warnings import PickledValueWarning

__all__ = [
    "Deferred",
    "Encoded",
    "Mismatch",
    "Named",
    "PickledValueWarning",
    "arrived",
    "checker",
    "dump_error",
    "dumps",
    "input_marks",
    "load_error",
    "loads",
    "preview",
    "store",
    "to_json",
]
