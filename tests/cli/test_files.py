"""Files on the command line: a path is copied into storage and becomes a File."""

import dataclasses
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import checker, dumps, loads
from perdure.cli.hints import reader
from perdure.io import DataFrame, Dir, File
from storage.server import Bucket


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(b"content")
    return tmp_path


@dataclasses.dataclass
class Job:
    table: File
    name: str = ""


class Model(BaseModel):
    table: File


def test_a_path_becomes_a_file_and_a_folder_a_dir() -> None:
    file = reader(File).parse("data/a.csv")
    Path("data/a.csv").unlink()
    assert isinstance(file, File)
    with file.open_sync() as handle:
        assert handle.read() == b"content"
    assert isinstance(reader(Dir[str]).parse("data"), Dir)


def test_a_url_becomes_a_file(bucket: Bucket) -> None:
    bucket.place("a.csv", b"content")
    assert reader(File).parse(f"{bucket}/a.csv") == reader(File).parse("data/a.csv")


def test_a_table_is_found_by_its_path_or_url(bucket: Bucket) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), "a.parquet")
    bucket.place("a.parquet", Path("a.parquet").read_bytes())
    for where in ("a.parquet", f"{bucket}/a.parquet"):
        table = reader(DataFrame).parse(where)
        assert isinstance(table, DataFrame)
        assert table.to_arrow().to_pydict() == {"a": [1, 2]}
    with pytest.raises(ValueError, match="neither a parquet"):
        reader(DataFrame).parse("data/a.csv")


@pytest.mark.parametrize("cls", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table])
def test_a_table_of_any_library_is_found_by_its_path(cls: type) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), "a.parquet")
    found = reader(cls).parse("a.parquet")
    assert isinstance(found, DataFrame)  # read where it is used
    assert isinstance(loads(dumps(checker(cls)(found), MemoryBlobs()).data, MemoryBlobs()), cls)
    (listed,) = reader(list[cls]).parse('["a.parquet"]')  # type: ignore[valid-type, misc]
    assert isinstance(listed, cls)
    with pytest.raises(ValueError, match=r"b\.parquet"):
        reader(cls).parse("b.parquet")


def test_they_are_read_inside_of_json() -> None:
    file = reader(File).parse("data/a.csv")
    assert reader(list[File]).parse('["data/a.csv", "data/a.csv"]') == [file, file]
    assert reader(File[str] | None).parse("null") is None
    assert reader(File | None).parse("data/a.csv") == file
    assert reader(Job).parse('{"table": "data/a.csv"}') == Job(file)
    assert reader(Model).parse('{"table": "data/a.csv"}') == Model(table=file)


@pytest.mark.parametrize(
    ("hint", "text", "said"),
    [
        (File, "missing.csv", "there is no .*/missing.csv"),
        (Dir, "missing", "there is no"),
        (File, "ftp://host/a", "unknown scheme"),
        (File, "data", "folder"),
        (Dir, "data/a.csv", "not a folder"),
        (list[File], '["missing.csv"]', "there is no .*/missing.csv"),
    ],
)
def test_what_is_not_there_is_said_at_once(hint: object, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reader(hint).parse(text)


def test_help_says_what_is_wanted() -> None:
    assert reader(File).shown == "FILE"
    assert reader(Dir).shown == "FOLDER"
    assert reader(DataFrame).shown == "TABLE"
