"""Collects again and again in copies of one home, dying one step later each time.

A step is what changes something: a statement of the database, a file that is renamed or removed.
Prints how many there were, and everything that was wrong after a death or after the collection that
followed.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from homes import DAY, Home, dangling, grow_old, strays

from perdure._housekeeping import collector
from perdure._journal.sqlite import SqliteJournal
from perdure.config import Config

AGE = 30 * DAY
FILES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


class Steps:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, fatal: int) -> None:
        self._left = fatal

    def step(self) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Connection:
    """A connection that makes a step before each statement that changes something."""

    def __init__(self, db: Any, steps: Steps) -> None:
        self._db, self._steps = db, steps

    def execute(self, *arguments: Any) -> Any:
        if not arguments[0].startswith(("SELECT", "PRAGMA")):
            self._steps.step()
        return self._db.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def make(folder: Path) -> None:
    """Make a home with runs to remove and to keep."""
    home = Home(folder)
    home.run("first", 50, contents=["a", "b", "c", "d", "shared"], actions=5)
    home.run("kept", 1, contents=["shared", "own"])
    home.run("newest", 40, contents=["g"])
    home.put("garbage")
    home.grow_old()
    home.close()


def collect(config: Config, fatal: int) -> bool:
    """Collect in a child that dies at that step; return whether it was done before."""
    child = os.fork()
    if not child:
        steps = Steps(fatal)
        opened = collector.open_journal
        collector.open_journal = lambda *args: Connection(opened(*args), steps)
        sys.addaudithook(lambda event, _: steps.step() if event in FILES else None)
        collector.collect(config, AGE)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0


def problems(config: Config) -> list[str]:
    """Return what is wrong in a home after a crash, whether or not the collection went on."""
    found = [f"dangling {digest.hex()}" for digest in dangling(config)]
    found += strays(config)
    journal = SqliteJournal(config.journal, "process")
    for name in ("first", "newest"):
        row = journal.load_run(name)
        if row is not None and journal.last_seq(row.key) != (5 if name == "first" else 1):
            found.append(f"{name} is half there")
        if row is None and (config.checkpoints / name).exists():
            found.append(f"a run called {name} would find an old checkpoint")
    if journal.load_run("kept") is None or not (config.checkpoints / "kept").exists():
        found.append("kept is gone")
    journal.close()
    return found


def unfinished(config: Config) -> list[str]:
    """Return what a whole collection should have removed."""
    home = Home(config.home)
    found = [f"left: {name}" for name in home.names() - {"kept"}]
    found += [f"left: {content}" for content in home.contents() - {"shared", "own"}]
    found += [f"left: {name}" for name in home.files(config.checkpoints) - {"kept"}]
    found += [f"left: {name}" for name in home.files(config.reports) - {"kept"}]
    found += [f"{len(home.files(config.logs))} logs"] if len(home.files(config.logs)) != 2 else []
    home.close()
    return found


def die_everywhere(base: Path) -> dict[str, Any]:
    make(base / "original")
    wrong: list[str] = []
    step, done = 0, False
    while not done:
        config = Config(home=base / "copy", durability="process")
        shutil.copytree(base / "original", config.home)
        grow_old(config.home)  # reading it to copy it has made it fresh
        done = collect(config, step)
        wrong += [f"step {step}: {each}" for each in problems(config)]
        collector.collect(config, AGE)
        wrong += [f"after step {step}: {each}" for each in problems(config) + unfinished(config)]
        shutil.rmtree(config.home)
        step += 1
    return {"steps": step, "problems": wrong}


if __name__ == "__main__":
    json.dump(die_everywhere(Path(sys.argv[1])), sys.stdout)
