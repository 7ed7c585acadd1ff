"""Saves a checkpoint again and again, dying one step later each time; prints what was there then.

The steps are the events that the interpreter audits: files opened, renamed, removed.
"""

import json
import os
import signal
import sys
from pathlib import Path

from perdure._api.checkpoint import Checkpoint

STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir"}


def die_at(step: int, folder: Path) -> None:
    """Have this process killed at that step inside the folder."""
    left = step

    def look(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS and str(folder) in str(args[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def tree(folder: Path, content: str) -> Path:
    """Return a folder with some files of that content."""
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / str(number)).write_text(content)
    return folder


def content(kept: object) -> str:
    """Return what a checkpoint that was loaded holds, if it is whole."""
    if isinstance(kept, bytes):
        return kept.decode()
    assert isinstance(kept, Path)
    parts = [path.read_text() for path in kept.iterdir()]
    return parts[0] if len(parts) == 3 and len(set(parts)) == 1 else f"mixed: {parts}"


def killed_everywhere(folder: Path, before: "bytes | Path", after: "bytes | Path") -> list[str]:
    """Return what is loaded after a kill at step 0, 1, ... until a save ends unharmed."""
    found = []
    while True:
        home = folder / str(len(found))
        Checkpoint(home, sync=True).save(before)
        child = os.fork()
        if not child:
            die_at(len(found), home)
            Checkpoint(home, sync=True).save(after)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found.append(content(Checkpoint(home, sync=True).load()))
        if not status:
            return found


if __name__ == "__main__":
    base = Path(sys.argv[1])
    trees = (tree(base / "sources" / "one", "before"), tree(base / "sources" / "two", "after"))
    json.dump(
        {
            "bytes": killed_everywhere(base / "bytes", b"before", b"after"),
            "trees": killed_everywhere(base / "trees", *trees),
        },
        sys.stdout,
    )
