"""P5: equal values have equal digests, in every process; different ones differ."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps

PROGRAM = Path(__file__).with_name("program.py")
GOLDEN = Path(__file__).with_name("digests.json")
# Loads the program the way a worker does: under another name, its main block not executed.
AS_WORKER = f"""
import json, sys, types, importlib.util
spec = importlib.util.spec_from_file_location("__perdure_main__", {str(PROGRAM)!r})
module = importlib.util.module_from_spec(spec)
sys.modules["__perdure_main__"] = module
spec.loader.exec_module(module)
json.dump(module.digests(), sys.stdout)
"""


def run(*arguments: str, seed: str = "0") -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, str] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return run(str(PROGRAM), seed="1")


def test_p5_digests_do_not_depend_on_the_hash_seed(digests: dict[str, str]) -> None:
    assert run(str(PROGRAM), seed="2") == digests


def test_p5_a_script_has_the_same_digests_in_the_driver_and_in_a_worker(
    digests: dict[str, str],
) -> None:
    assert run("-c", AS_WORKER) == digests


def test_p5_digests_are_those_of_earlier_releases_and_other_pythons(
    digests: dict[str, str],
) -> None:
    """The file is written once per change of the format: delete it and run this test."""
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(digests, indent=1) + "\n")
    assert json.loads(GOLDEN.read_text()) == digests


def digest(value: Any) -> bytes:
    return dumps(value, MemoryBlobs()).digest


@given(st.dictionaries(st.text(max_size=3) | st.integers(0, 5), st.integers()), st.randoms())
@settings(max_examples=50)
def test_p5_the_order_of_a_dict_does_not_matter(value: dict[Any, int], random: Any) -> None:
    items = [*value.items()]
    random.shuffle(items)
    assert digest(dict(items)) == digest(value)
    assert digest([(dict(items),)]) == digest([(value,)])


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True, "1", b"1", (1,), [1], {1}, frozenset({1}), {1: 1}, {"1": 1}],
        [None, "", b"", [], {}, (), set(), 0, False],
        [[1, 2], [2, 1], [[1], 2], [[1, 2]]],
        [{"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": None}],
        [2**64, float(2**64), -(2**64)],
    ],
    ids=str,
)
def test_different_values_differ(values: list[Any]) -> None:
    assert len({digest(value) for value in values}) == len(values)


def test_p5_of_a_class_that_cannot_be_imported_only_the_name_counts() -> None:
    def make(body: int) -> type:
        @dataclasses.dataclass
        class Local:
            a: int

            def method(self) -> int:
                return body

        return Local

    assert digest(make(1)(5)) == digest(make(2)(5)) != digest(make(1)(6))


def test_a_value_has_one_digest_wherever_its_parts_are_stored() -> None:
    small, large = b"x" * 100, b"x" * 100_000
    for part in (small, large):
        value = {"a": part, "b": (part,)}
        assert digest(value) == digest({"b": (bytes(bytearray(part)),), "a": part})
    assert digest(large) != digest(small)
