"""Files and folders as values: nested anywhere, checked, stored with what holds them."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

import perdure
from perdure._blobs.local import LocalBlobs
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import checker, dumps, loads, preview, to_json
from perdure._serde.typecheck import Mismatch
from perdure.errors import SerializationError
from perdure.io import Dir, File


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    return tmp_path / "home"


@pytest.fixture
def blobs(home: Path) -> LocalBlobs:
    return LocalBlobs(home / "blobs")


@pytest.fixture
def file(tmp_path: Path) -> File:
    (tmp_path / "data.csv").write_bytes(b"content")
    return File.from_local_sync(tmp_path / "data.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Dir:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"a")
    (tmp_path / "data" / "b").write_bytes(b"b")
    return Dir.from_local_sync(tmp_path / "data")


@dataclasses.dataclass
class Record:
    file: File
    maybe: Dir | None = None


class Model(BaseModel):
    file: File[str]
    files: list[File] = []
    folder: Dir | None = None


class Struct(msgspec.Struct):
    file: File


class Pair(NamedTuple):
    file: File
    folder: Dir


class Opaque:
    """Only pickle knows what is in it."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __reduce__(self) -> tuple[Any, ...]:
        return (Opaque, (self.inner,))


NESTS = {
    "itself": lambda file, folder: file,
    "folder": lambda file, folder: folder,
    "list": lambda file, folder: [file, None, folder],
    "dict": lambda file, folder: {"a": file, "b": {"c": folder}},
    "tuple": lambda file, folder: (file, (folder,)),
    "set": lambda file, folder: {file},
    "dataclass": Record,
    "model": lambda file, folder: Model(file=file, files=[file], folder=folder),
    "struct": lambda file, folder: Struct(file),
    "named tuple": Pair,
}


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_they_nest_anywhere_and_name_their_blobs(
    nest: Any, file: File, folder: Dir, blobs: LocalBlobs
) -> None:
    value = nest(file, folder)
    encoded = dumps(value, blobs)
    assert loads(encoded.data, blobs) == value
    held = {bytes.fromhex(file.digest)} if "<File" in repr(value) else set()
    if "<Dir" in repr(value):
        held |= {digest for _, digest, _ in folder._stored()}
    assert set(encoded.blobs) == held != set()


@pytest.mark.filterwarnings("ignore::perdure.PickledValueWarning")
def test_inside_pickles_they_stay_references(file: File, folder: Dir, blobs: LocalBlobs) -> None:
    encoded = dumps(Opaque([file, folder]), blobs)
    assert len(set(encoded.blobs)) == 3
    assert loads(encoded.data, blobs).inner == [file, folder]


def test_labels_arrive(tmp_path: Path, file: File, blobs: LocalBlobs) -> None:
    labelled = File(tmp_path / "data.csv", name="table", format="csv", hash="v1")
    found = loads(dumps(labelled, blobs).data, blobs)
    assert (found.name, found.format, found.hash) == ("table", "csv", "v1")
    assert found.digest == file.digest


def test_p5_names_are_labels_and_content_counts(tmp_path: Path, blobs: LocalBlobs) -> None:
    def digest(content: bytes, name: str, **labels: str) -> bytes:
        (tmp_path / name).write_bytes(content)
        return dumps([File(tmp_path / name, **labels)], blobs).digest

    one = digest(b"content", "one")
    assert one == digest(b"content", "other", format="csv")
    assert one != digest(b"else", "one")
    assert one != digest(b"content", "one", hash="v1")
    assert digest(b"1", "one", hash="v1") == digest(b"2", "one", hash="v1")


