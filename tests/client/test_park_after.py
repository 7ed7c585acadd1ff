"""The setting that says how long a task waits before it is parked."""

import math

import pytest

import perdure
from perdure.client import link
from perdure.config import Config
from perdure.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 10.0), ("0", 0.0), ("2.5", 2.5), ("never", math.inf)]
)
def test_it_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: float
) -> None:
    monkeypatch.setenv("PERDURE_PARK_AFTER", value)
    assert Config().park_after == seconds


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PERDURE_PARK_AFTER", value)
    with pytest.raises(ConfigurationError, match="PERDURE_PARK_AFTER"):
        Config()


@pytest.mark.parametrize(
    ("value", "seconds"), [(0, 0.0), (3, 3.0), (0.5, 0.5), ("never", math.inf)]
)
def test_it_is_set_by_init(monkeypatch: pytest.MonkeyPatch, value: float, seconds: float) -> None:
    monkeypatch.setenv("PERDURE_PARK_AFTER", "10")
    monkeypatch.setattr(link, "running", lambda: None)
    perdure.init(park_after=value)
    assert Config().park_after == seconds


@pytest.mark.parametrize("value", [-1, True, "soon", float("nan")])
def test_init_refuses_what_makes_no_sense(value: float) -> None:
    with pytest.raises(ConfigurationError, match="park_after"):
        perdure.init(park_after=value)
