"""``perdure cache``: the tour of somebody who edits a helper."""

import pytest

HELPERS = """
RATE = {rate}


def convert(amount: int) -> int:
    '''Convert.'''
    return amount * RATE
"""

PIPELINE = """
from pathlib import Path

import perdure

import helpers

env = perdure.TaskEnvironment("shop", cache=perdure.Cache(ignored_inputs="log"))


def note(log: str, text: str) -> None:
    with Path(log).open("a") as file:
        file.write(text + "\\n")


@env.task
def price(log: str, item: int) -> int:
    note(log, f"price {item}")
    return helpers.convert(item)


@env.task
def count(log: str, items: list[int]) -> int:
    note(log, "count")
    return len(items)


@env.task
def label(log: str, items: list[int]) -> str:
    note(log, "label")
    return ", ".join(map(str, items))


@env.task(cache="disable")
def main(log: str, items: list[int]) -> dict[str, object]:
    prices = list(perdure.map(price, [log] * len(items), items))
    return {"total": sum(prices), "count": count(log, prices), "label": label(log, items)}
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A pipeline with a module of helpers."""
    (tmp_path / "shop.py").write_text(PIPELINE)
    (tmp_path / "helpers.py").write_text(HELPERS.format(rate=2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_what_reaches_an_edited_helper_runs_again(cli, shop):
    def run(name, items, *options):
        log = shop / name
        run = ("run", *options, "shop.py:main", "--name", name, "--log", "log")
        result = cli.json(*run, "--items", str(items))["result"]
        lines = (shop / "log").read_text().splitlines() if (shop / "log").exists() else []
        (shop / "log").unlink(missing_ok=True)
        log.write_text("\n".join(lines))
        return result, sorted(lines)

    before = {"total": 6, "count": 2, "label": "1, 2"}
    assert run("first", [1, 2]) == (before, ["count", "label", "price 1", "price 2"])
    assert run("second", [1, 2]) == (before, [])
    (shop / "helpers.py").write_text(HELPERS.format(rate=3))
    # What is counted has changed, too; labels have nothing to do with the helper.
    assert run("third", [1, 2]) == (before | {"total": 9}, ["count", "price 1", "price 2"])
    assert run("fourth", [1, 2, 4])[1] == ["count", "label", "price 4"]

    tree = cli.json("show", "second")["tree"]
    prices = next(g for g in tree["children"] if g["name"] == "shop.price")
    assert prices["counts"] == {"cached": 2}
    assert "cached" in cli("show", "second").stdout

    told = cli.json("cache", "explain", "second", "2")
    assert (told["verdict"], told["other_run"]) == ("hit", "first")
    told = cli.json("cache", "explain", "third", "2")
    assert told["verdict"] == "miss"
    (code,) = told["differences"]
    assert code["part"] == "code"
    assert "-RATE = 2" in code["diff"]
    assert "+RATE = 3" in code["diff"]
    words = cli("cache", "explain", "third", "2").stdout
    assert "miss" in words
    assert "nothing was kept under its key" in words
    assert "+RATE = 3" in words

    number = next(
        a["number"]
        for g in cli.json("show", "fourth")["tree"]["children"]
        for a in g["actions"]
        if g["name"] == "shop.count"
    )
    (item,) = cli.json("cache", "explain", "fourth", number)["differences"]
    assert (item["part"], item["name"]) == ("input", "items")
    assert (item["before"], item["now"]) == ("[3, 6]", "[3, 6, 12]")
    assert "is not cached" not in cli("cache", "explain", "fourth", "1").stdout
    assert cli.json("cache", "explain", "fourth", "1")["verdict"] == "none"

    assert [(t["task"], t["values"]) for t in cli.json("cache", "ls")] == [
        ("shop.count", 3), ("shop.label", 2), ("shop.price", 5),
    ]  # fmt: skip
    assert cli.json("cache", "clear", "--older-than", "1h")["cleared"] == 0
    assert cli.json("cache", "clear", "--task", "shop.count")["cleared"] == 3
    assert "7 values forgotten" in cli("cache", "clear").stdout
    assert "nothing is kept" in cli("cache", "ls").stderr
    assert run("fifth", [1])[1] == ["count", "label", "price 1"]


ONE_BY_ONE = """
import perdure

import helpers

env = perdure.TaskEnvironment("shop", cache="auto")


@env.task
def price(item: int) -> int:
    return helpers.convert(item)


@env.task
def total(prices: list[int]) -> int:
    return sum(prices)


@env.task(cache="disable")
def main() -> int:
    first = price(1)
    return total([first, price.submit(2)])
"""


def test_a_call_is_compared_with_itself_in_an_earlier_run_not_with_its_neighbours(cli, shop):
    (shop / "shop.py").write_text(ONE_BY_ONE)
    for name, rate in (("first", 2), ("second", 3)):
        (shop / "helpers.py").write_text(HELPERS.format(rate=rate))
        cli("run", "shop.py:main", "--name", name)
    told = cli.json("cache", "explain", "second", "3")
    assert told["other_run"] == "first"
    assert [each["part"] for each in told["differences"]] == ["code"]
    told = cli.json("cache", "explain", "second", "4")
    assert [(each["name"], each["before"], each["now"]) for each in told["differences"]] == [
        ("prices", "[2, 4]", "[3, 6]")  # though one of them was passed as a future
    ]


def test_runs_may_overwrite_the_cache_or_leave_it_alone(cli, shop):
    command = ("shop.py:count", "--log", "log", "--items", "[1]")
    for name, option, phase in [
        ("a", "--name", "succeeded"), ("b", "--name", "cached"),
        ("c", "--overwrite-cache", "succeeded"), ("d", "--disable-run-cache", "succeeded"),
    ]:  # fmt: skip
        options = (option,) if option != "--name" else ()
        cli("run", *options, *command, "--name", name)
        assert cli.json("show", name)["tree"]["phase"] == phase
    assert [each["cached"] for each in cli.json("ls")] == [False, False, True, False]
    assert "disable_run_cache" in cli("cache", "explain", "d", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["explain", "nowhere", "1"], 3, "no run 'nowhere'"),
        (["clear", "--older-than", "soon"], 2, "write 12h, 30d or 4w"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_makes_no_sense_is_said(cli, arguments, code, complaint):
    assert complaint in cli("cache", *arguments, code=code).stderr


def test_an_empty_home_has_nothing_to_clear(cli):
    assert cli.json("cache", "clear") == {"cleared": 0}
