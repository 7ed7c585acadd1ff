"""Pictures of encoded values, for people and for JSON.

Nothing is imported or unpickled: a picture is made of the names and plain parts in the bytes. A
payload in the blob store is shown by the preview its pointer carries.
"""

import datetime as dt
import math
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from perdure._modules import MAIN
from perdure._serde import format as f

_PAYLOAD_PREVIEW = 400
_SHORT_BYTES = 24  # longer ones are shown by their size
_ITEMS = 1000  # of a list or dict in a JSON picture
_COLUMNS = 20  # of a table


class _Word(NamedTuple):
    """Something shown as a single text."""

    text: str


class _Group(NamedTuple):
    """Items between brackets, e.g. of a tuple."""

    start: str
    items: list[Any]
    end: str


class _Pairs(NamedTuple):
    """Keys and values between brackets: a dict with any keys."""

    start: str
    pairs: list[tuple[Any, Any]]
    end: str


class _Record(NamedTuple):
    """A type with named fields."""

    name: str
    fields: dict[str, Any]


class _Future(NamedTuple):
    """What an action will come to, or has come to."""

    action: bytes


_NO_VALUES: Mapping[bytes, bytes] = {}


def preview(
    data: bytes | memoryview, limit: int = 120, values: Mapping[bytes, bytes] = _NO_VALUES
) -> str:
    """Return an encoded value as one line of text.

    Args:
        data: The value.
        limit: Length of the text, at most.
        values: Encoded values of futures in it, by action id: they are shown in their places.
    """
    try:
        text = _text(_picture(data), limit, values)
    except (msgspec.DecodeError, RecursionError, IndexError, TypeError, ValueError):
        text = f"<{len(data):,} bytes that are not a value>"
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def to_json(data: bytes | memoryview) -> object:
    """Return an encoded value as JSON-able data: what JSON lacks becomes text or ``$type``."""
    try:
        return _json(_picture(data))
    except (msgspec.DecodeError, RecursionError, IndexError, TypeError, ValueError):
        return {"$type": "unreadable", "bytes": len(data)}


def _picture(data: bytes | memoryview) -> Any:
    if data[0] == f.POINTER:
        _, size, text = _unpack(data[1:])
        return _Word(f"{text} <{_size(size)}>" if text.endswith("…") else text)
    return _unpack(data[1:])


# --- nodes ----------------------------------------------------------------------------------------


def _node(code: int, payload: memoryview) -> Any:
    if code in _OPAQUE:
        return _OPAQUE[code](bytes(payload))
    rule = _RULES.get(code)
    return _Word(f"<kind {code}>") if rule is None else rule(_unpack(payload))


_unpack: Callable[[bytes | memoryview], Any] = msgspec.msgpack.Decoder(ext_hook=_node).decode


def _name(module: str, qualname: str) -> str:
    return qualname if module in (MAIN, "builtins") else f"{module}.{qualname}"


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError


def _type(cls: Any) -> str:
    return cls.text.rpartition(".")[2] if isinstance(cls, _Word) else "?"


