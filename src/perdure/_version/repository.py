"""The commit that is checked out, and which files of a run are not as it has them.

At the start of a run the commit is read from the files of the repository, which takes microseconds
and no ``git``. Which files differed from it then is found when somebody asks: the run has their
text, and git has that of the commit.
"""

import subprocess
from collections.abc import Callable, Sequence
from hashlib import sha1, sha256
from pathlib import Path
from typing import NamedTuple

from perdure._core.model import SourceFile

_SECONDS = 5.0


class Commit(NamedTuple):
    """What is checked out.

    Attributes:
        repository: The folder of the working tree.
        commit: Its name in hex.
        branch: The branch, "" if none is checked out.
    """

    repository: str
    commit: str
    branch: str


def checked_out(folder: str) -> Commit | None:
    """Return the commit that is checked out where ``folder`` is, None outside of repositories."""
    try:
        for parent in (Path(folder), *Path(folder).parents):
            if (parent / ".git").exists():
                return _read(parent)
    except (OSError, ValueError):  # not readable, or not what git writes
        return None
    return None


def _read(tree: Path) -> Commit | None:
    git = tree / ".git"
    if git.is_file():  # a linked working tree or a submodule
        git = tree / git.read_text().partition("gitdir:")[2].strip()
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return Commit(str(tree), head, "")
    ref = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    common = git / shared.read_text().strip() if shared.is_file() else git
    commit = _resolve(git, ref) or _resolve(common, ref) or _packed(common, ref)
    return Commit(str(tree), commit, ref.removeprefix("refs/heads/")) if commit else None


def _resolve(git: Path, ref: str) -> str:
    path = git / ref
    return path.read_text().strip() if path.is_file() else ""


def _packed(git: Path, ref: str) -> str:
    path = git / "packed-refs"
    for line in path.read_text().splitlines() if path.is_file() else ():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return ""


def uncommitted(
    repository: str,
    commit: str,
    files: Sequence[SourceFile],
    text_of: Callable[[bytes], bytes | memoryview],
) -> list[str] | None:
    """Return the files, by path in the repository, whose text was not that of the commit.

    Args:
        repository: Folder of the working tree.
        commit: The commit.
        files: Files of the run; those outside of the repository are left out.
        text_of: Gives the text of a blob.

    Returns:
        None if git cannot tell: it is not installed, or the commit is not there any more.
    """
    if not commit:
        return []
    inside = {
        Path(file.path).relative_to(repository).as_posix(): file.blob
        for file in files
        if Path(file.path).is_relative_to(repository)
    }
    if not inside:
        return []
    committed = _ls_tree(repository, commit, list(inside))
    if committed is None:
        return None
    return [
        path
        for path, blob in inside.items()
        if committed.get(path) != _git_digest(text_of(blob), committed.get(path, ""))
    ]


def _ls_tree(repository: str, commit: str, paths: list[str]) -> dict[str, str] | None:
    command = ["git", "-C", repository, "ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    found = {}
    for entry in done.stdout.decode(errors="surrogateescape").split("\0"):
        about, _, path = entry.partition("\t")
        if path:
            found[path] = about.split()[2]
    return found


def _git_digest(text: bytes | memoryview, like: str) -> str:
    """Return the name git gives to a file, in the kind of digest that the repository uses."""
    hasher = sha256() if len(like) == 64 else sha1(usedforsecurity=False)
    hasher.update(b"blob %d\0" % len(text))
    hasher.update(text)
    return hasher.hexdigest()
