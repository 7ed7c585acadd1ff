"""Tables by reference."""

import asyncio
import dataclasses
import datetime as dt
import mmap
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from pyarrow import feather, parquet
from pydantic import BaseModel

from perdure import errors
from perdure._blobs.local import LocalBlobs
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import Mismatch, checker, dumps, loads, preview
from perdure.io import ARROW, PARQUET, DataFrame, HashFunction
from perdure.io._opening import OPENERS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def small() -> pa.Table:
    return pa.table({"id": [1, 2, 3], "name": ["x", None, "z"], "score": [0.5, None, -1.0]})


def large(rows: int = 50_000) -> pa.Table:
    return pa.table({"a": np.arange(rows), "b": np.arange(rows) / 2, "c": ["text"] * rows})


def passed_on(table: DataFrame, blobs: Any = None) -> DataFrame:
    """Return a table as another task gets it."""
    blobs = blobs or MemoryBlobs()
    found = loads(dumps(table, blobs).data, blobs)
    assert isinstance(found, DataFrame)
    return found


def digest(value: Any) -> bytes:
    return dumps(value, MemoryBlobs()).digest


# --- from anything, to anything -------------------------------------------------------------------

MAKERS = {
    "pandas": lambda: small().to_pandas(),
    "polars": lambda: pl.from_arrow(small()),
    "lazy polars": lambda: pl.from_arrow(small()).lazy(),
    "arrow": small,
    "batch": lambda: small().to_batches()[0],
    "batches": lambda: small().to_reader(max_chunksize=2),
    "dataset": lambda: pyarrow.dataset.dataset(small()),
}


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_table_of_any_library_can_be_read_by_any_other(make: Any, kind: str) -> None:
    table = passed_on(DataFrame(make(), format=kind))
    assert table.format == kind
    assert table.num_rows == 3
    assert table.columns == ["id", "name", "score"]
    assert table.to_arrow().to_pydict() == small().to_pydict()
    assert table.to_polars().equals(pl.from_arrow(small()))
    assert table.to_pandas().equals(small().to_pandas())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_p5_a_table_is_the_same_value_whichever_library_made_it(make: Any, kind: str) -> None:
    assert digest(DataFrame(make(), format=kind)) == digest(DataFrame(small()))
    assert DataFrame(make(), format=kind).hash == DataFrame(small()).hash


@pytest.mark.parametrize(
    "other",
    [
        small().slice(1),
        small().select(["id", "name"]),
        small().select(["name", "id", "score"]),
        small().rename_columns(["id", "title", "score"]),
        small().set_column(0, "id", pa.array([1, 2, 4])),
        small().set_column(0, "id", pa.array([1, 2, 3], pa.int32())),
    ],
    ids=["rows", "columns", "order", "name", "content", "type"],
)
def test_tables_that_differ_have_different_digests(other: pa.Table) -> None:
    assert digest(DataFrame(other)) != digest(DataFrame(small()))


def test_categories_texts_and_lists_are_the_same_in_all_their_layouts() -> None:
    tables = [
        pa.table(
            {
                "text": pa.array(["x", "y", None], text),
                "list": pa.array([[1], [], None], a_list),
                "category": pa.array(["u", "v", "u"]).cast(pa.dictionary(index, text)),
            }
        )
        for text, a_list, index in (
            (pa.string(), pa.list_(pa.int64()), pa.int8()),
            (pa.large_string(), pa.large_list(pa.int64()), pa.uint32()),
        )
    ]
    assert digest(DataFrame(tables[0])) == digest(DataFrame(tables[1]))
    polars = DataFrame(pl.from_arrow(tables[0]))
    assert polars.types == DataFrame(tables[0]).types
    assert digest(polars) == digest(DataFrame(tables[0]))


def test_a_stream_is_stored_at_once_a_table_when_it_is_passed_on(home: Path) -> None:
    table = DataFrame(large())
    assert table.val is not None
    assert not home.exists()
    stream = DataFrame(large().to_reader())
    assert stream.val is None
    assert stream.to_arrow() == large()
    assert digest(stream) == digest(table)


