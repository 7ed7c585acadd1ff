"""Environments are built once, whole, and only if they can be."""

import json
import os
import signal
import subprocess
import sys
import threading
import tomllib
from importlib import metadata
from importlib.metadata import version
from pathlib import Path

import pytest

from environments import wheels
from perdure import Image
from perdure._api.recipes import recipe_of
from perdure._environments import building, reading
from perdure._environments import store as storing
from perdure._environments.interpreters import candidates, version_of
from perdure._environments.recipe import Install, Options, Recipe, encode_recipe
from perdure._environments.store import Environments
from perdure._environments.uv import Stopped, find_uv
from perdure.errors import EnvironmentBuildError, EnvironmentUnavailableError

ROOT = Path(__file__).parents[2]

HAVE = """
import sys
from pathlib import Path
from perdure._environments import building
from perdure._environments.recipe import decode_recipe
from perdure._environments.store import Environments
building.NEEDS = ()
recipe = decode_recipe(Path(sys.argv[2]).read_bytes())
there = Environments(Path(sys.argv[1])).have(recipe)
print(there.built)
"""


def wants(*requirements: str) -> Recipe:
    return Recipe(steps=(reading.packages(requirements, Options()),))


def ask(environment, code):
    done = subprocess.run(
        [environment.python, "-E", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def complete(tmp_path):
    """Environments that workers can run in."""
    return Environments(tmp_path / "environments")


@pytest.fixture
def store(complete, monkeypatch):
    """Environments without what workers need, which are made in half the time."""
    monkeypatch.setattr(building, "NEEDS", ())
    return complete


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A recipe whose build waits; its marks are in the folder ``marks``."""
    wheels.slow(tmp_path / "slow")
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    recipe = wants(str(tmp_path / "slow"))
    (tmp_path / "recipe").write_bytes(encode_recipe(recipe))
    return recipe


def begin(tmp_path):
    return subprocess.Popen(
        [sys.executable, "-c", HAVE, str(tmp_path / "environments"), str(tmp_path / "recipe")],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(path):
    while not path.exists():
        threading.Event().wait(0.005)


def test_an_environment_holds_what_was_asked_for_and_perdure(
    complete, wheelhouse, tmp_path, monkeypatch
):
    wheels.tiny(tmp_path, "99.0", "cloudpickle")
    monkeypatch.setenv("UV_FIND_LINKS", f"{wheelhouse},{tmp_path}")
    said = []
    there = complete.have(wants("tiny==2.0"), said.append)
    assert ask(there, "import tiny; print(tiny.VERSION)") == "2.0"
    assert ask(there, "import perdure._worker.forkserver as f; print(f.__file__)").startswith(
        str(there.folder)
    )
    assert there.built
    assert [text.partition(" ")[0] for text in said] == ["building", "built"]
    packages = there.manifest()["packages"]
    assert "tiny==2.0" in packages
    assert f"cloudpickle=={version('cloudpickle')}" in packages  # what is here, not the newest
    there.close()


def test_what_is_installed_here_only_need_not_be_found_for_an_environment(store, monkeypatch):
    monkeypatch.setattr(building, "NEEDS", ("tiny>=2.0",))
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    there = store.have(wants())
    assert there.manifest()["packages"] == ["tiny==3.0"]
    there.close()


def test_what_is_there_is_not_built_again_also_where_the_home_was_moved(store, tmp_path):
    store.have(wants("tiny==1.0")).close()
    (tmp_path / "environments").rename(tmp_path / "elsewhere")
    said = []
    there = Environments(tmp_path / "elsewhere").have(wants("tiny==1.0"), said.append)
    assert (there.built, said) == (False, [])
    assert ask(there, "import tiny, perdure; print(tiny.VERSION)") == "1.0"
    there.close()


def test_concurrent_demand_by_processes_builds_once(tmp_path, slow):
    processes = [begin(tmp_path) for _ in range(3)]
    wait_for(tmp_path / "marks" / "builds")
    (tmp_path / "marks" / "go").touch()
    said = [process.communicate()[0].strip() for process in processes]
    assert sorted(said) == ["False", "False", "True"]
    assert (tmp_path / "marks" / "builds").read_text() == "one\n"


def test_who_waits_for_another_builder_says_so(tmp_path, store, slow, monkeypatch):
    monkeypatch.setattr(storing, "TOLD_SECONDS", 0.0)
    builder = begin(tmp_path)
    wait_for(tmp_path / "marks" / "builds")
    told = []

    def tell(text):
        told.append(text)
        (tmp_path / "marks" / "go").touch()

    there = store.have(slow, tell)
    assert builder.communicate()[0].strip() == "True"
    assert not there.built
    assert len(told) == 1
    assert told[0].startswith("waiting for environment")
    there.close()


def test_a_killed_builder_leaves_nothing_that_is_taken_for_whole(tmp_path, slow):
    killed = begin(tmp_path)
    wait_for(tmp_path / "marks" / "builds")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    folder = tmp_path / "environments"
    assert [each for each in folder.iterdir() if each.name[0] != "." and each.is_dir()] == []
    assert [each for each in folder.iterdir() if each.name.startswith(".tmp-")]
    again = begin(tmp_path)
    (tmp_path / "marks" / "go").touch()  # uv, which nobody killed, ends first
    assert again.communicate()[0].strip() == "True"
    (whole,) = [each for each in folder.iterdir() if each.is_dir()]
    assert json.loads((whole / "environment.json").read_text())["image"]


def test_a_build_that_is_given_up_ends_uv(tmp_path, store, slow):
    stop = threading.Event()
    ended = []

    def build():
        try:
            store.have(slow, stop=stop)
        except Stopped:
            ended.append("stopped")

    thread = threading.Thread(target=build)
    thread.start()
    wait_for(tmp_path / "marks" / "builds")
    stop.set()
    thread.join()
    assert ended == ["stopped"]
    assert [each for each in (tmp_path / "environments").iterdir() if each.is_dir()] == []


def test_a_failed_build_tells_what_the_resolver_says(store):
    with pytest.raises(EnvironmentBuildError, match="tiny==99") as failed:
        store.have(wants("tiny==99"))
    assert "unsatisfiable" in failed.value.message
    assert not failed.value.retryable


def test_what_workers_need_is_not_overruled(complete):
    with pytest.raises(EnvironmentBuildError, match="unsatisfiable") as failed:
        complete.have(wants("cloudpickle<2"))
    assert failed.value.hint.startswith("Perdure itself needs cloudpickle>=")


def test_workers_need_what_the_package_needs():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(building.NEEDS) < set(wanted)


def test_an_index_that_is_not_reached_is_another_matter(store, monkeypatch, tmp_path):
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    options = Options(index_url="http://127.0.0.1:9/simple")
    recipe = Recipe(steps=(Install(("elsewhere",), options=options),))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    with pytest.raises(EnvironmentUnavailableError) as failed:
        store.have(recipe)
    assert failed.value.retryable


def test_a_python_that_is_not_installed_is_named_with_those_that_are(store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    here = ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(EnvironmentBuildError, match=r"no Python 3\.99") as failed:
        store.have(Recipe(python="3.99"))
    assert here in failed.value.message


def test_without_uv_the_error_says_how_to_get_it(store, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentBuildError, match="not installed") as failed:
        store.have(wants("tiny"))
    assert failed.value.hint == "pip install uv"


def another_python():
    for number in ("3.11", "3.12", "3.13"):
        if number != "{}.{}".format(*sys.version_info):
            for path in candidates(Recipe(python=number)):
                if version_of(path).startswith(f"cpython.{number}."):
                    return number
    return None


OTHER = another_python()


if OTHER is not None:  # a machine with one Python cannot tell

    def test_another_python_is_used_if_it_is_installed(store):
        there = store.have(Recipe(python=OTHER, steps=wants("tiny==1.0").steps))
        assert ask(there, "import sys, tiny; print(sys.version)").startswith(f"{OTHER}.")
        there.close()


def test_removing_one_keeps_the_versions_that_were_found(store, wheelhouse, tmp_path, monkeypatch):
    (tmp_path / "links").mkdir()
    for wheel in wheelhouse.iterdir():
        os.link(wheel, tmp_path / "links" / wheel.name)
    (tmp_path / "links" / "tiny-3.0-py3-none-any.whl").unlink()
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "links"))
    there = store.have(wants("tiny"))
    assert list(store.unused(before=9e9)) == []  # in use
    assert not store.remove(there.folder)
    there.close()
    assert list(store.unused(before=0)) == []
    assert list(store.unused(before=9e9)) == [there.folder]
    assert store.remove(there.folder)
    wheels.tiny(tmp_path / "links", "3.0")
    again = store.have(wants("tiny"))
    assert again.built
    assert ask(again, "import tiny; print(tiny.VERSION)") == "2.0"
    again.close()


def test_what_is_installed_from_a_folder_must_not_change_on_the_way(tmp_path, store, slow):
    (tmp_path / "slow" / "backend.py").write_text("")
    with pytest.raises(EnvironmentBuildError, match="has changed since the run started"):
        store.have(slow)


def test_a_project_of_uv_is_installed_as_its_lock_says(tmp_path, store):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["tiny"]\n'
    )
    subprocess.run(
        [find_uv(), "lock", "--quiet", "--upgrade-package", "tiny==1.0"], cwd=project, check=True
    )
    image = Image.from_debian_base().with_uv_project(project / "pyproject.toml")
    there = store.have(recipe_of(image))
    assert ask(there, "import tiny; print(tiny.VERSION)") == "1.0"
    there.close()


def test_a_project_of_poetry_is_installed_as_its_lock_says(tmp_path, store):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\npython = "^3.11"\ntiny = "^1.0"\n'
    )
    (tmp_path / "poetry.lock").write_text('[[package]]\nname = "tiny"\nversion = "1.0"\n')
    image = Image.from_debian_base().with_poetry_project(tmp_path / "pyproject.toml")
    there = store.have(recipe_of(image))
    assert ask(there, "import tiny; print(tiny.VERSION)") == "1.0"
    there.close()