def test_p5_of_a_folder_the_paths_and_contents_count(folder: Dir, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    again = Dir(tmp_path / "data", name="other")
    assert dumps(again, blobs).digest == dumps(folder, blobs).digest
    (tmp_path / "data" / "a").rename(tmp_path / "data" / "c")
    assert dumps(Dir(tmp_path / "data"), blobs).digest != dumps(folder, blobs).digest


def test_p5_digests_are_equal_in_every_process(tmp_path: Path, file: File, folder: Dir) -> None:
    code = f"""
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps
from perdure.io import Dir, File
value = {{"file": File({str(tmp_path / "data.csv")!r}), "set": {{Dir({str(tmp_path / "data")!r})}}}}
print(dumps(value, MemoryBlobs()).digest.hex())
"""
    expected = dumps({"set": {folder}, "file": file}, MemoryBlobs()).digest.hex()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_what_is_stored_elsewhere_is_stored_with_the_value(file: File, folder: Dir) -> None:
    blobs = MemoryBlobs()
    encoded = dumps([file, folder], blobs)
    assert all(blobs.has(digest) for digest in encoded.blobs)
    found, _ = loads(encoded.data, blobs)
    with found.open_sync() as handle:
        assert handle.read() == b"content"


def test_a_folder_of_many_files_spills_like_any_large_value(
    tmp_path: Path, blobs: LocalBlobs
) -> None:
    (tmp_path / "many").mkdir()
    for i in range(1700):
        (tmp_path / "many" / f"{i:04}").write_bytes(b"%d" % (i % 7))
    folder = Dir.from_local_sync(tmp_path / "many")
    encoded = dumps(folder, blobs)
    assert len(encoded.data) < 1000
    assert len(encoded.blobs) == 8  # seven contents, and the list of files
    assert loads(encoded.data, blobs) == folder


def test_what_was_never_written_cannot_be_passed(blobs: LocalBlobs) -> None:
    with pytest.raises(SerializationError, match="nothing has been written to the file 'out'"):
        dumps({"a": [File.new("out")]}, blobs)


def test_they_survive_plain_pickle(file: File, folder: Dir) -> None:
    for value in (file, folder):
        found = pickle.loads(pickle.dumps(value))
        assert found == value
        assert found.exists_sync()


# --- hints ----------------------------------------------------------------------------------------


def test_hints_check_them(file: File, folder: Dir) -> None:
    for hint, value in [
        (File, file), (File[str], file), (Dir[bytes], folder), (list[File], [file]),
        (File | None, None), (dict[str, Dir], {"a": folder}),
    ]:  # fmt: skip
        assert checker(hint)(value) is value


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (File, "data.csv", r"expected perdure.io.File, got str 'data.csv' \(write File.from_"),
        (Dir, "data", r"expected perdure.io.Dir, got str 'data' \(write Dir.from_local_sync"),
        (list[File], ["a"], r"\[0\]: expected perdure.io.File"),
    ],
)
def test_a_path_is_no_file_and_the_error_says_how_to_make_one(
    hint: Any, value: Any, said: str
) -> None:
    with pytest.raises(Mismatch, match=said):
        checker(hint)(value)


def test_a_folder_is_no_file(folder: Dir) -> None:
    with pytest.raises(Mismatch, match=r"expected perdure\.io\.File, got perdure\.io\.Dir"):
        checker(File)(folder)


def test_models_take_paths_and_write_them(tmp_path: Path, file: File) -> None:
    model = Model.model_validate({"file": str(tmp_path / "data.csv"), "files": [file]})
    assert model.file == file
    written = json.loads(model.model_dump_json())
    assert Path(written["file"]).read_bytes() == b"content"
    assert Model.model_validate(written) == model
    assert Model.model_json_schema()["properties"]["file"]["type"] == "string"
    with pytest.raises(ValidationError, match="expected File or its path, got int"):
        Model.model_validate({"file": 3})


# --- pictures -------------------------------------------------------------------------------------


def test_they_are_shown_by_name_and_size(file: File, folder: Dir, blobs: LocalBlobs) -> None:
    data = dumps([file, folder], blobs).data
    short = file.digest[:12]
    assert preview(data) == (
        f"[File(name='data.csv', size=7 bytes, digest={short}), "
        "Dir(name='data', files=2, size=2 bytes)]"
    )
    assert to_json(data) == [
        {"$type": "File", "name": "data.csv", "size": "7 bytes", "digest": short},
        {"$type": "Dir", "name": "data", "files": 2, "size": "2 bytes"},
    ]


def test_the_module_is_there_without_importing_it() -> None:
    assert perdure.io.File is File
    code = "import perdure; print(perdure.io.File.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "File\n"
