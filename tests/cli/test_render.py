"""Times and counts, as people read them."""

import pytest

from perdure._core.model import Failure, Outcome, Phase
from perdure.cli import render, report
from perdure.cli.progress import Picture, Rate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, "0ms"),
        (0.0123, "12ms"),
        (0.9999, "1.0s"),
        (3.44, "3.4s"),
        (59.96, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (3725, "1h02m"),
        (86400 * 3 + 3600 * 4, "3d04h"),
    ],
)
def test_durations_are_short(seconds, text):
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Failure("p.Missing", "gone\n  hint: look", code="run_not_found", payload=b"x"), "look"),
        (Failure("p.Missing", "gone", code="run_not_found", hint="look"), "look"),
        (Failure("p.Missing", "gone", code="secret_not_found"), "perdure secret set"),
        (Failure("p.Missing", "gone\n  hint: look", payload=b"x"), ""),  # a user's own words
    ],
)
def test_an_error_is_told_with_what_to_do_next(capsys, failure, said):
    for brief in (False, True):
        render.show(*report.outcome_lines(Outcome(None, failure), brief=brief))
        error, *hint = capsys.readouterr().out.split("hint ")
        assert "p.Missing: gone" in error
        assert bool(hint) == bool(said)
        assert said in "".join(hint)
        assert ("look" in error) == (not said and not brief)


def test_every_phase_has_a_look():
    assert set(render.LOOK) == set(Phase)


def test_rate_is_that_of_the_last_seconds():
    now = 0.0
    rate = Rate(lambda: now)
    assert rate.update(0) == 0.0
    for now, done in ((1.0, 100), (2.0, 200), (3.0, 300)):  # noqa: B007
        latest = rate.update(done)
    assert latest == 100.0
    for now in (4.0, 6.0, 8.0, 10.0):  # noqa: B007
        latest = rate.update(300)
    assert latest == 0.0


def test_plain_progress_counts_what_is_done_and_names_the_rest():
    picture = Picture("r")
    picture.counts = {
        "e.a": {Phase.SUCCEEDED: 9120, Phase.RUNNING: 8, Phase.FAILED: 1},
        "e.b": {Phase.QUEUED: 3, Phase.RUNNING: 1},
    }
    assert picture.line() == "r: 9,121/9,133 done, 9 running, 3 queued, 1 failed"
