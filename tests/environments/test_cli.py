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


def test_build_makes_what_a_run_then_finds(perdure, tmp_path):
    done = perdure("build", "pipeline.py:one")
    assert "building environment" in done.stderr
    assert "tiny==1.0" in done.stdout
    run = perdure("run", "pipeline.py:both", "--name", "r")
    assert "1.0!" in run.stdout
    assert "building" not in run.stderr
    assert "tiny==1.0" in perdure("show", "r").stdout
    (image,) = json.loads(perdure("show", "r", "--json").stdout)["code"]["images"]
    assert image["tasks"] == ["one.version"]
    assert image["packages"]["tiny"] == "1.0"
    debugged = perdure("debug", "r", "2", typed="import sys\np sys.prefix\nc\n")
    assert "environments" in debugged.stdout
    assert "returned: '1.0!'" in debugged.stdout
    (again,) = json.loads(perdure("build", "pipeline.py:env", "--json").stdout)
    assert (again["environments"], again["built"]) == (["one"], False)
    assert "tiny==1.0" in again["packages"]
    assert json.loads(perdure("du", "--json").stdout)["parts"]["environments"] > 0
    assert json.loads(perdure("gc", "--json").stdout)["environments"]["count"] == 0
    removed = json.loads(perdure("gc", "--older-than", "0s", "--json").stdout)
    assert removed["environments"]["count"] == 1
    assert not any(each.is_dir() for each in (tmp_path / "home" / "environments").iterdir())


def test_build_tells_what_cannot_be_built_and_what_need_not_be(perdure, tmp_path):
    (tmp_path / "plain.py").write_text("import perdure\nenv = perdure.TaskEnvironment('plain')\n")
    assert "no environment of plain.py has an image" in perdure("build", "plain.py").stdout
    (here,) = json.loads(perdure("build", "pipeline.py:here", "--json").stdout)
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


def test_the_dockerfile_of_an_environment(perdure):
    done = perdure("image", "dockerfile", "pipeline.py:one")
    assert done.stdout.splitlines()[-1] == "RUN uv pip install tiny==1.0"
    assert json.loads(perdure("image", "dockerfile", "pipeline.py:one", "--json").stdout)[
        "environments"
    ] == ["one"]
    assert "name the environment" in perdure("image", "dockerfile", "pipeline.py", code=2).stderr
