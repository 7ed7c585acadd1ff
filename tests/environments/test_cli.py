"""``perdure build`` and ``perdure image``, as users start them."""

import json
import os
import subprocess
import sys

import pytest

PIPELINE = """
import perdure

debian = perdure.Image.from_debian_base()
tiny = debian.with_env_vars({"OF_IMAGE": "!"}).with_pip_packages("tiny==1.0")
env = perdure.TaskEnvironment("one", image=tiny)
here = perdure.TaskEnvironment("here", image=debian.with_pip_packages("msgspec"))
same = here.clone_with("same")
main = perdure.TaskEnvironment("main", depends_on=[env])


@env.task
def version() -> str:
    import os

    import tiny

    return tiny.VERSION + os.environ.get("OF_IMAGE", "")


@main.task
def both() -> str:
    return version()


@main.task(image=debian.with_apt_packages("git").with_pip_packages("tiny==99"))
def never() -> None: ...
"""


@pytest.fixture
def perdure(tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)

    def call(*arguments, code=0, typed=""):
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PERDURE_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
            input=typed,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return call


SEVERAL = """
import json, sys
from perdure.cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    print("\\0", end="")
"""


@pytest.fixture
def several(tmp_path):
    """Return what each of several commands prints; one process does them all."""

    def call(*commands):
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL, json.dumps([each.split() for each in commands])],
            cwd=tmp_path,
            env=os.environ | {"PERDURE_HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.split("\0")[:-1]

    return call


def test_build_makes_what_a_run_then_finds(perdure, several, tmp_path):
    done = perdure("build", "pipeline.py:one")
    assert "building environment" in done.stderr
    assert "tiny==1.0" in done.stdout
    run = perdure("run", "pipeline.py:both", "--name", "r")
    assert "1.0!" in run.stdout
    assert "building" not in run.stderr
    debugged = perdure("debug", "r", "2", typed="import sys\np sys.prefix\nc\n")
    assert "environments" in debugged.stdout
    assert "returned: '1.0!'" in debugged.stdout
    shown, described, again, parts, kept, removed = several(
        "show r", "show r --json", "build pipeline.py:env --json", "du --json", "gc --json",
        "gc --older-than 0s --json",
    )  # fmt: skip
    assert "tiny==1.0" in shown
    (image,) = json.loads(described)["code"]["images"]
    assert image["tasks"] == ["one.version"]
    assert image["packages"]["tiny"] == "1.0"
    (build,) = json.loads(again)
    assert (build["environments"], build["built"]) == (["one"], False)
    assert "tiny==1.0" in build["packages"]
    assert json.loads(parts)["parts"]["environments"] > 0
    assert json.loads(kept)["environments"]["count"] == 0
    assert json.loads(removed)["environments"]["count"] == 1
    assert not any(each.is_dir() for each in (tmp_path / "home" / "environments").iterdir())


def test_the_command_line_tells_what_is_built_how_and_what_cannot_be(perdure, several, tmp_path):
    (tmp_path / "plain.py").write_text("import perdure\nenv = perdure.TaskEnvironment('plain')\n")
    nothing, first, dockerfile, described = several(
        "build plain.py", "build pipeline.py:here --json", "image dockerfile pipeline.py:one",
        "image dockerfile pipeline.py:one --json",
    )  # fmt: skip
    assert "no environment of plain.py has an image" in nothing
    (here,) = json.loads(first)
    assert here["where"] == "this interpreter"
    done = perdure("build", "pipeline.py", code=1)
    assert "tiny==99" in done.stderr
    assert "perdure build" not in done.stderr
    assert [line.split()[-2:] for line in done.stdout.splitlines() if "99" in line] == [
        ["not", "built"]
    ]
    assert str(tmp_path / "home" / "environments") in done.stdout.replace("\n", "")
    assert "only containers have apt packages (git)" in done.stderr
    assert "no environment 'onne'" in perdure("build", "pipeline.py:onne", code=2).stderr
    assert dockerfile.splitlines()[-1] == "RUN uv pip install tiny==1.0"
    assert json.loads(described)["environments"] == ["one"]
    assert "name the environment" in perdure("image", "dockerfile", "pipeline.py", code=2).stderr