# --- pandas ---------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "int": [1, 2, 3],
            "masked": pd.array([1, None, 3], dtype="Int64"),
            "text": ["x", None, "z"],
            "category": pd.Categorical(["u", "v", "u"], categories=["v", "u"], ordered=True),
            "zoned": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
        }
    )


@pytest.mark.parametrize(
    "original",
    [
        frame(),
        frame().set_index("int"),
        frame().set_index(["int", "zoned"]),
        frame().iloc[1:],
        frame().drop(columns="category").iloc[:0],
        frame().rename_axis("row"),
    ],
    ids=["plain", "index", "two levels", "rows", "no rows", "named"],
)
@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_a_pandas_frame_keeps_its_types_and_its_index(original: Any, kind: str) -> None:
    found = passed_on(DataFrame(original, format=kind))
    pd.testing.assert_frame_equal(found.to_pandas(), original)
    pd.testing.assert_frame_equal(found.to_pandas(["text"]), original[["text"]])
    assert found.columns == list(original.columns)


def test_an_index_is_part_of_the_value() -> None:
    plain, indexed = frame(), frame().set_index("int")
    assert digest(DataFrame(plain)) != digest(DataFrame(indexed))
    assert digest(DataFrame(plain)) != digest(DataFrame(frame().set_axis([5, 6, 7])))
    assert digest(DataFrame(indexed).select(["text"])) == digest(DataFrame(indexed[["text"]]))


def test_a_pandas_frame_that_was_read_may_be_changed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    table = passed_on(DataFrame(large()), blobs)
    found = table.to_pandas()
    found.loc[3, "a"] = -1
    found["b"] += 1
    found["d"] = found["a"] * 2
    assert found.loc[3, "d"] == -2
    assert table.to_arrow() == large()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (pd.DataFrame([[1, 2]]), "named by text"),
        (pd.DataFrame({"a": [1, "x"]}), "cannot be stored as a table"),
        (pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "cannot be stored as a table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate|more than one column named 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "more than one column named 'a'"),
    ],
)
def test_what_is_no_table_is_refused_when_it_is_stored(wrong: Any, told: str) -> None:
    with pytest.raises(errors.SerializationError, match=told):
        dumps(DataFrame(wrong), MemoryBlobs())


@pytest.mark.parametrize("wrong", [None, [1, 2], {"a": [1]}, "table.parquet", np.zeros((2, 2))])
def test_what_is_no_table_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no table"):
        DataFrame(wrong)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="arrow, parquet"):
        DataFrame(small(), format="csv")


# --- reading only what is asked for ---------------------------------------------------------------


