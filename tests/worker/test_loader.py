"""A worker finds tasks by name or by value, and says what is wrong when it cannot."""

import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from perdure._api.environment import TaskEnvironment
from perdure._core.model import Bundle, Loader
from perdure._modules import LOADED_MAIN
from perdure._worker import loader as loading
from perdure._worker.loader import install_main, load_main, load_task
from perdure.errors import TaskLoadError

SCRIPT = """
import sys
from dataclasses import dataclass
from perdure._api.environment import TaskEnvironment

env = TaskEnvironment("script")
loads = globals().get("loads", 0) + 1

@env.task
def main() -> str:
    return __name__

@dataclass
class Point:
    x: int

def plain():
    pass

if __name__ == "__main__":
    @env.task
    def hidden() -> None: ...

    also_hidden = env.task(plain)
"""


@pytest.fixture(autouse=True)
def _own_interpreter_state(monkeypatch):
    """Keep what a worker does to its interpreter out of this one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules)
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def load(path, qualname="main"):
    bundle = Bundle(main=str(path))
    install_main(bundle)
    return load_task(Loader("main", "__main__", qualname), bundle)


def test_a_task_of_the_script_is_found_without_starting_the_script(script):
    task = load(script)
    assert task.name == "script.main"
    assert task.forward() == LOADED_MAIN


def test_the_script_is_loaded_only_when_something_in_it_is_used(script):
    install_main(Bundle(main=str(script)))
    assert "loads" not in vars(sys.modules["__main__"])
    assert not hasattr(sys.modules["__main__"], "__wrapped__")
    assert "loads" not in vars(sys.modules["__main__"])
    assert sys.modules["__main__"].Point(1).x == 1


def test_the_script_is_loaded_once(script):
    load(script)
    load(script.parent / "script.py")
    assert load_main(str(script)) is sys.modules[LOADED_MAIN]
    assert sys.modules[LOADED_MAIN].loads == 1


@pytest.mark.parametrize("name", ["__main__", LOADED_MAIN])
def test_pickles_that_name_the_main_script_find_it(script, name):
    install_main(Bundle(main=str(script)))
    point = pickle.loads(b"c%b\nPoint\n(I1\ntR." % name.encode())
    assert point.x == 1
    assert sys.modules["__main__"] is sys.modules[LOADED_MAIN]


def test_loading_the_script_makes_its_folder_importable(script):
    (script.parent / "beside.py").write_text("X = 1\n")
    script.write_text("import beside\n" + SCRIPT)
    assert load_main(str(script)).beside.X == 1


def test_a_script_that_was_fixed_is_loaded_again(script):
    script.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_main(str(script))
    script.write_text(SCRIPT)
    assert load_main(str(script)).loads == 1


def test_a_module_is_imported_by_name(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    assert load_task(Loader("module", "script", "main"), Bundle()).forward() == "script"


def test_a_main_that_was_started_with_dash_m_is_an_ordinary_module(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    bundle = Bundle(main_module="script")
    install_main(bundle)
    assert sys.modules["__main__"].Point(2).x == 2
    assert load_task(Loader("main", "script", "main"), bundle).forward() == "script"
    assert sys.modules["__main__"] is sys.modules["script"]


def test_a_task_sent_by_value_is_rebuilt_once():
    number = 3
    env = TaskEnvironment("closure")

    @env.task
    def closure() -> int:
        return number

    loader = Loader("pickle", payload=cloudpickle.dumps(closure))
    task = load_task(loader, Bundle())
    assert task.forward() == 3
    assert load_task(loader, Bundle()) is task


@pytest.mark.parametrize(
    ("source", "qualname", "message", "hint"),
    [
        (None, "main", "is gone", "put it back"),
        ("import nothing_like_it\n", "main", "nothing_like_it", "fix the error"),
        ("x = (\n", "main", "SyntaxError", "fix the error"),
        ("raise SystemExit(3)\n", "main", "exit 3", '__name__ == "__main__"'),
        (SCRIPT, "missing", "has no missing", "renamed"),
        (SCRIPT, "hidden", "has no hidden", 'under `if __name__ == "__main__":`'),
        (SCRIPT, "also_hidden", "has no also_hidden", 'under `if __name__ == "__main__":`'),
        (SCRIPT, "plain", "is a function, not a task", "@env.task"),
    ],
)
def test_what_cannot_be_loaded_says_why_and_what_to_do(script, source, qualname, message, hint):
    script.unlink() if source is None else script.write_text(source)
    with pytest.raises(TaskLoadError) as caught:
        load(script, qualname)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_module_that_is_not_there_is_told_apart_from_one_it_imports(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    script.write_text("import nothing_like_it\n")
    with pytest.raises(TaskLoadError, match=r"no module nowhere\.at_all in a worker"):
        load_task(Loader("module", "nowhere.at_all", "main"), Bundle())
    with pytest.raises(TaskLoadError, match="script cannot be loaded"):
        load_task(Loader("module", "script", "main"), Bundle())


@pytest.mark.parametrize("kind", ["main", "module"])
def test_a_failing_import_shows_the_users_frames_only(script, monkeypatch, kind):
    monkeypatch.syspath_prepend(script.parent)
    script.write_text("def inner():\n    return 1 / 0\n\ninner()\n")
    bundle = Bundle(main=str(script))
    with pytest.raises(TaskLoadError) as caught:
        load_task(Loader(kind, "script" if kind == "module" else "__main__", "main"), bundle)
    text = caught.value.message
    assert "in inner" in text
    assert "ZeroDivisionError" in text
    assert str(Path(loading.__file__).parent) not in text
    assert "importlib" not in text


def test_a_pickle_that_cannot_be_read_is_a_load_error():
    with pytest.raises(TaskLoadError, match="cannot be rebuilt"):
        load_task(Loader("pickle", "script", "f", b"cnowhere\nf\n."), Bundle())


def test_a_pickle_of_another_python_is_not_even_read():
    with pytest.raises(TaskLoadError, match=r"from Python 3\.99 cannot run under Python"):
        load_task(Loader("pickle", payload=b"crash", python="3.99"), Bundle())


def test_in_the_process_that_runs_the_script_it_is_not_loaded_a_second_time(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        SCRIPT + "    from perdure._worker.loader import load_main\n"
        "    print(load_main(__file__) is sys.modules['__main__'])\n"
    )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
