"""Attempts own the bytes they write, also when several are active at once."""

import os
import sys

import pytest

from perdure._core.model import LogSpan
from perdure._logs import follow, read_spans
from perdure._worker import logs
from perdure._worker.logs import MAX_SPANS, LogCapture


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "worker.log"
    path.touch()
    return path


@pytest.fixture
def capture(path, monkeypatch):
    """A capture of an async worker, with the streams it replaced put back afterwards."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    capture = LogCapture(path, interleaved=True)
    # pytest puts its own streams back between set-up and test
    capture.out, capture.err = sys.stdout, sys.stderr
    yield capture
    os.close(capture._log)


def write_raw(path, data):
    with path.open("ab", buffering=0) as log:
        log.write(data)


def write_as(capture, attempt, text):
    token = logs.current.set(attempt)
    capture.out.write(text)
    logs.current.reset(token)


def test_an_attempt_that_writes_nothing_has_no_spans(capture):
    capture.begin(1)
    assert capture.end(1) == ()


def test_adjacent_writes_become_one_span(capture):
    capture.begin(1)
    capture.begin(2)
    write_as(capture, 1, "one")
    write_as(capture, 1, "two")
    assert capture.end(1) == (LogSpan(0, 6),)


def test_interleaved_writes_are_kept_apart(capture, path):
    capture.begin(1)
    capture.begin(2)
    for _ in range(3):
        write_as(capture, 1, "ä")
        write_as(capture, 2, "bb")
    assert read_spans(path, capture.end(1)).decode() == "äää"
    assert read_spans(path, capture.end(2)) == b"bbbbbb"


def test_raw_output_belongs_to_an_attempt_while_it_is_alone(capture, path):
    capture.begin(1)
    write_raw(path, b"alone")
    capture.begin(2)
    write_raw(path, b"whose?")
    write_as(capture, 1, "mine")
    assert read_spans(path, capture.end(2)) == b""
    assert read_spans(path, capture.end(1)) == b"alonemine"


def test_what_was_written_before_and_after_is_not_taken(capture, path):
    write_raw(path, b"before")
    capture.begin(1)
    write_as(capture, 1, "during")
    spans = capture.end(1)
    write_as(capture, 1, "after")
    assert read_spans(path, spans) == b"during"


def test_very_many_spans_are_merged_into_one(capture, path):
    capture.begin(1)
    capture.begin(2)
    for _ in range(MAX_SPANS + 1):
        write_as(capture, 1, "a")
        write_as(capture, 2, "b")
    spans = capture.end(1)
    assert len(spans) <= MAX_SPANS
    assert read_spans(path, spans).count(b"a") == MAX_SPANS + 1


def test_replaced_streams_take_bytes_and_know_their_descriptor(capture, path):
    capture.begin(1)
    capture.begin(2)
    logs.current.set(1)
    capture.out.buffer.write(b"bytes")
    print("text", file=capture.err)
    assert (capture.out.fileno(), capture.err.fileno()) == (1, 2)
    assert not capture.out.isatty()
    assert read_spans(path, capture.end(1)) == b"bytestext\n"


def test_spans_beyond_the_end_of_a_log_read_as_what_is_there(path):
    path.write_bytes(b"12345")
    assert read_spans(path, [LogSpan(3, 100), LogSpan(200, 300)]) == b"45"


def test_following_ends_with_everything_that_was_written(path):
    path.write_bytes(b"skipped,first")
    rounds = []

    def ended():
        rounds.append(None)
        if len(rounds) == 2:
            write_raw(path, b",last")
        return len(rounds) == 2

    assert b"".join(follow(path, ended, start=8)) == b"first,last"


def test_following_a_log_that_never_appears_ends_too(tmp_path):
    assert list(follow(tmp_path / "none", lambda: True)) == []
