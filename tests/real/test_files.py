"""Files between real workers, in a folder and in a bucket; and kill -9 while they are stored."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3

import perdure
from perdure._blobs.opening import open_blobs
from perdure._embedded import Runtime
from perdure._journal.rows import decode_digests
from perdure.io import File
from real.processes import descendants, kill, wait_gone
from real.programs import files
from storage.server import Bucket, Faults

PROGRAM = Path(files.__file__)
SECONDS = 60


def start(home: Path, storage: str, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *(command or (str(PROGRAM),))],
        env=os.environ | {
            "PERDURE_HOME": str(home), "PERDURE_STORAGE": storage,
            "PERDURE_DURABILITY": "process",
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    return said.strip()


def referred(home: Path) -> set[bytes]:
    """Return the digests of all blobs that the journal refers to."""
    with closing(sqlite3.connect(home / "journal.db")) as db:
        rows = db.execute("SELECT blobs, value_blobs FROM actions").fetchall()
    return {digest for row in rows for column in row for digest in decode_digests(column)}


def test_files_pass_between_sync_and_async_tasks(runtime: Runtime) -> None:
    assert perdure.run(files.main).result(timeout=SECONDS) == files.RESULT


def test_a_file_of_the_driver_reaches_a_task_and_its_download_goes_with_the_attempt(
    runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("content")
    file = File.from_local_sync(tmp_path / "words.txt")
    (tmp_path / "words.txt").unlink()
    path, content = perdure.run(files.downloads, file).result(timeout=SECONDS)
    assert content == "content"
    assert Path(path).name == "words.txt"
    assert not Path(path).parent.parent.exists()


def test_a_path_on_the_command_line_becomes_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("quiet")
    command = ("-m", "perdure", "run", str(PROGRAM), "shout", "--json", "--file")
    said = finish(start(tmp_path / "home", "", *command, str(tmp_path / "words.txt")))
    assert "QUIET" in said
    missing = start(tmp_path / "home", "", *command, str(tmp_path / "missing"))
    assert "there is no" in missing.communicate(timeout=SECONDS)[0]
    assert missing.returncode == 2


def test_a_run_stores_in_a_bucket_and_another_machine_reads_from_it(
    bucket: Bucket, tmp_path: Path
) -> None:
    assert finish(start(tmp_path / "home", f"{bucket}/runs")).endswith(str(files.RESULT))
    digests = referred(tmp_path / "home")
    there = open_blobs(tmp_path / "elsewhere", f"{bucket}/runs")
    assert len(digests) > files.PARTS
    assert all(blake3(there.get(digest)).digest() == digest for digest in digests)


def test_wrong_settings_are_said_before_anything_runs(tmp_path: Path) -> None:
    process = start(tmp_path / "home", "ftp://host/path", "-m", "perdure", "ls")
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "unknown scheme ftp://" in said


@pytest.mark.parametrize(
    ("uploads", "moment"), [(1, "hold after"), (4, "hold before"), (8, "hold after")]
)
def test_p1_killed_while_storing_no_outcome_refers_to_what_is_not_there(
    bucket: Bucket, faults: Faults, tmp_path: Path, uploads: int, moment: str
) -> None:
    home = tmp_path / "home"
    faults.plan = [("PUT", "")] * uploads + [("PUT", moment)]
    process = start(home, f"{bucket}/runs")
    assert faults.reached.wait(SECONDS)
    victims = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    for victim in victims:
        kill(victim)
    process.communicate()
    assert wait_gone(victims) == []
    faults.go_on.set()
    if (home / "journal.db").exists():
        for digest in referred(home):
            assert blake3(bucket.content(key(digest))).digest() == digest
    assert finish(start(home, f"{bucket}/runs")).endswith(str(files.RESULT))
    for digest in referred(home):
        assert blake3(bucket.content(key(digest))).digest() == digest


def key(digest: bytes) -> str:
    return f"runs/{digest.hex()[:2]}/{digest.hex()[2:]}"
