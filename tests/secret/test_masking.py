"""What is masked, however it is cut and written."""

import base64
import json
from urllib.parse import quote_plus

import pytest

from perdure._core.model import Failure
from perdure._secrets.masking import Flow, Mask
from perdure.errors import SerializationError

TOKEN = b"p4ss/word+\"1'\\x"
mask = Mask({"TOKEN": TOKEN, "PIN": b"12", "KEY": b"-----BEGIN\nfirst line\nsecond line\n-----END"})


def in_pieces(*pieces: bytes, by: Mask = mask) -> bytes:
    flow = Flow(by)
    return b"".join([*map(flow.feed, pieces), flow.rest()])


@pytest.mark.parametrize(
    "written",
    [
        TOKEN.decode(),
        json.dumps(TOKEN.decode())[1:-1],
        repr(TOKEN.decode())[1:-1],
        quote_plus(TOKEN.decode()),
        base64.b64encode(TOKEN).decode(),
        base64.urlsafe_b64encode(TOKEN).decode(),
        TOKEN.hex(),
        TOKEN.hex().upper(),
    ],
)
def test_a_value_is_masked_however_it_is_written(written: str) -> None:
    masked = mask.text(f"the token is {written}, you see")
    assert masked.startswith("the token is ***")
    assert masked.endswith(", you see")
    assert written not in masked


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "\n", "@h", "@host"])
def test_a_value_is_masked_as_a_part_of_base64(before: str, after: str) -> None:
    written = base64.b64encode(before.encode() + TOKEN + after.encode()).decode()
    masked = mask.text(f"Basic {written}")
    around = len(base64.b64encode(before.encode())) + len(base64.b64encode(after.encode()))
    assert "***" in masked
    assert len(masked.replace("***", "")) <= len("Basic ") + around + 4


def test_text_that_is_no_unicode_survives() -> None:
    assert mask.text(f"\udcff \ud800 {TOKEN.decode()} é").endswith(" *** é")


def test_lines_of_a_value_are_masked_one_by_one() -> None:
    assert mask.text("> first line\n> second line") == "> ***\n> ***"


def test_a_value_that_is_too_short_is_left_alone() -> None:
    assert mask.text("12 of 120") == "12 of 120"


@pytest.mark.parametrize("cut", range(1, len(TOKEN)))
def test_a_value_that_is_cut_in_two_is_masked(cut: int) -> None:
    assert in_pieces(b"a " + TOKEN[:cut], TOKEN[cut:] + b" b") == b"a *** b"


def test_a_value_that_comes_byte_by_byte_is_masked() -> None:
    assert in_pieces(*(bytes([each]) for each in b"x" + TOKEN + b"y")) == b"x***y"


def test_what_cannot_become_a_value_is_not_held_back() -> None:
    flow = Flow(mask)
    assert flow.feed(b"hello\n") == b"hello\n"
    assert flow.feed(TOKEN[:3]) == b""
    assert flow.feed(b"!") == TOKEN[:3] + b"!"
    assert flow.rest() == b""


def test_a_value_that_another_one_begins_with_is_masked_as_far_as_it_goes() -> None:
    both = Mask({"A": b"abcd", "B": b"abcdefgh"})
    assert in_pieces(b"abcd", b"efgh", by=both) == b"***"
    assert in_pieces(b"abcd", b"xy", by=both) == b"***xy"
    assert in_pieces(b"abcd", by=both) == b"***"


def test_a_value_is_not_cut_where_another_one_may_begin() -> None:
    both = Mask({"A": b"xxab", "B": b"abzz"})
    assert in_pieces(b"xxab", b"c", by=both) == b"***c"
    assert in_pieces(b"xxa", b"b", b"zz", by=both) == b"***zz"


def test_a_failure_keeps_its_shape() -> None:
    secret = TOKEN.decode()
    failure = Failure("E", f"bad {secret}", f"Traceback {secret}", payload=b"<" + TOKEN + b">")
    masked = mask.failure(failure)
    assert (masked.message, masked.traceback) == ("bad ***", "Traceback ***")
    assert masked.payload == b"<" + b"*" * len(TOKEN) + b">"


def test_a_value_that_holds_a_secret_is_refused_without_showing_it() -> None:
    with pytest.raises(SerializationError, match="the result holds the secret in TOKEN") as told:
        mask.refuse("the result", b"xx" + TOKEN)
    assert TOKEN.decode() not in str(told.value)
    mask.refuse("the result", b"12 nothing else")


def test_a_short_value_is_not_taken_for_the_secret_in_other_data() -> None:
    short = Mask({"USER": b"admin"})
    short.refuse("the result", b"the admin did it")
    assert short.text("the admin did it") == "the *** did it"


def test_nothing_is_masked_where_there_is_no_secret() -> None:
    none = Mask({"EMPTY": b""})
    assert in_pieces(b"a", b"", b"b", by=none) == b"ab"
    none.refuse("the result", b"anything")
