"""URLs and paths: what they mean, and what they must not mean."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._storage.location import Location, inside, locate
from perdure.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", Location("s3", "bucket", "")),
        ("s3://bucket/", Location("s3", "bucket", "")),
        ("s3://bucket/a/b.csv", Location("s3", "bucket", "a/b.csv")),
        ("S3A://bucket/a", Location("s3", "bucket", "a")),
        ("gs://my.bucket/a b", Location("gs", "my.bucket", "a b")),
        ("az://container/path/", Location("az", "container", "path")),
        ("file:///tmp/a", Location("file", "", "/tmp/a")),
        ("/tmp/x/../a", Location("file", "", "/tmp/a")),
        (Path("/tmp/a"), Location("file", "", "/tmp/a")),
    ],
)
def test_a_url_or_path_is_a_place(url, place):
    assert locate(url) == place
    assert locate(place.url) == place


def test_relative_paths_begin_here_and_a_tilde_at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert locate("a/b").path == str(tmp_path / "a/b")
    assert locate("~/a").path == "/somewhere/a"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a", "unknown scheme ftp://"),
        ("https://host/a", "unknown scheme https://"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("s3://bucket/../other", "leads out of its place"),
        ("s3://bucket/a//b", "leads out of its place"),
        ("file://host/a", "names another machine"),
        ("", "is no path"),
        ("a\0b", "is no path"),
    ],
)
def test_what_makes_no_sense_is_refused(url, said):
    with pytest.raises(ConfigurationError, match=said) as told:
        locate(url)
    assert told.value.hint


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match="environment") as told:
        locate("s3://key:secret@bucket/a")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("path", ["..", "a/../../b", "/etc/passwd", "./a", "a//b", "", "a/\0"])
def test_paths_that_lead_out_are_refused(path):
    with pytest.raises(ConfigurationError, match="leads out"):
        locate("s3://bucket/place").below(path)


@given(st.text(max_size=20))
def test_what_is_inside_stays_there(path):
    try:
        found = inside(path)
    except ConfigurationError:
        return
    assert Path("/place", found).resolve().is_relative_to("/place")
    assert Path("/place", found) != Path("/place")


def test_places_below_a_place():
    assert locate("s3://bucket").below("a/b").url == "s3://bucket/a/b"
    assert locate("s3://bucket/place").below("a").url == "s3://bucket/place/a"
    assert locate("/").below("a").url == "file:///a"
    assert locate("/place").below("a/").url == "file:///place/a"