def _two(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _set(items: list[Any]) -> Any:
    return _Group("{", items, "}") if items else _Word("set()")


def _time(content: list[Any]) -> _Word:
    text, _, zone = content
    return _Word(f"{text.replace('T', ' ')} {zone.text}" if isinstance(zone, _Word) else text)


def _range(content: list[Any]) -> _Group:
    return _Group("range(", content if content[2] != 1 else content[:2], ")")


def _array(content: list[Any]) -> _Word:
    dtype, shape, _ = content
    return _Word(f"ndarray {_dtype(dtype)} {tuple(shape)}")


_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


def _dtype(descr: Any) -> str:
    if not isinstance(descr, str):
        return "record"
    kind, size = descr[1:2], descr[2:]
    if kind in _KINDS:
        return f"{_KINDS[kind]}{int(size) * 8}"
    return {"b": "bool", "M": f"datetime64{size[1:]}", "m": f"timedelta64{size[1:]}"}.get(
        kind, descr[1:]
    )


def _table(content: list[Any]) -> _Word:
    kind, _, rows, columns, *_ = content
    if columns is None:
        return _Word(f"{kind} {rows:,} items")
    return _Word(f"{kind} {rows:,} rows x {columns:,} columns")


def _frame(content: list[Any]) -> _Word:
    kind, shape, *_ = content
    return _table([kind, None, *shape, *([None] if len(shape) == 1 else [])])


def _file(content: list[Any]) -> _Record:
    digest, size, name, *_ = content
    return _Record("File", {"name": name, "size": _Word(_size(size)), "digest": _short(digest)})


def _folder(content: list[Any]) -> _Record:
    name, _, _, entries = content
    files, total = len(entries) // 3, sum(entries[2::3])
    return _Record("Dir", {"name": name, "files": files, "size": _Word(_size(total))})


def _short(digest: bytes) -> _Word:
    return _Word(digest.hex()[:12])


def _data_frame(content: list[Any]) -> _Word:
    _, (rows, _, *columns), *_ = content
    shown = ", ".join(f"{name}: {kind}" for name, kind, _ in columns[:_COLUMNS])
    more = ", …" if len(columns) > _COLUMNS else ""
    head = _table(["DataFrame", None, rows, len(columns)]).text
    return _Word(f"{head} ({shown}{more})" if columns else head)


def _error(content: dict[str, Any]) -> _Word:
    return _Word(f"{content['type']}: {content['message']}")


_OPAQUE: dict[int, Callable[[bytes], Any]] = {
    f.RAW: lambda data: data,
    f.BLOB: lambda data: _Word(f"<{_size(int.from_bytes(data[32:], 'big'))}>"),
    f.FUTURE: _Future,
    f.BIG_INT: lambda data: int.from_bytes(data, "big", signed=True),
    f.STR: lambda data: data.decode("utf-8", "replace"),
    f.COMPLEX: lambda data: _Word(str(complex(*struct.unpack("<dd", data)))),
    f.UUID: lambda data: _Word(str(uuid.UUID(bytes=data))),
}
_RULES: dict[int, Callable[[Any], Any]] = {
    f.GLOBAL: lambda c: _Word(_name(*c)),
    f.CLASS: lambda c: _Word(_name(*c[:2])),
    f.ARTIFACT: lambda c: _Word(c[0]),
    f.GENERIC: lambda c: _Word(f"{c[0].text}[{', '.join(_text(arg) for arg in c[1:])}]"),
    f.PICKLE: lambda c: _Word(f"<pickled {c[0]}>"),
    f.ERROR: _error,
    f.BYTES: lambda c: c,
    f.BYTEARRAY: lambda c: c,
    f.TUPLE: lambda c: _Group("(", c, ",)" if len(c) == 1 else ")"),
    f.SET: _set,
    f.FROZEN_SET: lambda c: _Group("frozenset({", c, "})"),
    f.MAP: lambda c: _Pairs("{", _two(c), "}"),
    f.RANGE: _range,
    f.SLICE: lambda c: _Group("slice(", c, ")"),
    f.DATE: _Word,
    f.TIME: _time,
    f.DATETIME: _time,
    f.TIMEDELTA: lambda c: _Word(str(dt.timedelta(*c))),
    f.TIMEZONE: lambda c: _Word(c[1] or str(dt.timezone(dt.timedelta(microseconds=c[0])))),
    f.ZONE: _Word,
    f.DECIMAL: _Word,
    f.FRACTION: lambda c: _Word(f"{c[0]}/{c[1]}"),
    f.PATH: lambda c: _Word(str(c[1])),
    f.ORDERED_DICT: lambda c: _Pairs("OrderedDict({", _two(c), "})"),
    f.DEFAULT_DICT: lambda c: c[1],
    f.COUNTER: lambda c: c,
    f.DEQUE: lambda c: _Group("deque([", c[1], "])"),
    f.NAMESPACE: lambda c: _Record("namespace", c),
    f.OBJECT: lambda c: _Record(_type(c[0]), c[1]),
    f.MODEL: lambda c: _Record(_type(c[0]), c[1]),
    f.ENUM: lambda c: _Word(f"{_type(c[0])}.{c[1]}" if c[1] else f"{_type(c[0])}({c[2]})"),
    f.NAMED_TUPLE: lambda c: _Group(f"{_type(c[0])}(", c[1], ")"),
    f.NDARRAY: _array,
    f.OBJECT_ARRAY: lambda c: _Word(f"ndarray object {tuple(c[0])}"),
    f.NUMPY_SCALAR: lambda c: _Word(c[2]),
    f.DTYPE: lambda c: _Word(_dtype(c)),
    f.TENSOR: lambda c: _Word(f"Tensor {c[0]} {tuple(c[1])}"),
    f.ARROW: _table,
    f.POLARS: _table,
    f.FRAME: _frame,
    f.SERIES: _frame,
    f.INDEX: _frame,
    f.DATA_FRAME: _data_frame,
    f.FILE: _file,
    f.DIR: _folder,
}


# --- text -----------------------------------------------------------------------------------------


class _Line:
    """One line of text being written; once it is full, nothing more is looked at."""

    def __init__(self, limit: int, values: Mapping[bytes, bytes]) -> None:
        self.parts: list[str] = []
        self.left = limit
        self._values = values

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.left -= len(text)

    def show(self, value: Any) -> None:
        match value:
            case _Word(text):
                self.put(text)
            case _Group(start, items, end):
                self._join(start, (("", item) for item in items), end)
            case _Pairs(start, pairs, end):
                self._join(start, ((f"{_text(key)}: ", item) for key, item in pairs), end)
            case _Record(name, fields):
                self._join(f"{name}(", ((f"{k}=", item) for k, item in fields.items()), ")")
            case _Future(action) if action in self._values:
                self.show(_picture(self._values[action]))
            case _Future(action):
                self.put(f"<future {action.hex()[:12]}>")
            case dict():
                self._join("{", ((f"{key!r}: ", item) for key, item in value.items()), "}")
            case list():
                self._join("[", (("", item) for item in value), "]")
            case _:
                self.put(self._leaf(value))

    def _leaf(self, value: Any) -> str:
        if isinstance(value, bytes) and len(value) > _SHORT_BYTES:
            return f"<{_size(len(value))}>"
        if isinstance(value, str):
            return repr(value[: max(self.left, 0) + 1])
        return repr(value)

    def _join(self, start: str, items: Iterable[tuple[str, Any]], end: str) -> None:
        self.put(start)
        for i, (label, item) in enumerate(items):
            if self.left <= 0:
                self.put("…")
                return
            self.put(f"{', ' if i else ''}{label}")
            self.show(item)
        self.put(end)


def _text(
    value: Any, limit: int = _PAYLOAD_PREVIEW, values: Mapping[bytes, bytes] = _NO_VALUES
) -> str:
    line = _Line(limit, values)
    line.show(value)
    return "".join(line.parts)


# --- JSON -----------------------------------------------------------------------------------------


def _json(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**53) <= value <= 2**53 else str(value)
        case float():
            return value if math.isfinite(value) else repr(value)
        case bytes():
            return {"$type": "bytes", "size": len(value), "hex": value[:64].hex()}
        case _Word(text):
            return text
        case _Group(_, items, _):
            return [_json(item) for item in items[:_ITEMS]]
        case list():
            return [_json(item) for item in value[:_ITEMS]]
        case _Pairs(_, pairs, _):
            return {_key(key): _json(item) for key, item in pairs[:_ITEMS]}
        case _Record(name, fields):
            return {"$type": name} | {key: _json(item) for key, item in fields.items()}
        case dict():
            return {key: _json(item) for key, item in value.items()}
    return _text(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _text(key)
