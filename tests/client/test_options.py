"""Options are checked when they are given; what is not built is refused by name."""

import types

import pytest

import perdure.client.settings as settings
from perdure.client import link
from perdure.client.naming import checked_name, new_name
from perdure.client.running import with_runcontext
from perdure.config import Config
from perdure.errors import ConfigurationError, NotSupportedError


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path))
    monkeypatch.setenv("PERDURE_DURABILITY", "full")
    monkeypatch.setenv("PERDURE_STORAGE", "")
    monkeypatch.setattr(link, "running", lambda: None)


def test_drawn_names_are_readable_and_differ():
    names = {new_name("flights.train_model") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("train_model-") and checked_name(name) for name in names)
    assert new_name("env.<lambda>").startswith("lambda-")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 201, 3, "a\n"])
def test_names_that_cannot_be_typed_are_refused(name):
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        checked_name(name)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"mode": "remote"}, NotSupportedError, "remote"),
        ({"mode": "nightly"}, ConfigurationError, "name='nightly'"),
        ({"engine": "ray"}, NotSupportedError, "ray"),
        (
            {"overwrite_cache": True, "disable_run_cache": True},
            ConfigurationError,
            "overwrite_cache",
        ),
        ({"durability": "none"}, ConfigurationError, "none"),
        ({"env_vars": {"A": 1}}, ConfigurationError, "env_vars: 'A' is 1"),
        ({"custom_context": {1: "x"}}, ConfigurationError, "custom_context"),
        ({"name": "a b"}, ConfigurationError, "'a b'"),
        ({"queue": "two words"}, ConfigurationError, "'two words'"),
        ({"priority": "high"}, ConfigurationError, "priority='high'"),
        ({"nam": "x"}, ConfigurationError, "did you mean 'name'"),
    ],
)
def test_options_are_refused_when_given(options, error, complaint):
    with pytest.raises(error, match=complaint):
        with_runcontext(**options)


def test_flyte_options_that_ask_for_nothing_are_accepted():
    with_runcontext("local", project=None, disable_run_cache=False)


def test_init_sets_home_and_durability_for_the_process(tmp_path):
    settings.init(home=tmp_path / "elsewhere", durability="process")
    assert (Config().home, Config().durability) == (tmp_path / "elsewhere", "process")


def test_init_sets_where_blobs_live(tmp_path):
    settings.init(storage="s3://bucket/path/")
    assert Config().storage == "s3://bucket/path"
    settings.init(storage=tmp_path / "folder")
    assert Config().storage == f"file://{tmp_path}/folder"


def test_storage_that_makes_no_sense_is_refused_and_not_set():
    with pytest.raises(ConfigurationError, match="unknown scheme ftp"):
        settings.init(storage="ftp://host")
    with pytest.raises(NotSupportedError, match=r"storage=S3\(...\)") as told:
        settings.init(storage=type("S3", (), {})())
    assert "AWS_ENDPOINT_URL" in told.value.hint
    assert Config().storage == ""


def test_init_after_the_first_run_must_agree_with_it(tmp_path, monkeypatch):
    before = Config()
    monkeypatch.setattr(link, "running", lambda: types.SimpleNamespace(config=before))
    settings.init(home=tmp_path, durability="full")
    with pytest.raises(ConfigurationError, match="too late"):
        settings.init(home=tmp_path / "elsewhere")
    assert Config().home == tmp_path
    monkeypatch.undo()


@pytest.mark.parametrize("option", ["endpoint", "api_key"])
def test_servers_are_refused_by_name(option):
    with pytest.raises(NotSupportedError, match=option):
        settings.init(**{option: "x"})
    with pytest.raises(NotSupportedError):
        settings.init_in_cluster()
    with pytest.raises(NotSupportedError):
        settings.init_from_api_key("k")


def test_what_has_no_effect_says_so(tmp_path):
    with pytest.warns(UserWarning, match="project, domain"):
        settings.init(project="p", domain="d")
    config = tmp_path / "config.yaml"
    config.write_text("admin:\n  endpoint: dns:///x\n")
    with pytest.warns(UserWarning, match="stay on this machine"):
        settings.init_from_config(config)
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        settings.init_from_config(tmp_path / "nowhere.yaml")
    settings.init_from_config()
