"""``perdure gc``, ``perdure du`` and ``perdure report`` on real runs."""

import os
import sqlite3
import time
from contextlib import closing

TASKS = """
import perdure

env = perdure.TaskEnvironment("large")


@env.task
def child(size: int) -> bytes:
    return bytes(size)


@env.task
def main(size: int) -> int:
    perdure.report.log("<p>done</p>")
    return len(child(size))
"""


def grow_old(home, *names):
    """Make runs, and all files, look as if they had been for 40 days."""
    at = time.time() - 40 * 86_400
    with closing(sqlite3.connect(home / "journal.db")) as db, db:
        marks = ", ".join("?" * len(names))
        query = f"UPDATE runs SET created = ?, ended = ? WHERE name IN ({marks})"
        db.execute(query, (at, at, *names))
    for path in home.rglob("*"):
        os.utime(path, (at, at))


def test_old_runs_are_removed_and_others_stay_whole(cli, home, tmp_path):
    tasks = tmp_path / "tasks.py"
    tasks.write_text(TASKS)
    for name, size in (("old", 200_000), ("new", 300_000)):
        cli("run", tasks, "main", "--size", size, "--name", name)
    grow_old(home, "old")
    used = cli.json("du")
    assert used["total"] == sum(used["parts"].values())
    assert [each["name"] for each in used["runs"]] == ["new", "old"]
    assert "new" in cli("du").stdout

    told = cli.json("gc", "--older-than", "30d", "--dry-run")
    assert told["dry_run"] is True
    assert "would be removed: 1 runs" in cli("gc", "--dry-run").stdout
    assert [each["name"] for each in cli.json("ls")] == ["new", "old"]

    done = cli.json("gc", "--older-than", "30d")
    assert done == told | {"dry_run": False}
    assert [each["name"] for each in done["runs"]] == ["old"]
    assert done["blobs"]["bytes"] >= 200_000
    assert done["reports"]["count"] == 1
    assert [each["name"] for each in cli.json("ls")] == ["new"]
    assert cli.json("show", "new", 2)["phase"] == "succeeded"
    cli("rerun", "new")
    cli("show", "old", code=3)
    assert cli("gc").stdout.startswith("removed: 0 runs")
    cli("run", tasks, "main", "--size", 200_000, "--name", "old")


def test_an_age_that_makes_no_sense_is_wrong_usage(cli):
    assert "30d" in cli("gc", "--older-than", "soon", code=2).stderr
    assert cli.json("gc", "--older-than", "soon", code=2)["error"] == "ConfigurationError"


def test_an_empty_home_needs_no_housekeeping(cli, home):
    assert cli("gc").stdout == "removed: 0 runs; 0 B\n"
    assert cli.json("du")["total"] == 0
    assert not home.exists()


def test_reports_are_found(cli, tmp_path):
    tasks = tmp_path / "tasks.py"
    tasks.write_text(TASKS)
    cli("run", tasks, "main", "--size", 1, "--name", "run")
    (found,) = cli.json("report", "run")
    assert (found["action"], found["task"]) == (1, "large.main")
    assert cli("report", "run", 1).stdout.strip() == found["path"]
    cli("report", "run", 2, code=3)
    cli("report", "unknown", code=3)
    assert cli.json("show", "run")["reports"] == [found]
    assert cli.json("show", "run", 1)["report"] == found["path"]