class Watched(LocalBlobs):
    """Blobs that note what is read, and the addresses of what is put."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync=False)
        self.reads = 0
        self.addresses: list[int] = []

    def get(self, digest: bytes, *, private: bool = False) -> memoryview:
        self.reads += 1
        return super().get(digest, private=private)

    def put(self, parts: Any) -> bytes:
        self.addresses += [pa.py_buffer(part).address for part in parts]
        return super().put(parts)


def test_nothing_is_read_until_it_is_asked_for(tmp_path: Path) -> None:
    blobs = Watched(tmp_path)
    table = passed_on(DataFrame(large()), blobs)
    assert table.num_rows == 50_000
    assert table.select(["a"]).types == {"a": "int64"}
    assert "50,000 rows" in repr(table)
    assert dumps([table, table.select(["b"])], blobs).blobs
    assert blobs.reads == 0
    table.to_arrow(["a"])
    assert blobs.reads == 1


def test_a_table_is_written_from_where_it_lies_and_read_in_place(tmp_path: Path) -> None:
    blobs = Watched(tmp_path)
    original = large()
    before = pa.total_allocated_bytes()
    found = passed_on(DataFrame(original), blobs).to_arrow()
    assert original.column("a").chunk(0).buffers()[1].address in blobs.addresses
    assert found == original
    assert pa.total_allocated_bytes() == before


def test_a_table_that_was_read_is_passed_on_without_reading_it(tmp_path: Path) -> None:
    blobs = Watched(tmp_path)
    encoded = dumps(DataFrame(large()), blobs)
    table = loads(encoded.data, blobs)
    written = len(blobs.addresses)
    assert dumps({"x": table}, blobs).blobs == encoded.blobs
    assert dumps(table, blobs) == encoded
    assert (blobs.reads, len(blobs.addresses)) == (0, written)


def test_an_arrow_table_is_hashed_once_a_frame_whenever_it_is_passed_on() -> None:
    blobs = MemoryBlobs()
    arrow, pandas = DataFrame(large()), large().to_pandas()
    first = dumps(arrow, blobs)
    assert arrow.val is None
    assert dumps(arrow, blobs) == first
    table = DataFrame(pandas)
    assert dumps(table, blobs).digest == first.digest
    pandas.loc[0, "a"] = -1
    assert dumps(table, blobs).digest != first.digest


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_columns_are_read_in_the_order_asked_for(kind: str) -> None:
    table = passed_on(DataFrame(large(), format=kind))
    assert table.to_arrow(["c", "a"]) == large().select(["c", "a"])
    assert table.to_pandas(["b"]).columns.tolist() == ["b"]
    assert table.to_polars(["c", "b"]).columns == ["c", "b"]
    assert DataFrame(large()).to_arrow(["b"]) == large().select(["b"])


def test_a_selection_is_a_view_of_the_same_file_and_a_value_of_its_own() -> None:
    blobs = MemoryBlobs()
    table = passed_on(DataFrame(large()), blobs)
    view = table.select(["c", "a"])
    assert dumps(view, blobs).blobs == dumps(table, blobs).blobs
    assert passed_on(view, blobs).to_arrow() == large().select(["c", "a"])
    assert digest(view) == digest(DataFrame(large().select(["c", "a"])))


def test_a_column_that_is_not_there_is_named() -> None:
    table = passed_on(DataFrame(small()))
    with pytest.raises(errors.ConfigurationError, match="takes a list of columns"):
        table.select("name")
    with pytest.raises(errors.ConfigurationError, match=r"no column 'nam'.*\n.*mean 'name'"):
        table.to_pandas(["nam"])
    with pytest.raises(errors.ConfigurationError, match=r"it has id, name, score"):
        DataFrame(small()).select(["zzz"])


def test_a_table_goes_to_another_store_when_it_is_passed_on_there(tmp_path: Path) -> None:
    here, there = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "there")
    table = passed_on(DataFrame(large()), here)
    assert passed_on(table, there).to_arrow() == large()


# --- Flyte's way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table])
def test_open_all_and_iter(cls: Any) -> None:
    table = passed_on(DataFrame(large(300_000)))

    async def read() -> list[Any]:
        parts = [part async for part in await table.open(cls, ["a"]).iter()]
        return [await table.open(cls).all(), *parts]

    whole, *parts = asyncio.run(read())
    assert all(isinstance(part, cls) for part in (whole, *parts))
    assert DataFrame(whole).hash == table.hash
    assert len(parts) == 3
    assert sum(DataFrame(part).num_rows for part in parts) == 300_000


def test_a_polars_query_reads_only_the_columns_and_rows_it_asks_for() -> None:
    table = passed_on(DataFrame(large(300_000)))
    asked: list[list[str]] = []
    source = table._source

    class Noting:
        schema, batches = source.schema, lambda self, names: noted(names)

    def noted(names: list[str]) -> Any:
        asked.append(list(names))
        for batch in source.batches(names):
            asked[-1].append("...")
            yield batch

    query = OPENERS["polars.LazyFrame"](Noting(), ["a", "b", "c"])
    assert asked == []
    assert query.select(pl.col("b").sum()).collect().item() == sum(range(300_000)) / 2
    assert query.head(3).select("a").collect()["a"].to_list() == [0, 1, 2]
    assert query.filter(pl.col("a") > 299_998).select("c").collect().height == 1
    assert asked[:2] == [["b", "...", "...", "..."], ["a", "..."]]
    assert query.collect_schema() == table.to_polars().schema


def test_open_as_batches_and_as_what_it_is_made_of() -> None:
    table = passed_on(DataFrame(small()))
    assert table.open(pa.RecordBatchReader).all_sync().read_all() == small()
    held = frame()
    assert DataFrame(held).to_pandas() is held
    assert DataFrame(held).open(pd.DataFrame).all_sync() is held


def test_what_cannot_be_opened_is_refused() -> None:
    with pytest.raises(errors.NotSupportedError, match=r"numpy.ndarray.*\n.*pandas.DataFrame"):
        DataFrame(small()).open(np.ndarray)


def test_flyte_names() -> None:
    assert DataFrame.wrap_df(small()).hash == DataFrame.from_df(small()).hash
    assert DataFrame.from_local_sync(small()).val is None
    assert asyncio.run(DataFrame.from_local(small())).to_arrow() == small()
    columns = OrderedDict(name=str)
    assert DataFrame.from_local_sync(small(), columns=columns).columns == ["name"]
    with pytest.raises(errors.TypeCheckError, match="no column 'nope'"):
        DataFrame.from_local_sync(small(), columns={"nope": int})


def test_options_that_have_no_meaning_here_are_refused() -> None:
    with pytest.raises(errors.NotSupportedError, match="remote_destination"):
        DataFrame.from_local_sync(small(), remote_destination="x")


def test_its_maker_may_say_what_stands_for_its_content() -> None:
    rows = HashFunction.from_fn(lambda table: f"{table.num_rows} rows")
    one = DataFrame.from_local_sync(small(), hash_method=rows)
    other = DataFrame.from_local_sync(pa.table({"a": [1, 2, 3]}), hash_method="3 rows")
    assert one.hash == other.hash == passed_on(one).hash == "3 rows"
    assert pickle.loads(pickle.dumps(one)).hash == "3 rows"
    assert digest(one) == digest(other) == digest(passed_on(one)) != digest(DataFrame(small()))
    assert digest([other]) != digest([DataFrame.from_local_sync(small(), hash_method="v2")])
    assert passed_on(other).to_arrow()["a"].to_pylist() == [1, 2, 3]
    assert other.select(["a"]).hash != other.hash  # another table


# --- files that exist -----------------------------------------------------------------------------


def write_parquet(path: Path) -> None:
    parquet.write_table(large(), path, row_group_size=10_000)


def write_arrow(path: Path) -> None:
    feather.write_feather(large(), path, compression="uncompressed")


def write_compressed(path: Path) -> None:
    feather.write_feather(large(), path, compression="zstd")


@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_compressed])
def test_a_file_is_copied_as_it_is_and_may_go(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "table"
    write(path)
    content = path.read_bytes()
    table = DataFrame.from_existing(path)
    path.unlink()
    blobs = MemoryBlobs()
    encoded = dumps(table, blobs)
    assert [bytes(blobs.get(each)) for each in encoded.blobs] == [content]
    assert encoded.digest == digest(DataFrame(large()))
    assert passed_on(table).to_arrow(["b"]) == large().select(["b"])


def test_a_file_is_found_by_its_url(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_parquet(path)
    for where in (str(path), path.as_uri()):
        table = DataFrame.from_existing_remote(where, format="parquet")
        assert table.num_rows == 50_000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "table.csv is neither a parquet nor an Arrow"),
        (b"a,b\n1,2\n", "neither a parquet nor an Arrow"),
        (b"PAR1" + bytes(100), "table.csv is a damaged parquet file"),
        (b"ARROW1" + bytes(100), "table.csv is a damaged arrow file"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(errors.ConfigurationError, match=told):
        DataFrame.from_existing(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DataFrame.from_existing(tmp_path / "nowhere")


# --- hints ----------------------------------------------------------------------------------------


def checked(hint: Any, value: Any) -> Any:
    return checker(hint)(value)


class Row(TypedDict):
    score: float
    id: int


@dataclasses.dataclass
class Record:
    id: int
    name: str


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        ({"id": int}, ["id"]),
        (OrderedDict(name=str, id=int), ["name", "id"]),
        (Row, ["score", "id"]),
        (Record, ["id", "name"]),
        (pa.schema([("name", pa.large_string())]), ["name"]),
        ({"id": Any, "score": pa.float64()}, ["id", "score"]),
    ],
)
def test_a_hint_selects_the_columns_it_names(asked: Any, columns: list[str]) -> None:
    for table in (DataFrame(small()), passed_on(DataFrame(small()))):
        found = checked(Annotated[DataFrame, asked], table)
        assert found.columns == columns
        assert found.to_arrow() == small().select(columns)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"id": int, "age": int},
            "it has no column 'age', only id: int64, name: string, score: double",
        ),
        ({"id": str}, "column 'id' is int64, not str"),
        (pa.schema([("id", pa.int8())]), "column 'id' is int64, not int8"),
        ({"name": dt.date}, "column 'name' is string, not datetime.date"),
    ],
)
def test_columns_that_do_not_match_are_named(asked: Any, told: str) -> None:
    with pytest.raises(Mismatch, match=told):
        checked(Annotated[DataFrame, asked], DataFrame(small()))


def test_a_hint_of_columns_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="which columns are"):
        checker(Annotated[DataFrame, {"id": Path}])
    with pytest.raises(errors.ConfigurationError, match="arrow, parquet"):
        checker(Annotated[DataFrame, "csv"])


def test_a_hint_chooses_the_format_of_what_is_not_stored_yet() -> None:
    assert checked(Annotated[DataFrame, PARQUET], DataFrame(small())).format == PARQUET
    stored = passed_on(DataFrame(small()))
    assert checked(Annotated[DataFrame, PARQUET], stored).format == ARROW


@pytest.mark.parametrize("make", [MAKERS["pandas"], MAKERS["polars"], small])
def test_a_table_is_taken_where_a_dataframe_is_expected(make: Any) -> None:
    found = checked(DataFrame, make())
    assert isinstance(found, DataFrame)
    assert found.to_arrow().to_pydict() == small().to_pydict()
    assert checked(list[DataFrame | None], [None, make()])[1].num_rows == 3


@pytest.mark.parametrize("cls", [pd.DataFrame, pl.DataFrame, pa.Table])
def test_a_dataframe_is_taken_where_a_table_is_expected_and_read_where_it_arrives(
    cls: Any, tmp_path: Path
) -> None:
    blobs = Watched(tmp_path)
    table = passed_on(DataFrame(large()), blobs)
    encoded = dumps(checked(dict[str, cls], {"x": table}), blobs)
    assert blobs.reads == 0
    found = loads(encoded.data, blobs)["x"]
    assert isinstance(found, cls)
    assert DataFrame(found).hash == table.hash


def test_no_other_class_is_taken_for_a_table() -> None:
    with pytest.raises(Mismatch):
        checked(DataFrame, [1, 2])
    with pytest.raises(Mismatch):
        checked(int, DataFrame(small()))


# --- wherever it is -------------------------------------------------------------------------------


class Model(BaseModel):
    table: DataFrame


class Odd:
    """Pickled."""

    def __init__(self, table: DataFrame) -> None:
        self.table = table


def test_it_stays_a_reference_wherever_it_is() -> None:
    blobs = MemoryBlobs()
    table = DataFrame(large())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = dumps([{"a": (table,)}, Model(table=table), Odd(table)], blobs)
    assert len(encoded.data) < 2000
    assert len(encoded.blobs) == 1
    inner, model, odd = loads(encoded.data, blobs)
    for found in (inner["a"][0], model.table, odd.table):
        assert found.to_arrow() == large()


def test_it_can_be_pickled() -> None:
    for table in (DataFrame(small()), DataFrame.from_local_sync(large())):
        assert pickle.loads(pickle.dumps(table)).to_arrow() == table.to_arrow()


def test_the_preview_shows_the_schema() -> None:
    data = dumps(DataFrame(small()), MemoryBlobs()).data
    assert preview(data) == (
        "DataFrame 3 rows x 3 columns (id: int64, name: string, score: double)"
    )
    opened = dumps(DataFrame(small()).open(pd.DataFrame), MemoryBlobs()).data
    assert preview(opened).startswith("DataFrame 3 rows")
    assert preview(dumps(DataFrame(pa.table({})), MemoryBlobs()).data) == (
        "DataFrame 0 rows x 0 columns"
    )


def test_a_mapped_table_has_no_private_copy(tmp_path: Path) -> None:
    table = passed_on(DataFrame(large()), LocalBlobs(tmp_path))
    array = table.to_arrow().column("a").chunk(0).to_numpy()
    assert not array.flags.writeable
    assert isinstance(table._source.file().obj, mmap.mmap)
