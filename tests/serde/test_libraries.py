import dataclasses
import datetime as dt
import mmap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel, PrivateAttr

from perdure._blobs.local import LocalBlobs
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps, loads

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def round_trip(value: Any, blobs: Any) -> Any:
    encoded = dumps(value, blobs)
    result = loads(encoded.data, blobs)
    assert type(result) is type(value)
    assert dumps(result, blobs).digest == encoded.digest
    return result


def digest(value: Any) -> bytes:
    return dumps(value, MemoryBlobs()).digest


# --- numpy ----------------------------------------------------------------------------------------

ALIGNED = np.dtype([("a", "i1"), ("b", "f8")], align=True)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5),
        np.array(3.5),
        np.zeros((0, 3)),
        np.arange(12).reshape(3, 4).T,
        np.arange(20)[::3],
        np.arange(100_000.0),
        np.array(["a", "bcd", ""]),
        np.array([b"a", b"bcd"]),
        np.array([""]),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[ns]"),
        np.array([1, 2], ">i4"),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.array([(1, 2.5)], dtype=ALIGNED),
        np.array([(1, [1, 2])], dtype=[("a", "i1"), ("b", "f8", (2,))]),
        np.array([1, "a", None, [1, 2], (3,)], object),
        np.array([[1, "a"], [None, {}]], object),
    ],
    ids=repr,
)
def test_arrays_come_back_equal(array: Any, blobs: MemoryBlobs) -> None:
    result = round_trip(array, blobs)
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert np.array_equal(result, array, equal_nan=array.dtype.kind in "fM")


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(1.5),
        np.int8(3),
        np.True_,
        np.datetime64("2020-01-01"),
        np.str_(""),
        np.array([(1, 2.5)], dtype=ALIGNED)[0],
    ],
    ids=repr,
)
def test_numpy_scalars_keep_their_type(scalar: Any, blobs: MemoryBlobs) -> None:
    assert round_trip(scalar, blobs) == scalar


