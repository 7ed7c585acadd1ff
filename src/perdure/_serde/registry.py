"""Who encodes which type, and who decodes which node.

Both tables start with plain Python and grow on demand: a library's handlers are imported when one
of its types, or one of its nodes, is met for the first time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure._serde import format as f
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

EncodeHandler = Callable[["Writer", Any], object]
DecodeHandler = Callable[["Reader", memoryview], object]

ENCODERS: dict[type, EncodeHandler] = {}
"""By exact type. ``find_encoder`` adds what it found for further types."""

DECODERS: dict[int, DecodeHandler] = {}
"""By node code."""

BY_REFERENCE: set[type] = set()
"""Types whose values are little more than the names of blobs: they stay that inside pickles."""

RESOLVERS: list[Callable[[type], EncodeHandler | None]] = []
"""Asked in turn about types that are not in the table: families such as enums or dataclasses."""

_LIBRARIES = {
    "numpy": "arrays",
    "pyarrow": "arrow",
    "polars": "polars",
    "pandas": "frames",
    "pydantic": "pydantic",
    "torch": "tensors",
}
_NODE_MODULES = {
    f.PICKLE: "pickles",
    f.NDARRAY: "arrays",
    f.OBJECT_ARRAY: "arrays",
    f.NUMPY_SCALAR: "arrays",
    f.DTYPE: "arrays",
    f.TENSOR: "tensors",
    f.ARROW: "arrow",
    f.FRAME: "frames",
    f.SERIES: "frames",
    f.INDEX: "frames",
    f.POLARS: "polars",
    f.MODEL: "pydantic",
    f.DATA_FRAME: "perdure.io._dataframe",
    f.FILE: "perdure.io._codec",  # what builds upon this package is known by its whole name
    f.DIR: "perdure.io._codec",
}


def encodes(*types: type) -> Callable[[EncodeHandler], EncodeHandler]:
    """Register the function for values of exactly these types."""

    def register(handler: EncodeHandler) -> EncodeHandler:
        ENCODERS.update(dict.fromkeys(types, handler))
        return handler

    return register


def decodes(code: int) -> Callable[[DecodeHandler], DecodeHandler]:
    """Register the function for nodes of this code; it gets the node's payload."""

    def register(handler: DecodeHandler) -> DecodeHandler:
        DECODERS[code] = handler
        return handler

    return register


def find_encoder(cls: type) -> EncodeHandler:
    """Return the handler of a type, found once and remembered."""
    handler = ENCODERS.get(cls)
    if handler is None:
        for base in cls.__mro__:
            if module := _LIBRARIES.get(base.__module__.partition(".")[0]):
                importlib.import_module(f"perdure._serde.{module}")
        handler = ENCODERS[cls] = ENCODERS.get(cls) or _resolve(cls)
    return handler


def _resolve(cls: type) -> EncodeHandler:
    for resolver in RESOLVERS:
        if handler := resolver(cls):
            return handler
    from perdure._serde.pickles import encode_pickle

    return encode_pickle


def find_decoder(code: int) -> DecodeHandler:
    """Return the handler of a node code."""
    if code not in DECODERS and (module := _NODE_MODULES.get(code)):
        try:
            importlib.import_module(module if "." in module else f"perdure._serde.{module}")
        except ImportError as error:
            raise SerializationError(
                f"a value needs the package {error.name}, which cannot be imported here",
                hint=f"install {error.name} into this environment",
            ) from error
    handler = DECODERS.get(code)
    if handler is None:
        raise SerializationError(
            f"a value holds a node of the unknown kind {code}",
            hint="it was written by a newer release of perdure; upgrade this one",
        )
    return handler
