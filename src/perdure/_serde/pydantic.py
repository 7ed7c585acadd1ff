"""pydantic models: fields, without validating them again."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from perdure._serde import format as f
from perdure._serde.classes import encode_class
from perdure._serde.format import Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


def _encode(writer: "Writer", value: BaseModel) -> Ext:
    state: dict[str, Any] = value.__getstate__()
    fields = state.pop("__dict__")
    ignored = {"__pydantic_fields_set__": state.pop("__pydantic_fields_set__", None)}
    rest = {key: item for key, item in state.items() if item is not None}
    if rest:  # extra fields and private attributes: models that differ in them are not equal
        fields = fields | rest
    return writer.node(
        f.MODEL,
        (encode_class(writer, type(value)), writer.encode(fields), writer.encode(ignored)),
    )


@decodes(f.MODEL)
def _decode(reader: "Reader", payload: memoryview) -> BaseModel:
    cls, fields, ignored = reader.decode(payload)
    state = {key: fields.pop(key, None) for key in ("__pydantic_extra__", "__pydantic_private__")}
    value: BaseModel = cls.__new__(cls)
    value.__setstate__({"__dict__": fields, **state, **ignored})
    return value


def _resolve(cls: type) -> EncodeHandler | None:
    own = cls.__getstate__ is not getattr(BaseModel, "__getstate__", None)
    return _encode if issubclass(cls, BaseModel) and not own else None


RESOLVERS.append(_resolve)
