"""pandas: frames, series and indexes, column by column.

A column is stored the way its dtype holds it: numpy arrays as such, whatever can become Arrow as
Arrow, categoricals as codes and categories. How pandas groups columns into blocks does not matter,
neither for the digest nor for the result. Frames are there to be changed in place, so a column may
be written to even where it is read in place.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes, encodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


@encodes(pd.DataFrame)
def _frame(writer: "Writer", value: pd.DataFrame) -> Ext:
    columns = [_values(writer, value.iloc[:, i]) for i in range(value.shape[1])]
    return writer.node(
        f.FRAME,
        (
            "DataFrame",
            value.shape,
            writer.encode(value.columns),
            writer.encode(value.index),
            columns,
            writer.encode(value.attrs),
        ),
    )


@decodes(f.FRAME)
def _to_frame(reader: "Reader", payload: memoryview) -> Any:
    _, _, columns, index, values, attrs = reader.decode_private(payload)
    content = {i: _to_values(v) for i, v in enumerate(values)}
    frame = pd.DataFrame(content, index=index, copy=False)
    frame.columns = columns
    frame.attrs = attrs
    return frame


@encodes(pd.Series)
def _series(writer: "Writer", value: Any) -> Ext:
    return writer.node(
        f.SERIES,
        (
            "Series",
            value.shape,
            writer.encode(value.name),
            writer.encode(value.index),
            _values(writer, value),
            writer.encode(value.attrs),
        ),
    )


@decodes(f.SERIES)
def _to_series(reader: "Reader", payload: memoryview) -> Any:
    _, _, name, index, values, attrs = reader.decode_private(payload)
    series = pd.Series(_to_values(values), index=index, name=name, copy=False)
    series.attrs = attrs
    return series


# --- indexes --------------------------------------------------------------------------------------


@encodes(pd.RangeIndex)
def _range_index(writer: "Writer", value: pd.RangeIndex) -> Ext:
    content = (value.start, value.stop, value.step)
    return writer.node(
        f.INDEX, ("RangeIndex", value.shape, writer.encode(value.name), content, None)
    )


@encodes(pd.MultiIndex)
def _multi_index(writer: "Writer", value: pd.MultiIndex) -> Ext:
    levels = [writer.encode(value.get_level_values(i)) for i in range(value.nlevels)]
    names = writer.encode(tuple(value.names))
    return writer.node(f.INDEX, ("MultiIndex", value.shape, names, levels, None))


@encodes(
    pd.Index,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
    pd.PeriodIndex,
    pd.CategoricalIndex,
    pd.IntervalIndex,
)
def _index(writer: "Writer", value: Any) -> Ext:
    freq = getattr(value, "freqstr", None) if not isinstance(value, pd.PeriodIndex) else None
    content = _values(writer, value)
    return writer.node(f.INDEX, ("Index", value.shape, writer.encode(value.name), content, freq))


@decodes(f.INDEX)
def _to_index(reader: "Reader", payload: memoryview) -> Any:
    kind, _, name, content, freq = reader.decode(payload)
    if kind == "RangeIndex":
        return pd.RangeIndex(*content, name=name)
    if kind == "MultiIndex":
        return pd.MultiIndex.from_arrays(content, names=name)
    values = _to_values(content)
    index = pd.Index(values, dtype=values.dtype, name=name, copy=False)
    if freq is not None:
        index.freq = freq
    return index


# --- columns --------------------------------------------------------------------------------------


def _values(writer: "Writer", column: Any) -> tuple[object, ...]:
    """Return the values of a series or index as a tuple that begins with how they are held."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return ("numpy", writer.encode(column.to_numpy()))
    if isinstance(dtype, pd.CategoricalDtype):
        array = column.array
        codes, categories = writer.encode(array.codes), writer.encode(array.categories)
        return ("categories", codes, categories, array.ordered)
    if isinstance(dtype, pd.DatetimeTZDtype):
        naive = column.array.tz_convert(None).to_numpy()
        return ("zoned", writer.encode(naive), writer.encode(dtype.tz))
    if hasattr(dtype, "__from_arrow__") and hasattr(column.array, "__arrow_array__"):
        try:
            import pyarrow as pa
        except ImportError:
            pass
        else:
            array = column.array.__arrow_array__()
            held = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
            return ("arrow", _dtype(writer, dtype), writer.encode(held))
    return ("pickle", encode_pickle(writer, column.array, warn=False))


def _to_values(content: list[Any]) -> Any:
    kind, *parts = content
    if kind == "categories":
        codes, categories, ordered = parts
        return pd.Categorical.from_codes(codes, categories, ordered=ordered)
    if kind == "zoned":
        naive, zone = parts
        return pd.array(naive).tz_localize("UTC").tz_convert(zone)
    if kind == "arrow":
        dtype, array = parts
        return pd.api.types.pandas_dtype(dtype).__from_arrow__(array)
    return parts[0]


def _dtype(writer: "Writer", dtype: Any) -> object:
    """Return the name of a dtype if that says it all: the pickles of some hold what they cache."""
    name = str(dtype)
    try:
        if pd.api.types.pandas_dtype(name) == dtype:
            return name
    except (TypeError, ValueError, NotImplementedError):
        pass
    return encode_pickle(writer, dtype, warn=False)


# --- scalars --------------------------------------------------------------------------------------


@encodes(pd.Timestamp, pd.Timedelta, pd.Period, pd.Interval, type(pd.NaT), type(pd.NA))
def _scalar(writer: "Writer", value: object) -> Ext:
    return encode_pickle(writer, value, warn=False)


def _resolve(cls: type) -> EncodeHandler | None:
    known = (pd.api.extensions.ExtensionDtype, pd.api.extensions.ExtensionArray)
    return _scalar if issubclass(cls, known) else None


RESOLVERS.append(_resolve)
