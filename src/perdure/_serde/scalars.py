"""Single values of the standard library: numbers, text, times, paths and their like."""

import datetime as dt
import pathlib
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from perdure._serde import format as f
from perdure._serde.format import INLINE_BYTES, Ext
from perdure._serde.registry import decodes, encodes
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_COMPLEX = struct.Struct("<dd")
_MICROSECOND = dt.timedelta(microseconds=1)


def has_surrogates(text: str) -> bool:
    """Whether the text holds lone surrogates, which UTF-8 does not allow."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


# --- numbers, text and bytes ----------------------------------------------------------------------


@encodes(int)
def _int(writer: "Writer", value: int) -> object:
    if -(2**63) <= value < 2**64:
        return value
    return Ext(f.BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


@decodes(f.BIG_INT)
def _to_int(reader: "Reader", payload: memoryview) -> int:
    return int.from_bytes(payload, "big", signed=True)


@encodes(str)
def _str(writer: "Writer", value: str) -> object:
    return Ext(f.STR, value.encode("utf-8", "surrogatepass")) if has_surrogates(value) else value


@decodes(f.STR)
def _to_str(reader: "Reader", payload: memoryview) -> str:
    return str(payload, "utf-8", "surrogatepass")


@encodes(bytes)
def _bytes(writer: "Writer", value: bytes) -> object:
    return value if len(value) <= INLINE_BYTES else writer.node(f.BYTES, writer.buffer(value))


@decodes(f.BYTES)
def _to_bytes(reader: "Reader", payload: memoryview) -> bytes:
    return bytes(reader.decode(payload))


@encodes(bytearray)
def _bytearray(writer: "Writer", value: bytearray) -> Ext:
    return writer.node(f.BYTEARRAY, writer.buffer(memoryview(value)))


@decodes(f.BYTEARRAY)
def _to_bytearray(reader: "Reader", payload: memoryview) -> bytearray:
    return bytearray(reader.decode(payload))


@encodes(complex)
def _complex(writer: "Writer", value: complex) -> Ext:
    return Ext(f.COMPLEX, _COMPLEX.pack(value.real, value.imag))


@decodes(f.COMPLEX)
def _to_complex(reader: "Reader", payload: memoryview) -> complex:
    return complex(*_COMPLEX.unpack(payload))


@encodes(Decimal)
def _decimal(writer: "Writer", value: Decimal) -> Ext:
    return writer.node(f.DECIMAL, str(value))


@decodes(f.DECIMAL)
def _to_decimal(reader: "Reader", payload: memoryview) -> Decimal:
    return Decimal(reader.decode(payload))


@encodes(Fraction)
def _fraction(writer: "Writer", value: Fraction) -> Ext:
    return writer.node(f.FRACTION, writer.encode_all((value.numerator, value.denominator)))


@decodes(f.FRACTION)
def _to_fraction(reader: "Reader", payload: memoryview) -> Fraction:
    return Fraction(*reader.decode(payload))


@encodes(range)
def _range(writer: "Writer", value: range) -> Ext:
    return writer.node(f.RANGE, writer.encode_all((value.start, value.stop, value.step)))


@decodes(f.RANGE)
def _to_range(reader: "Reader", payload: memoryview) -> range:
    return range(*reader.decode(payload))


@encodes(slice)
def _slice(writer: "Writer", value: slice) -> Ext:
    return writer.node(f.SLICE, writer.encode_all((value.start, value.stop, value.step)))


@decodes(f.SLICE)
def _to_slice(reader: "Reader", payload: memoryview) -> slice:
    return slice(*reader.decode(payload))


@encodes(uuid.UUID)
def _uuid(writer: "Writer", value: uuid.UUID) -> Ext:
    return Ext(f.UUID, value.bytes)


@decodes(f.UUID)
def _to_uuid(reader: "Reader", payload: memoryview) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(payload))


# --- paths ----------------------------------------------------------------------------------------


@encodes(
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    pathlib.WindowsPath,
    pathlib.PureWindowsPath,
)
def _path(writer: "Writer", value: pathlib.PurePath) -> Ext:
    return writer.node(f.PATH, (type(value).__name__, writer.encode(str(value))))


@decodes(f.PATH)
def _to_path(reader: "Reader", payload: memoryview) -> pathlib.PurePath:
    kind, text = reader.decode(payload)
    try:
        path: pathlib.PurePath = getattr(pathlib, kind)(text)
    except NotImplementedError as error:  # pathlib.UnsupportedOperation is one, too
        raise SerializationError(
            f"the {kind} {text!r} cannot exist on this operating system",
            hint="pass a PurePath, or its parts as text",
        ) from error
    return path


# --- dates and times ------------------------------------------------------------------------------


@encodes(dt.date)
def _date(writer: "Writer", value: dt.date) -> Ext:
    return writer.node(f.DATE, value.isoformat())


@decodes(f.DATE)
def _to_date(reader: "Reader", payload: memoryview) -> dt.date:
    return dt.date.fromisoformat(reader.decode(payload))


@encodes(dt.time)
def _time(writer: "Writer", value: dt.time) -> Ext:
    text = value.replace(tzinfo=None).isoformat()
    return writer.node(f.TIME, (text, value.fold, writer.encode(value.tzinfo)))


@decodes(f.TIME)
def _to_time(reader: "Reader", payload: memoryview) -> dt.time:
    text, fold, zone = reader.decode(payload)
    return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


@encodes(dt.datetime)
def _datetime(writer: "Writer", value: dt.datetime) -> Ext:
    text = value.replace(tzinfo=None).isoformat()
    return writer.node(f.DATETIME, (text, value.fold, writer.encode(value.tzinfo)))


@decodes(f.DATETIME)
def _to_datetime(reader: "Reader", payload: memoryview) -> dt.datetime:
    text, fold, zone = reader.decode(payload)
    return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


@encodes(dt.timedelta)
def _timedelta(writer: "Writer", value: dt.timedelta) -> Ext:
    return writer.node(f.TIMEDELTA, (value.days, value.seconds, value.microseconds))


@decodes(f.TIMEDELTA)
def _to_timedelta(reader: "Reader", payload: memoryview) -> dt.timedelta:
    return dt.timedelta(*reader.decode(payload))


@encodes(dt.timezone)
def _timezone(writer: "Writer", value: dt.timezone) -> Ext:
    offset = value.utcoffset(None)
    name = value.tzname(None)
    default = dt.timezone(offset).tzname(None)
    return writer.node(f.TIMEZONE, (offset // _MICROSECOND, None if name == default else name))


@decodes(f.TIMEZONE)
def _to_timezone(reader: "Reader", payload: memoryview) -> dt.timezone:
    microseconds, name = reader.decode(payload)
    offset = microseconds * _MICROSECOND
    if name is not None:
        return dt.timezone(offset, name)
    return dt.timezone(offset) if offset else dt.UTC


@encodes(ZoneInfo)
def _zone(writer: "Writer", value: ZoneInfo) -> Ext:
    if value.key is None:  # made from a file: only its rules identify it
        from perdure._serde.pickles import encode_pickle

        return encode_pickle(writer, value)
    return writer.node(f.ZONE, value.key)


@decodes(f.ZONE)
def _to_zone(reader: "Reader", payload: memoryview) -> ZoneInfo:
    return ZoneInfo(reader.decode(payload))
