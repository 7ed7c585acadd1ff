"""Runs come and go, share blobs, and are collected all the time, by collectors that are killed."""

import subprocess
import sys
from pathlib import Path

from homes import Home, dangling, strays

PROGRAM = Path(__file__).with_name("storm.py")


def start(role: str, home: Path, number: int = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, str(PROGRAM), role, str(home), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_no_reference_ever_dangles(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    writers = [start("write", home.config.home, number) for number in range(2)]
    removed = killed = 0
    while any(writer.poll() is None for writer in writers):
        with start("collect", home.config.home) as collector:
            assert collector.stdout is not None
            for line in collector.stdout:
                removed += int(line)
                if int(line) == 0:
                    continue
                collector.kill()
                killed += 1
                break
    assert [writer.communicate()[0] for writer in writers] == ["60\n"] * 2
    assert removed > 0
    assert killed > 0
    assert dangling(home.config) == []
    assert strays(home.config) == []
    home.close()
