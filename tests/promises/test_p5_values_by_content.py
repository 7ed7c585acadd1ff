"""P5: equal values have equal digests, in every process and on every machine."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps, loads
from serde import grown

GOLDEN = {
    "all": Path(grown.__file__).with_name("grown.json"),
    "tensors": Path(grown.__file__).with_name("grown_tensors.json"),
}
KINDS = ["all", "tensors"] if find_spec("torch") else ["all"]
CHANCE = st.randoms(use_true_random=False)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep files in a home of their own, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PERDURE_DURABILITY", "process")
        yield


@pytest.fixture(params=KINDS, scope="module")
def kinds(request: pytest.FixtureRequest) -> Iterator[str]:
    """What values are made of."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tensors":
            patch.setitem(grown.ARRAYS, "tensor", grown.tensor)
        yield request.param


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANCE, CHANCE)
def test_p5_how_a_value_was_built_does_not_matter(
    kinds: str, chance: random.Random, order: random.Random
) -> None:
    what = grown.recipe(chance)
    note(what)
    assert grown.digest(grown.build(what, order)) == grown.digest(
        grown.build(what, random.Random(1))
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANCE)
def test_p5_a_value_that_was_passed_on_is_the_same_value(kinds: str, chance: random.Random) -> None:
    blobs = MemoryBlobs()
    what = grown.recipe(chance)
    note(what)
    encoded = dumps(grown.build(what, random.Random(1)), blobs)
    assert dumps(loads(encoded.data, blobs), blobs).digest == encoded.digest


@pytest.mark.parametrize("seed", [1, 2])
def test_p5_digests_are_the_same_in_every_process_and_on_every_python(
    kinds: str, seed: int
) -> None:
    """The file is written by one Python and checked by all: after a change, delete and rerun."""
    done = subprocess.run(
        [sys.executable, grown.__file__, str(seed), kinds],
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    golden = GOLDEN[kinds]
    if not golden.exists():
        golden.write_text(json.dumps(found, indent=0) + "\n")
    assert found == json.loads(golden.read_text())
