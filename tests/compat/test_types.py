"""Every first-class type as argument and as result, through real workers."""

import json
import warnings
from pathlib import Path

import pytest
import typed

import perdure
from perdure.errors import TypeCheckError

MESSAGES = Path(__file__).with_name("wrong_values.json")


def test_every_type_survives_the_way_there_and_back():
    assert perdure.run(typed.call_everything).result(60) == {}


def test_every_type_survives_inside_containers():
    assert perdure.run(typed.wrap_everything).result(60) == []


def test_all_kinds_of_parameters():
    assert typed.same(
        perdure.run(typed.forms).result(60),
        [
            [1, 2, (), typed.Point(1), {}],
            [1, 3.0, ("x", "y"), typed.Point(2), {"d": [1], "e": []}],
            (1, 2, (3,), {"k": 4}),
            [typed.CASES["dataclass"][1], None, typed.Colour.RED],
            7,
            32,
        ],
    )


@pytest.mark.parametrize("name", typed.CASES)
def test_the_root_task_takes_and_gives_it(name):
    task = typed.ECHOES[name]
    value = typed.CASES[name][1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", perdure.PickledValueWarning)
        assert typed.same(task.bind((value,), {})["value"], value)


@pytest.mark.parametrize("name", typed.WRONG)
def test_what_is_said_of_a_wrong_value(name):
    """After a deliberate change, delete the file: it is written anew."""
    with pytest.raises(TypeCheckError) as caught:
        typed.ECHOES[name].bind((typed.WRONG[name],), {})
    known = json.loads(MESSAGES.read_text()) if MESSAGES.exists() else {}
    if name not in known:
        known[name] = caught.value.message
        MESSAGES.write_text(json.dumps(known, indent=2) + "\n")
    assert caught.value.message == known[name]


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2.0, 3), {}, "rest[0]: expected str, got int (3)"),
        ((1,), {"d": 3}, "d: expected list[int], got int (3)"),
        ((1,), {"d": ["x"]}, "d[0]: expected int, got str ('x')"),
        ((1,), {"c": (1, 2)}, "parameter c: expected typed.Point"),
    ],
)
def test_what_is_said_of_a_wrong_call(args, kwargs, told):
    with pytest.raises(TypeCheckError) as caught:
        typed.all_kinds.bind(args, kwargs)
    assert told in caught.value.message
    assert "types.all_kinds" in caught.value.message
