"""Dir: all the files of a folder, known by their paths and contents."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.errors import ConfigurationError, FileMissingError, NotSupportedError
from perdure.io import Dir, EmptyDir, File
from storage.server import Bucket

TREE = {"a.txt": b"a", "b.csv": b"b", "sub/c.txt": b"c", "sub/deep/d.txt": b"a"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")


def grow(folder: Path, tree: dict[str, bytes]) -> Path:
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def tree_of(folder: str | Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Dir:
    return Dir.from_local_sync(grow(tmp_path / "data", TREE))


def test_the_original_may_go(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as original:
        made = Dir.from_local_sync(grow(Path(original), TREE))
    assert made.paths == tuple(sorted(TREE))
    assert tree_of(made.download_sync()) == TREE
    assert made.exists_sync()


def test_it_is_walked_in_order_and_to_a_depth(folder: Dir) -> None:
    assert [file.name for file in folder.walk_sync()] == ["a.txt", "b.csv", "c.txt", "d.txt"]
    assert [file.name for file in folder.walk_sync(recursive=False)] == ["a.txt", "b.csv"]
    assert [file.name for file in folder.walk_sync(max_depth=2)] == ["a.txt", "b.csv", "c.txt"]
    assert [file.name for file in folder.walk_sync(file_pattern="*.csv")] == ["b.csv"]
    assert [file.name for file in folder.list_files_sync()] == ["a.txt", "b.csv"]
    assert folder.size == 4


def test_every_method_has_an_awaitable_form(tmp_path: Path) -> None:
    asyncio.run(use_all(tmp_path))


async def use_all(tmp_path: Path) -> None:
    folder = await Dir.from_local(grow(tmp_path / "data", TREE))
    assert [file.name async for file in folder.walk()] == ["a.txt", "b.csv", "c.txt", "d.txt"]
    assert [file.name async for file in folder.walk(recursive=False)] == ["a.txt", "b.csv"]
    assert len(await folder.list_files()) == 2
    file = await folder.get_file("sub/c.txt")
    assert file is not None
    async with file.open() as handle:
        assert await handle.read() == b"c"
    assert tree_of(await folder.download(tmp_path / "copy")) == TREE
    assert await folder.exists()


def test_a_file_of_it_is_a_file(folder: Dir, tmp_path: Path) -> None:
    file = folder.get_file_sync("sub/deep/d.txt")
    assert file is not None
    (tmp_path / "same").write_bytes(b"a")
    assert file == File.from_local_sync(tmp_path / "same")
    assert file.name == "d.txt"
    assert folder.get_file_sync("missing") is None


def test_a_folder_does_not_take_the_place_of_a_file(folder: Dir, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="there is a file"):
        folder.download_sync(tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"mine"


def test_a_download_adds_to_what_is_there(folder: Dir, tmp_path: Path) -> None:
    target = grow(tmp_path / "copy", {"kept": b"k", "a.txt": b"old"})
    assert folder.download_sync(target) == str(target)
    assert tree_of(target) == TREE | {"kept": b"k"}


def test_p5_equal_trees_are_equal_wherever_they_were(tmp_path: Path, folder: Dir) -> None:
    other = Dir.from_local_sync(grow(tmp_path / "elsewhere", dict(reversed(TREE.items()))))
    assert other == folder
    assert hash(other) == hash(folder)
    for change in ({"a.txt": b"x"}, {"new": b""}):
        assert Dir.from_local_sync(grow(tmp_path / "elsewhere", change)) != folder
    renamed = Dir.from_local_sync(grow(tmp_path / "r", {"z": b"a"}))
    assert renamed != Dir.from_local_sync(grow(tmp_path / "s", {"y": b"a"}))


_NAMES = st.text("ab.\u00fc ", min_size=1, max_size=3).filter(lambda name: name.strip(". ") != "")
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


@given(tree=st.dictionaries(_PATHS, st.binary(max_size=20), max_size=6))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_downloaded_is_what_was_there(tree: dict[str, bytes]) -> None:
    folders = {str(parent) for path in tree for parent in Path(path).parents}
    tree = {path: content for path, content in tree.items() if path not in folders}
    with tempfile.TemporaryDirectory() as place:
        original = grow(Path(place, "original"), tree)
        original.mkdir(exist_ok=True)
        made = Dir.from_local_sync(original)
        assert made.paths == tuple(sorted(tree))
        assert tree_of(made.download_sync(Path(place, "copy"))) == tree


def test_an_empty_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for empty in (Dir.empty(), EmptyDir(), Dir.from_local_sync(tmp_path / "empty")):
        assert empty.is_empty
        assert empty == Dir.empty()
        assert [*empty.walk_sync()] == []
        assert tree_of(empty.download_sync()) == {}
        assert empty.exists_sync()


def test_objects_below_a_url_are_a_folder(bucket: Bucket, folder: Dir, tmp_path: Path) -> None:
    for path, content in TREE.items():
        bucket.place(f"some/data/{path}", content)
    bucket.place("some/database", b"another")
    found = Dir.from_existing_remote(f"{bucket}/some/data/")
    assert found.path == f"{bucket}/some/data"
    assert found == folder
    assert found.name == "data"
    Dir.from_local_sync(tmp_path / "data", f"{bucket}/copy")
    assert Dir.from_existing(f"{bucket}/copy") == folder


def test_a_hash_of_its_maker_stands_for_the_content(tmp_path: Path) -> None:
    one, other = grow(tmp_path / "one", {"a": b"1"}), grow(tmp_path / "other", {"a": b"2"})
    assert Dir.from_local_sync(one, dir_cache_key="v1") == Dir.from_existing(str(other), "v1")


# --- bad input ------------------------------------------------------------------------------------


def test_missing_folders_are_named(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(FileMissingError, match=r"there is no .*/missing"):
        Dir.from_local_sync(tmp_path / "missing")
    missing = Dir.from_existing(f"{bucket}/missing")
    assert not missing.exists_sync()
    with pytest.raises(FileMissingError, match=f"nothing below {bucket}/missing"):
        missing.download_sync()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="not a folder"):
        Dir.from_local_sync(tmp_path / "file")


def test_something_unreadable_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileMissingError, match="data/broken"):
        Dir.from_local_sync(tmp_path / "data")
    (tmp_path / "data" / "broken").unlink()
    os.mkfifo(tmp_path / "data" / "pipe")
    with pytest.raises(ConfigurationError, match="data/pipe is no regular file"):
        Dir.from_local_sync(tmp_path / "data")


@pytest.mark.parametrize("path", ["../a.txt", "/etc/passwd", "sub/../../a"])
def test_paths_that_lead_out_are_refused(folder: Dir, path: str) -> None:
    with pytest.raises(ConfigurationError, match="leads out"):
        folder.get_file_sync(path)


def test_a_forged_folder_cannot_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    digest = bytes.fromhex(File.from_local_sync(tmp_path / "x").digest)
    forged = Dir._restored((("../evil", digest, 1),), ("", "", None), None)
    with pytest.raises(ConfigurationError, match="leads out"):
        forged.download_sync(tmp_path / "target")
    assert not (tmp_path / "evil").exists()


def test_what_has_no_meaning_is_refused_by_name(folder: Dir, tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="new_remote"):
        Dir.new_remote("out")
    with pytest.raises(NotSupportedError, match="batch_size"):
        Dir.from_local_sync(tmp_path, batch_size=3)


def test_its_path_is_a_local_folder_with_its_files(folder: Dir, tmp_path: Path) -> None:
    assert tree_of(folder.path) == TREE
    assert folder.path == folder.path
    assert Dir.from_existing(folder.path) == folder
    assert list(Path(Dir.empty().path).iterdir()) == []


def test_the_path_of_a_folder_in_a_bucket_is_local(
    folder: Dir, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_STORAGE", f"{bucket}/store")
    stored = Dir.from_local_sync(grow(tmp_path / "more", TREE))
    assert tree_of(stored.path) == TREE
