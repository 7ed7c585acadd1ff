"""A rerun uses the code that its run recorded, whatever has become of the working tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.client import link
from perdure.client.attaching import CodeChangedWarning, EnvironmentChangedWarning
from perdure.client.rerunning import rerun
from perdure.client.running import run, with_runcontext
from perdure.errors import BlobMissingError, ConfigurationError

FLOW = """
import enum
import json
from dataclasses import dataclass
from pathlib import Path

import perdure
from tools import scale

env = perdure.TaskEnvironment("flow")


class Kind(enum.Enum):
    OLD = "old"


@dataclass
class Config:
    rate: int = 2


@env.task
def step(x: int, config: Config) -> int:
    from tools.late import shift

    return scale(x, config.rate) + shift()


@env.task
def main(x: int = 1, config: Config = Config(), kind: Kind = Kind.OLD) -> list[object]:
    data = json.loads(Path(__file__).with_name("data.json").read_text())
    return [step(x, config), kind.value, data, Path(__file__).name]


if __name__ == "__main__":
    print(perdure.with_runcontext(name="first").run(main).result())
"""

FILES = {
    "flow.py": FLOW,
    "tools/__init__.py": "from tools.scaling import scale\n",
    "tools/scaling.py": "def scale(x, rate):\n    return x * rate\n",
    "tools/late.py": "def shift():\n    return 100\n",
    "data.json": "7",
}


class Tree:
    """A project in a folder, driven by processes of their own."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name, old, new):
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def edit_everything(self):
        self.edit("flow.py", "scale(x, config.rate)", "-scale(x, config.rate)")
        self.edit("flow.py", 'OLD = "old"', 'NEW = "new"')
        self.edit("flow.py", "kind: Kind = Kind.OLD", "kind: Kind = Kind.NEW")
        self.edit("tools/scaling.py", "x * rate", "x + rate")
        self.edit("tools/late.py", "100", "200")

    def python(self, *arguments):
        return self._run(sys.executable, *arguments)

    def cli(self, *arguments, code=0):
        return self._run(sys.executable, "-m", "perdure", *arguments, code=code)

    def _run(self, *command, code=0):
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "tree")


def test_a_rerun_runs_the_recorded_code_and_names_what_has_changed(tree):
    tree.python("flow.py")
    tree.edit_everything()
    again = tree.cli("rerun", "first", "--no-recover")
    assert "[102, 'old', 7, 'flow.py']" in again.stdout
    assert "flow.py: step" in again.stderr
    assert "tools/late.py: shift" in again.stderr
    assert "The recorded code runs" in again.stderr


def test_what_is_on_disk_now_runs_when_asked_for(tree):
    tree.python("flow.py")
    tree.edit("tools/scaling.py", "x * rate", "x + rate")
    now = tree.cli("rerun", "first", "--no-recover", "--code", "current")
    assert "[103, 'old', 7, 'flow.py']" in now.stdout
    # ... and what it ran is what a rerun of it runs
    name = next(line.split()[-1] for line in now.stdout.splitlines() if "perdure show" in line)
    tree.edit("tools/scaling.py", "x + rate", "x - rate")
    assert "[103, 'old', 7, 'flow.py']" in tree.cli("rerun", name, "--no-recover").stdout


def test_files_may_even_be_gone_or_renamed(tree):
    tree.python("flow.py")
    (tree.folder / "flow.py").unlink()
    shutil.rmtree(tree.folder / "tools")
    again = tree.cli("rerun", "first", "--no-recover")
    assert "[102, 'old', 7, 'flow.py']" in again.stdout
    assert "flow.py: file is gone" in again.stderr


def test_new_inputs_are_checked_against_the_recorded_code(tree):
    tree.python("flow.py")
    tree.edit_everything()
    again = tree.cli("rerun", "first", "--x", "5", "--config", '{"rate": 3}', "--kind", "old")
    assert "[115, 'old', 7, 'flow.py']" in again.stdout
    wrong = tree.cli("rerun", "first", "--kind", "new", code=2)
    assert "choose one of old" in wrong.stderr


def test_a_rerun_that_was_interrupted_goes_on_with_its_own_code(tree, tmp_path):
    gate, held = tmp_path / "gate", tmp_path / "held"
    tree.edit(
        "flow.py",
        "    from tools.late",
        f"    hold({str(held)!r}, {str(gate)!r})\n    from tools.late",
    )
    tree.edit("flow.py", "\n\n@env.task\ndef main", HOLD + "\n\n@env.task\ndef main")
    gate.touch()
    tree.python("flow.py")
    gate.unlink()
    tree.edit("tools/scaling.py", "x * rate", "x + rate")
    with subprocess.Popen(
        [sys.executable, "-m", "perdure", "rerun", "first", "--no-recover", "--json"],
        cwd=tree.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        held.unlink()
        while not held.exists():
            assert process.poll() is None
        process.kill()
    gate.touch()
    (row,) = [each for each in link.views().runs() if each.parent == "first"]
    again = tree.cli("resume", row.name)
    assert "[102, 'old', 7, 'flow.py']" in again.stdout
    assert "warning" not in again.stderr


HOLD = """

@env.task
def hold(held: str, gate: str) -> None:
    import time

    Path(held).touch()
    while not Path(gate).exists():
        time.sleep(0.01)
"""


def test_from_python_values_are_of_the_classes_that_are_loaded(jobs):
    first = run(jobs.add, 1, b=2)
    first.wait()
    source = Path(jobs.__file__)
    source.write_text(source.read_text().replace("return a + b", "return a - b"))
    with pytest.warns(CodeChangedWarning, match="add"):
        assert rerun(first.name, b=40).result(60) == 41


def test_recorded_code_that_is_gone_is_an_error_that_says_so(jobs, home):
    run(jobs.add, 1).wait()
    link.runtime().shutdown()
    shutil.rmtree(home / "blobs")
    (row,) = link.views().runs()
    with pytest.raises(BlobMissingError, match=r"recorded text of .*jobs_\d+\.py"):
        rerun(row.name)
    with pytest.raises(ConfigurationError, match="recorded"):
        rerun(row.name, code="old")


def test_other_packages_are_named(jobs, monkeypatch):
    from perdure._version import environment, snapshot

    with_runcontext(name="r").run(jobs.add, 1).wait()
    now = environment.environment()
    packages = (*(p for p in now.packages if p[0] != "rich"), ("zebra", "1.0"))
    other = environment.from_text(environment.to_text(now._replace(packages=packages)))
    for module in (environment, snapshot):
        monkeypatch.setattr(module, "environment", lambda: other)
    with pytest.warns(EnvironmentChangedWarning, match=r"- rich [\d.]+, \+ zebra 1\.0"):
        again = rerun("r", recover=False)
    assert again.result(60) == 2
    assert snapshot.environment_of(link.get(again.name).bundle, link.blobs()) == other
    assert snapshot.environment_of(link.get("r").bundle, link.blobs()) == now
