"""The last resort: cloudpickle, protocol 5, with large buffers out of band.

Names of the user's main module are pickled by their canonical name, so that the pickle can be
read where that module has another name. Futures keep their meaning inside pickles.
"""

import io
import pickle
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any

import cloudpickle

from perdure._modules import LOADED_MAIN, MAIN, canonical
from perdure._serde import format as f
from perdure._serde.classes import load_global, reference, type_name
from perdure._serde.format import Deferred, Ext
from perdure._serde.registry import BY_REFERENCE, decodes
from perdure._serde.warnings import PickledValueWarning
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_warned: set[str] = set()
_REPRODUCIBLE = frozenset({"re.Pattern", "perdure._api.task.Task"})


def encode_pickle(writer: "Writer", value: object, *, warn: bool = True) -> Ext:
    """Return the node of a pickled value.

    Raises:
        Unencodable: It cannot be pickled.
    """
    from perdure._serde.encode import Unencodable

    file = io.BytesIO()
    buffers: list[Ext] = []
    try:
        _Pickler(file, writer, buffers, value).dump(value)
    except RecursionError:
        raise
    except Exception as error:
        raise Unencodable(value, str(error)) from error
    name = type_name(type(value))
    if warn and name not in _REPRODUCIBLE:
        _warn_once(name)
    return writer.node(f.PICKLE, (name, writer.buffer(file.getvalue()), buffers))


def _warn_once(name: str) -> None:
    if name in _warned:
        return
    _warned.add(name)
    warnings.warn(
        f"values of type {name} are pickled: they arrive unharmed, but equal ones may have "
        "different digests, so that a replay or a cache may not recognise them",
        PickledValueWarning,
        stacklevel=2,
    )


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(
        self, file: io.BytesIO, writer: "Writer", buffers: list[Ext], whole: object
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._out_of_band)
        self._whole = whole
        self._writer = writer
        self._out = buffers

    def _out_of_band(self, buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: stays in the pickle
            return True
        self._out.append(self._writer.buffer(raw))
        return False

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Deferred):
            self._writer.needs[value.action_id] = None
            return future, (value.action_id,)
        if type(value) in BY_REFERENCE and value is not self._whole:
            node: Any = self._writer.encode(value)
            return held, (node.code, node.data)
        if (
            isinstance(value, type | FunctionType)
            and value.__module__ in (MAIN, LOADED_MAIN)
            and (name := reference(value))
        ):
            return load_global, name
        return super().reducer_override(value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, reader: "Reader", data: memoryview, buffers: list[memoryview]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._reader = reader

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name == "future":
            return self._reader.future
        if module == __name__ and name == "held":
            return self._reader.node
        if module in (MAIN, LOADED_MAIN):
            return load_global(canonical(module), name)
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError as error:
            raise SerializationError(
                f"a value refers to {module}.{name}, and there is no module {error.name} here",
                hint="install it here, too; where a task has an image, in that; what only passes a "
                "value on needs nothing",
            ) from None


def future(action_id: bytes) -> object:
    """Stand in pickles for a future; unpickling puts the action's value in its place."""
    raise NotImplementedError


def held(code: int, payload: bytes) -> object:
    """Stand in pickles for what is held by reference; unpickling puts the value in its place."""
    raise NotImplementedError


@decodes(f.PICKLE)
def _pickle(reader: "Reader", payload: memoryview) -> object:
    _, data, buffers = reader.decode(payload)
    return _Unpickler(reader, data, buffers).load()