def test_a_large_array_is_read_in_place_and_cannot_be_written_to(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    result = loads(dumps({"a": np.arange(100_000.0)}, blobs).data, blobs)["a"]
    assert isinstance(result.base, mmap.mmap)
    assert not result.flags.writeable
    assert result.flags.aligned


class Watched(LocalBlobs):
    """Blobs that note the addresses of what is put, and what is hashed for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync=False)
        self.addresses: list[int] = []

    def put(self, parts: Any) -> bytes:
        self.addresses += [pa.py_buffer(part).address for part in parts]
        return super().put(parts)


@dataclasses.dataclass
class Holder:
    array: Any


class HolderModel(BaseModel):
    array: Any


HOLDERS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda array: array, lambda value: value),
    (lambda array: [1, array], lambda value: value[1]),
    (lambda array: {"a": {"b": (array,)}}, lambda value: value["a"]["b"][0]),
    (lambda array: {1: array}, lambda value: value[1]),
    (lambda array: Holder([array]), lambda value: value.array[0]),
    (lambda array: HolderModel(array=array), lambda value: value.array),
]


@pytest.mark.parametrize(("hold", "held"), HOLDERS)
def test_an_array_is_written_and_read_in_place_wherever_it_is(
    hold: Callable[[Any], Any], held: Callable[[Any], Any], tmp_path: Path
) -> None:
    blobs = Watched(tmp_path)
    array = np.arange(100_000.0).reshape(100, 1000)
    encoded = dumps(hold(array), blobs)
    assert len(encoded.data) < 1000
    assert blobs.addresses == [array.ctypes.data]
    result = held(loads(encoded.data, blobs))
    assert isinstance(result.base, mmap.mmap)
    assert np.array_equal(result, array)


def test_an_array_that_was_read_is_passed_on_without_hashing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)
    encoded = dumps(np.arange(100_000.0), blobs)
    array = loads(encoded.data, blobs)
    monkeypatch.setattr("perdure._blobs.local.blake3_of", lambda views: pytest.fail("hashed"))
    assert dumps(array, blobs) == encoded
    assert dumps(array.reshape(10, -1), blobs).blobs == encoded.blobs


def test_parts_of_an_array_that_was_read_are_arrays_of_their_own(blobs: MemoryBlobs) -> None:
    array = np.arange(100_000.0).reshape(100, 1000)
    result = loads(dumps(array, blobs).data, blobs)
    for part in (slice(50), slice(None, None, -1), (slice(None), slice(500)), slice(99, 100)):
        assert digest(result[part]) == digest(array[part].copy())
    assert digest(result.T) == digest(array.T.copy())


def test_an_array_that_was_read_can_never_be_written_to(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    result = loads(dumps(np.arange(100_000.0), blobs).data, blobs)
    with pytest.raises(ValueError, match="WRITEABLE"):
        result.flags.writeable = True


def test_the_digest_of_an_array_is_that_of_its_content() -> None:
    array = np.arange(24.0).reshape(4, 6)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array[::-1][::-1])
    others = [array.astype("f4"), array.reshape(6, 4), array + 1, array.astype(">f8")]
    assert len({digest(array), *map(digest, others)}) == 5


def test_bytes_between_the_fields_do_not_count() -> None:
    dirty = np.frombuffer(b"\1" + b"junk..." + bytes(8), dtype=ALIGNED)
    assert digest(dirty) == digest(np.array([(1, 0.0)], dtype=ALIGNED))
    assert digest(dirty[0]) == digest(np.array([(1, 0.0)], dtype=ALIGNED)[0])


def test_pointers_are_never_stored_as_bytes(blobs: MemoryBlobs) -> None:
    array = np.array([(1, "text")], dtype=[("a", "i1"), ("b", object)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loads(dumps(array, blobs).data, blobs)[0]["b"] == "text"


def test_numpy_types_and_dtypes_are_values(blobs: MemoryBlobs) -> None:
    assert loads(dumps([np.float32, np.dtype("f8")], blobs).data, blobs) == [
        np.float32,
        np.dtype("f8"),
    ]


# --- pandas ---------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "int": [1, 2, 3],
            "float": [1.5, None, 3],
            "text": ["x", "y", None],
            "object": [[1], (2,), "x"],
            "category": pd.Categorical(["u", "v", "u"], categories=["v", "u"], ordered=True),
            "date": pd.date_range("2020", periods=3),
            "zoned": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
            "delta": pd.timedelta_range("1s", periods=3),
            "period": pd.period_range("2020", periods=3, freq="D"),
            "interval": pd.interval_range(0, 3),
            "masked": pd.array([1, None, 3], dtype="Int64"),
            "arrow": pd.array([1, None, 3], dtype="int64[pyarrow]"),
        }
    )


SHAPES: dict[str, Callable[[], Any]] = {
    "range index": frame,
    "named index": lambda: frame().set_index("text"),
    "two levels": lambda: frame().set_index(["int", "zoned"]),
    "dates": lambda: frame().set_index("date").asfreq("D"),
    "categories": lambda: frame().set_index("category"),
    "periods": lambda: frame().set_index("period"),
    "empty": pd.DataFrame,
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "no rows": lambda: frame().iloc[:0],
    "same names": lambda: pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
    "wide": lambda: pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "grouped columns": lambda: frame().groupby("text").agg({"int": ["min", "max"]}),
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
def test_frames_come_back_equal(make: Callable[[], pd.DataFrame], blobs: MemoryBlobs) -> None:
    pd.testing.assert_frame_equal(round_trip(make(), blobs), make())


@pytest.mark.parametrize("name", frame().columns)
def test_series_come_back_equal(name: str, blobs: MemoryBlobs) -> None:
    pd.testing.assert_series_equal(round_trip(frame()[name], blobs), frame()[name])


def test_how_a_frame_was_built_does_not_matter() -> None:
    whole = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    parts = pd.DataFrame({"a": [1.0, 2.0]})
    parts["b"] = [3.0, 4.0]
    assert digest(whole) == digest(parts) == digest(whole.T.copy().T)
    assert digest(whole) != digest(whole[["b", "a"]])
    assert digest(whole) != digest(whole.set_index("a"))


def test_categories_count() -> None:
    one = pd.Series(pd.Categorical(["a"], categories=["a", "b"]))
    other = pd.Series(pd.Categorical(["a"], categories=["a", "c"]))
    assert digest(one) != digest(other)


def test_a_large_frame_is_read_in_place_and_may_be_changed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    original = pd.DataFrame({"a": np.arange(20_000.0), "b": np.arange(20_000)})
    data = dumps(original, blobs).data
    result = loads(data, blobs)
    result.loc[3, "a"] = -1.0
    result["b"] += 1
    result["c"] = result.a * 2
    pd.testing.assert_frame_equal(loads(data, blobs), original)


def test_a_small_frame_may_be_changed(blobs: MemoryBlobs) -> None:
    result = round_trip(frame(), blobs)
    result.loc[1, ["int", "float", "text", "category"]] = [5, 2.5, "z", "u"]
    result.loc[1, "zoned"] = pd.Timestamp("2021", tz="UTC")
    result.loc[1, "masked"] = 7
    assert result.int.tolist() == [1, 5, 3]


def test_pandas_scalars_come_back(blobs: MemoryBlobs) -> None:
    value = [pd.Timestamp("2020", tz="UTC"), pd.Timedelta("1s"), pd.Period("2020"), pd.NaT]
    assert round_trip(value, blobs)[:3] == value[:3]
    assert round_trip(value, blobs)[3] is pd.NaT


# --- pyarrow and polars ---------------------------------------------------------------------------


def table() -> Any:
    return pa.table(
        {
            "int": [1, None, 3],
            "bool": [True, None, False],
            "text": ["x", None, "zz"],
            "bytes": [b"", b"x", None],
            "list": [[1], None, [2, 3]],
            "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
            "dictionary": pa.array(["u", "v", "u"]).dictionary_encode(),
            "struct": [{"k": 1}, None, {"k": None}],
            "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "null": pa.nulls(3),
            "decimal": pa.array([1, None, 2], pa.decimal128(10, 2)),
            "view": pa.array(["x", None, "a long text, not inlined"], pa.string_view()),
            "time": pa.array([1, None, 2], pa.timestamp("us", "UTC")),
        }
    )


@pytest.mark.parametrize(
    "value",
    [
        table(),
        table().slice(1, 1),
        table().slice(0, 0),
        pa.table({}),
        table().to_batches()[0],
        table().schema.empty_table().to_batches() or table().to_batches()[0].slice(0, 0),
        table().column("list"),
        table().column("text").chunk(0),
        pa.array([], pa.int8()),
    ],
    ids=lambda value: f"{type(value).__name__} {len(value)}",
)
def test_arrow_data_comes_back_equal(value: Any, blobs: MemoryBlobs) -> None:
    assert round_trip(value, blobs) == value


def test_a_large_table_is_written_and_read_in_place(tmp_path: Path) -> None:
    blobs = Watched(tmp_path)
    original = pa.table({"a": np.arange(100_000)})
    before = pa.total_allocated_bytes()
    encoded = dumps(original, blobs)
    assert original.column("a").chunk(0).buffers()[1].address in blobs.addresses
    assert loads(encoded.data, blobs) == original
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize("name", table().column_names)
def test_chunks_offsets_and_left_overs_do_not_count(name: str) -> None:
    whole = table().select([name])
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2)])
    moved = pa.concat_tables([whole, whole]).combine_chunks().slice(3)
    assert digest(whole) == digest(chunked) == digest(moved)
    assert digest(whole) != digest(whole.slice(0, 2))
    assert digest(whole) != digest(whole.rename_columns(["other"]))


def test_what_lies_below_nulls_does_not_count() -> None:
    valid = pa.py_buffer(b"\x05")
    arrays = [
        pa.Array.from_buffers(pa.int8(), 3, [valid, pa.py_buffer(bytes([1, junk, 3]))])
        for junk in (0, 99)
    ]
    assert arrays[0] == arrays[1]
    assert digest(arrays[0]) == digest(arrays[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, None], [None, 1]),
        (["ab", "c"], ["a", "bc"]),
        ([[1], [2, 3]], [[1, 2], [3]]),
        ([None, [None]], [[None], None]),
        ([True, False], [False, True]),
        ([{"a": 1}], [{"a": None}]),
    ],
)
def test_different_arrow_data_differs(one: Any, other: Any) -> None:
    assert digest(pa.array(one)) != digest(pa.array(other))


def polars_frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "int": [1, None, 3],
            "text": ["x", None, "a long text, not inlined"],
            "category": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "enum": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a"])),
            "list": [[1], [2, 3], None],
            "date": [dt.date(2020, 1, 1)] * 3,
            "struct": [{"k": 1}, {"k": None}, {"k": 3}],
        }
    )


def test_polars_frames_and_series_come_back_equal(blobs: MemoryBlobs) -> None:
    result = round_trip(polars_frame(), blobs)
    assert result.equals(polars_frame())
    assert result.schema == polars_frame().schema
    assert round_trip(pl.DataFrame(), blobs).is_empty()
    for series in polars_frame():
        assert round_trip(series, blobs).equals(series, check_names=True)


def test_a_large_polars_frame_is_read_in_place(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    original = pl.DataFrame(
        {"a": np.arange(1_000_000), "b": ["a text", "of some length"] * 500_000}
    )
    encoded = dumps(original, blobs)
    assert len(encoded.data) < 1000
    before = _anonymous()
    result = loads(encoded.data, blobs)
    assert result.equals(original)
    assert _anonymous() - before < original.estimated_size() / 4


def test_a_polars_frame_that_was_read_may_be_changed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    original = pl.DataFrame({"a": np.arange(100_000), "b": ["text"] * 100_000})
    data = dumps(original, blobs).data
    result = loads(data, blobs)
    result[3, "a"] = -1
    result[3, "b"] = "changed"
    result.extend(original)
    assert result.row(3) == (-1, "changed")
    assert loads(data, blobs).equals(original)


def _anonymous() -> int:
    rollup = Path("/proc/self/smaps_rollup")
    lines = rollup.read_text().splitlines() if rollup.exists() else ["Anonymous: 0"]
    return 1024 * int(next(line for line in lines if line.startswith("Anonymous")).split()[1])


def test_types_that_arrow_lacks_come_back(blobs: MemoryBlobs) -> None:
    frame = pl.DataFrame({"a": pl.Series([1, None, 2**100], dtype=pl.Int128)})
    assert round_trip(frame, blobs).equals(frame)


def test_chunks_of_a_polars_frame_do_not_count() -> None:
    whole = polars_frame()
    chunked = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert chunked.n_chunks() > 1
    assert digest(chunked) == digest(whole)


# --- pydantic -------------------------------------------------------------------------------------


class Model(BaseModel):
    depth: int = 3
    inner: "Model | None" = None
    _secret: str = PrivateAttr("s")


class Open(BaseModel, extra="allow"):
    a: int


class Box(BaseModel, Generic[T]):
    item: T


def test_models_come_back_without_being_validated_again(blobs: MemoryBlobs) -> None:
    value = Model(inner=Model(depth=1))
    value._secret = "changed"
    result = round_trip(value, blobs)
    assert result == value
    assert result._secret == "changed"
    assert result.model_fields_set == {"inner"}
    odd = Model.model_construct(depth="not a number")
    assert round_trip(odd, blobs) == odd
    assert round_trip(Open(a=1, b=2), blobs).b == 2


def test_models_that_are_equal_have_equal_digests() -> None:
    assert digest(Model()) == digest(Model(depth=3))
    assert digest(Model()) != digest(Model(depth=4))
    assert digest(Open(a=1, b=2)) != digest(Open(a=1, b=3))


def test_parametrised_models_come_back(blobs: MemoryBlobs) -> None:
    assert round_trip(Box[int](item=1), blobs) == Box[int](item=1)
    assert round_trip(Box[Model](item=Model()), blobs) == Box[Model](item=Model())
