"""The commit is read from the repository's files, and checked against what git says."""

import subprocess

import pytest

from perdure._core.model import SourceFile
from perdure._version.repository import Commit, checked_out, uncommitted


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "a.py").write_text("A = 1\n")
    (folder / "inner" / "b.py").write_text("B = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_commit_and_branch_of_a_folder_inside(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert checked_out(str(repository / "inner")) == Commit(str(repository), head, "trunk")


def test_packed_refs_detached_heads_and_linked_trees(repository, tmp_path):
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert checked_out(str(repository)) == Commit(str(repository), head, "trunk")
    linked = tmp_path / "linked"
    git(repository, "worktree", "add", "-q", str(linked), "-b", "side/branch")
    assert checked_out(str(linked)) == Commit(str(linked), head, "side/branch")
    git(repository, "checkout", "-q", "--detach")
    assert checked_out(str(repository)) == Commit(str(repository), head, "")


def test_where_there_is_no_commit_nothing_is_said(tmp_path):
    assert checked_out(str(tmp_path)) is None
    git(tmp_path, "init", "-q")
    assert checked_out(str(tmp_path)) is None
    (tmp_path / ".git" / "HEAD").unlink()
    assert checked_out(str(tmp_path)) is None


def test_files_that_differ_from_the_commit_are_named(repository, tmp_path):
    texts = {b"1": b"A = 1\n", b"2": b"B = 2\n", b"3": b"NEW = 1\n", b"4": b""}
    files = [
        SourceFile(str(repository / "a.py"), b"1"),
        SourceFile(str(repository / "inner" / "b.py"), b"2"),
        SourceFile(str(repository / "new.py"), b"3"),
        SourceFile(str(tmp_path / "elsewhere.py"), b"4"),
    ]
    commit = git(repository, "rev-parse", "HEAD")
    found = uncommitted(str(repository), commit, files, texts.__getitem__)
    assert found == ["inner/b.py", "new.py"]
    assert uncommitted(str(repository), commit, files[:1], texts.__getitem__) == []
    assert uncommitted(str(repository), "0" * 40, files, texts.__getitem__) is None
    assert uncommitted("", "", files, texts.__getitem__) == []


def test_without_git_nothing_is_known(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    commit = checked_out(str(repository))
    files = [SourceFile(str(repository / "a.py"), b"")]
    assert uncommitted(commit.repository, commit.commit, files, lambda blob: b"") is None
