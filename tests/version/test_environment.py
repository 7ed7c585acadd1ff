"""The environment is read from the import path, quickly, and again only when that has changed."""

import sys
from importlib.metadata import distributions

import pytest

from perdure._version import environment as module
from perdure._version.environment import (
    EDITABLE,
    differences,
    environment,
    from_text,
    python_version,
    to_text,
)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages, the only one on the import path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr(module, "_known", None)
    return folder


def install(site, name, direct_url=None):
    folder = site / name
    folder.mkdir()
    if direct_url is not None:
        (folder / "direct_url.json").write_text(direct_url)


def test_packages_are_those_that_the_standard_library_finds():
    expected = {}
    for each in distributions():
        name = each.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        expected.setdefault(name, each.version)
    found = dict(environment().packages)
    assert found.keys() == expected.keys()
    assert {k: v for k, v in found.items() if v != EDITABLE}.items() <= expected.items()


def test_names_are_normalised_and_sorted(site):
    install(site, "Zope.Interface-5.0.dist-info")
    install(site, "some_thing-1.2.post1.dist-info")
    install(site, "old_egg-0.3-py3.11.egg-info")
    (site / "module.py").touch()
    assert environment().packages == (
        ("old-egg", "0.3"),
        ("some-thing", "1.2.post1"),
        ("zope-interface", "5.0"),
    )


def test_the_first_on_the_path_counts(site, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    install(site, "a-1.dist-info")
    install(other, "a-2.dist-info")
    monkeypatch.setattr(sys, "path", [str(site), str(other), str(tmp_path / "nowhere")])
    assert environment().packages == (("a", "1"),)


def test_editable_packages_have_no_version_of_their_own(site):
    install(site, "a-1.dist-info", '{"url": "file:///a", "dir_info": {"editable": true}}')
    install(site, "b-1.dist-info", '{"url": "file:///b", "dir_info": {}}')
    install(site, "c-1.dist-info", "no json")
    assert environment().packages == (("a", EDITABLE), ("b", "1"), ("c", "1"))


def test_the_digest_follows_packages_but_not_installers(site):
    install(site, "a-1.dist-info")
    first = environment()
    install(site, "pip-25.dist-info")
    second = environment()
    install(site, "b-1.dist-info")
    assert first.digest == second.digest != environment().digest
    assert second.packages == (("a", "1"), ("pip", "25"))


def test_nothing_is_read_again_while_nothing_has_changed(site, monkeypatch):
    install(site, "a-1.dist-info")
    first = environment()
    monkeypatch.setattr(module, "_packages", None)
    assert environment() is first


def test_text_brings_it_back(site):
    install(site, "a-1.dist-info")
    found = environment()
    assert from_text(to_text(found)) == found
    assert found.python == python_version()


def test_differences_are_named(site):
    for name in ("a-1", "b-1", "c-1"):
        install(site, f"{name}.dist-info")
    old = environment()
    new = old._replace(python="cpython-3.99.0", packages=(("a", "2"), ("c", "1"), ("d", "1")))
    assert differences(old, new) == [
        f"{old.python} -> cpython-3.99.0",
        "a 1 -> 2",
        "- b 1",
        "+ d 1",
    ]
    assert differences(old, old) == []
