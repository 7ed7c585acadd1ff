"""``perdure artifact`` and ``perdure lineage``, and artifacts as parameters of ``perdure run``."""

import shutil
import subprocess

import pytest

from perdure import artifacts

PIPELINE = """
import perdure
from perdure import artifacts

env = perdure.TaskEnvironment("shop")


@env.task
def price(item: str) -> float:
    return len(item) * 1.5


@env.task
def main(items: list[str]) -> float:
    total = sum(perdure.map(price, items))
    artifacts.publish(
        total, "total", kind="number", tags=["fresh"], metadata={"items": len(items)},
        partitions={"shop": 'the "best" <one>'},
    )
    return total


@env.task
def double(total: float, note: str = "") -> float:
    return total * 2
"""


@pytest.fixture
def shop(tmp_path, cli):
    """The file of a pipeline that has published something in the run ``first``."""
    path = tmp_path / "shop.py"
    path.write_text(PIPELINE)
    cli("run", "--name", "first", f"{path}:main", "--items", '["a", "bc"]')
    return path


def test_published_values_are_listed_and_shown(cli, shop):
    (listed,) = cli.json("artifact", "ls")
    assert listed == cli.json("artifact", "show", "total@fresh")
    about = {key: listed[key] for key in ("name", "version", "kind", "run", "tags", "value")}
    assert about == {
        "name": "total", "version": "1", "kind": "number", "run": "first", "tags": ["fresh"],
        "value": 4.5,
    }  # fmt: skip
    assert listed["metadata"] == {"items": 2}
    assert "total  1        number  fresh" in cli("artifact", "ls").stdout
    shown = cli("artifact", "show", "total").stdout
    assert "total@1" in shown
    assert "perdure lineage total@1" in shown


def test_lists_are_narrowed_down(cli):
    for number in range(3):
        artifacts.publish(number, "n", kind="number", partitions={"odd": number % 2})
    assert [each["version"] for each in cli.json("artifact", "ls", "n")] == ["3", "2", "1"]
    assert [e["version"] for e in cli.json("artifact", "ls", "n", "--limit", 1)] == ["3"]
    odd = cli.json("artifact", "ls", "--partition", "odd=1")
    assert [each["version"] for each in odd] == ["2"]
    assert cli.json("artifact", "ls", "--kind", "model") == []
    assert "no such artifacts" in cli("artifact", "ls", "--tag", "x").stderr
    assert "not KEY=VALUE" in cli("artifact", "ls", "--partition", "odd", code=2).stderr


def test_tags_are_moved_and_removed(cli):
    for number in range(2):
        artifacts.publish(number, "n")
    assert cli("artifact", "tag", "n@1", "good", "old").stdout == "n@1: good, old\n"
    assert cli.json("artifact", "tag", "n", "good")["tags"] == ["good"]
    assert cli.json("artifact", "show", "n@1")["tags"] == ["old"]
    assert cli("artifact", "tag", "n@1", "old", "--remove").stdout == "n@1: no tags\n"


def test_what_is_not_there_is_told(cli):
    assert "no artifact nothing@latest" in cli("artifact", "show", "nothing", code=3).stderr
    told = cli("lineage", "nothing", code=3).stderr
    assert "neither a run nor an artifact 'nothing'" in told
    artifacts.publish(1, "n")
    assert "no artifact n@7" in cli("lineage", "n@7", code=3).stderr


@pytest.mark.parametrize("reference", ["total", "total@1", "total@fresh"])
def test_a_parameter_is_given_an_artifact(cli, shop, reference):
    done = cli.json("run", f"{shop}:double", "--total", f"artifact:{reference}")
    assert done["result"] == 9.0
    assert done["inputs"]["total"] == "total@1"


def test_an_artifact_that_does_not_exist_or_fit_is_told(cli, shop):
    told = cli("run", f"{shop}:double", "--total", "artifact:nothing", code=3).stderr
    assert "no artifact nothing@latest" in told
    told = cli("run", f"{shop}:double", "--total", "artifact:total?shop=x", code=3).stderr
    assert "with shop=x" in told
    artifacts.publish("text", "words")
    told = cli("run", f"{shop}:double", "--total", "artifact:words", code=2).stderr
    assert "parameter total: expected float, got str" in told


def test_lineage_is_drawn_as_a_tree(cli, shop):
    cli("run", "--name", "second", f"{shop}:double", "--total", "artifact:total")
    told = cli("lineage", "total").stdout
    assert told.splitlines()[0] == "total@1  number"
    assert "published by shop.main  1 succeeded  run first" in told
    assert "called shop.price x 2  2 succeeded  run first" in told
    assert "used by shop.double  1 succeeded  run second" in told
    assert "used by" not in cli("lineage", "total", "--upstream").stdout
    assert "published by" not in cli("lineage", "total", "--downstream").stdout
    assert "used total@1  number" in cli("lineage", "second").stdout


def test_lineage_is_told_as_json(cli, shop):
    told = cli.json("lineage", "first")
    assert told["start"] == ["task:first/shop.main"]
    assert told["complete"] is True
    assert told["runs"] == [{"name": "first", "task": "shop.main"}]
    assert {each["id"]: each["count"] for each in told["nodes"]} == {
        "task:first/shop.main": 1, "task:first/shop.price": 2, "artifact:total@1": 1,
    }  # fmt: skip
    assert {
        "source": "task:first/shop.main",
        "target": "artifact:total@1",
        "kind": "published",
    } in (told["edges"])


def test_lineage_is_drawn_as_pictures(cli, shop):
    mermaid = cli("lineage", "first", "--mermaid").stdout
    assert mermaid.startswith("flowchart LR\n")
    assert '["shop.price x 2"]' in mermaid
    assert '[("total@1")]' in mermaid
    dot = cli("lineage", "first", "--dot").stdout
    assert dot.startswith("digraph lineage {\n")
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot.encode(), check=True, capture_output=True)
    assert "choose one of" in cli("lineage", "first", "--dot", "--mermaid", code=2).stderr


def test_a_name_of_a_run_and_an_artifact_has_to_be_told_apart(cli, shop):
    artifacts.publish(1, "first")
    assert "write run:first or artifact:first" in cli("lineage", "first", code=2).stderr
    assert "shop.main" in cli("lineage", "run:first").stdout
    assert "first@1" in cli("lineage", "artifact:first").stdout
