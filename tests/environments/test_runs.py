"""Tasks of one run find installed what their images say."""

import signal
import subprocess
import sys

import pytest

import perdure
from environments import tasks, wheels
from perdure import _embedded
from perdure._embedded import Runtime
from perdure.client import link
from perdure.config import Config
from perdure.errors import NotSupportedError
from real import processes


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        runtime: Runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


def events(run, kind):
    row = link.get(run.name)
    return [each.text for each in link.views().events(row.key) if each.kind == kind]


def test_three_tasks_of_a_run_have_three_versions_of_a_package(runtime, capfd):
    run = perdure.run(tasks.parent)
    assert run.result() == (("1.0", "1", "1"), "2.0", ["3.0", sys.prefix])
    told = events(run, "environment")
    assert len([text for text in told if text.startswith("building")]) == 3
    assert len([text for text in told if text.startswith("built")]) == 3
    assert "building environment" in capfd.readouterr().err
    again = perdure.run(tasks.parent)
    assert again.result() == run.result()
    assert events(again, "environment") == []


def test_where_nothing_else_is_loaded_all_are_forked_by_one_process(runtime):
    here, *others = perdure.run(tasks.hosts).result()
    assert others == [here, here]


def test_an_environment_with_code_for_its_start_has_a_process_for_itself(runtime):
    here, (version, mark, host) = perdure.run(tasks.hosts_of_started).result()
    assert (version, mark) == ("1.0", "starter")
    assert host != here


def test_overrides_have_images_too(runtime):
    assert perdure.run(tasks.one.override(image=tasks.tiny("2.0"))).result() == ("2.0", None, None)


def test_a_failed_build_is_the_error_of_the_action_with_what_the_resolver_says(runtime):
    assert "tiny==99" in perdure.run(tasks.survivor).result()


def test_a_value_may_pass_through_where_its_class_is_missing_but_not_be_opened(runtime):
    assert perdure.run(tasks.pass_on).result() == "Thing"
    with pytest.raises(perdure.errors.SerializationError, match="tiny"):
        perdure.run(tasks.open_up).result()


def test_the_death_of_the_forkserver_is_survived(runtime, tmp_path):
    task = tasks.kill_the_forkserver.override(retries=1)
    assert perdure.run(task, str(tmp_path / "mark")).result() == "2.0"


def test_what_is_kept_is_kept_for_the_image(runtime, tmp_path):
    mark = tmp_path / "mark"
    assert perdure.run(tasks.kept, str(mark)).result() == "2.0"
    assert perdure.run(tasks.kept, str(mark)).result() == "2.0"
    assert mark.read_text() == "x"
    assert perdure.run(tasks.kept.override(image=tasks.tiny("1.0")), str(mark)).result() == "1.0"
    assert mark.read_text() == "xx"


def test_what_only_containers_have_is_told_once_and_refused_by_strict_runs(runtime, capfd):
    run = perdure.run(tasks.around)
    assert run.result() == "here"
    assert perdure.run(tasks.box).result() == "here"
    assert capfd.readouterr().err.count("only containers have the base image registry/image") == 1
    assert len(events(run, "notice")) == 1
    strict = perdure.with_runcontext(strict=True)
    with pytest.raises(NotSupportedError, match="registry/image"):
        strict.run(tasks.box)
    with pytest.raises(NotSupportedError, match="registry/image"):
        strict.run(tasks.around).result()


NEIGHBOUR = wheels.neighbour()

if NEIGHBOUR is not None:  # a machine with one Python cannot tell

    def test_workers_run_under_another_python(runtime, wheelhouse, tmp_path, monkeypatch):
        python, find = NEIGHBOUR
        wheels.needs(tmp_path, find)
        monkeypatch.setenv("UV_FIND_LINKS", f"{wheelhouse},{tmp_path}")
        image = tasks.tiny("1.0").clone(python_version=tuple(map(int, python.split("."))))
        assert perdure.run(tasks.one.override(image=image)).result()[0] == "1.0"
        assert perdure.run(tasks.version.override(image=image)).result() == python
        with pytest.raises(perdure.errors.TaskLoadError, match="sent by value from Python"):
            perdure.run(tasks.closure, python).result()


SCRIPT = """
import perdure

image = perdure.Image.from_debian_base().with_pip_packages({project!r})
env = perdure.TaskEnvironment("e", image=image)


@env.task
def wait() -> None: ...


if __name__ == "__main__":
    perdure.run(wait).result()
"""


def test_stopping_ends_a_build(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    project = tmp_path / "slow"
    wheels.slow(project)
    (tmp_path / "marks").mkdir()
    script.write_text(SCRIPT.format(project=str(project)))
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    driver = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    processes.until((tmp_path / "marks" / "builds").exists, 60)
    below = processes.descendants(driver.pid)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) != 0
    assert processes.wait_gone(below, 60) == []
