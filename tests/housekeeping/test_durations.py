import pytest

from perdure import errors
from perdure._housekeeping.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", 30 * 86_400), ("12h", 43_200), ("45m", 2_700), ("10s", 10), ("2w", 1_209_600),
        ("1d12h", 129_600), ("0.5d", 43_200), ("0s", 0),
    ],
)  # fmt: skip
def test_spans_of_time_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "3 d", "3y", "3d later", "1e3s", "٣d"])
def test_others_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        seconds(text)
    assert "30d" in caught.value.hint
