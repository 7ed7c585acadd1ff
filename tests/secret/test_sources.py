"""Where values come from, and in which order."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from perdure._core.model import Bundle, SecretRef
from perdure._secrets import store
from perdure._secrets.sources import Sources
from perdure.errors import ConfigurationError, SecretNotFoundError

SECRET = SecretRef("api-key", "MY_API_KEY")


class Keyring(ModuleType):
    """What the library offers of a keyring, in memory."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]

    def get_password(self, service: str, name: str) -> str | None:
        if self.locked:
            raise self.errors.KeyringError("locked")
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, value: str) -> None:
        if self.locked:
            raise self.errors.KeyringError("locked")
        self.kept[service, name] = value

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


@pytest.fixture(autouse=True)
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    for name in ("api-key", "API_KEY", "MY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    keyring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    return keyring


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Bundle:
    (tmp_path / "project" / "part").mkdir(parents=True)
    return Bundle(cwd=str(tmp_path / "project" / "part"), repository=str(tmp_path / "project"))


def value(home: Path, project: Bundle, secret: SecretRef = SECRET) -> str:
    (found,) = Sources(home).values([secret], project)
    assert (found.variable, found.is_file) == (secret.variable, secret.is_file)
    return found.value.decode()


def test_the_first_source_that_has_it_is_taken(
    home: Path, project: Bundle, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.kept["perdure", "api-key"] = "from the keyring"
    assert value(home, project) == "from the keyring"
    store.store(home, {"api-key": "from the home"})
    assert value(home, project) == "from the home"
    (Path(project.repository) / ".env").write_text("API_KEY=from the repository\n")
    assert value(home, project) == "from the repository"
    (Path(project.cwd) / ".env").write_text("API_KEY='from the folder'\n")
    assert value(home, project) == "from the folder"
    monkeypatch.setenv("MY_API_KEY", "from its own variable")
    assert value(home, project) == "from its own variable"
    monkeypatch.setenv("API_KEY", "from the environment")
    assert value(home, project) == "from the environment"


def test_a_source_is_asked_for_each_value_anew(home: Path, project: Bundle) -> None:
    store.store(home, {"api-key": "old"})
    sources = Sources(home)
    assert sources.values([SECRET], project)[0].value == b"old"
    store.store(home, {"api-key": "new"})
    assert sources.values([SECRET], project)[0].value == b"new"


def test_the_variable_of_a_file_holds_a_path_and_is_no_source(
    home: Path, project: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTIFICATE", "/etc/cert.pem")
    with pytest.raises(SecretNotFoundError):
        value(home, project, SecretRef("api-key", "CERTIFICATE", is_file=True))


def test_what_every_process_has_is_no_secret(home: Path, project: Bundle) -> None:
    with pytest.raises(SecretNotFoundError):
        value(home, project, SecretRef("home", "HOME_KEY"))


def test_an_empty_value_counts_as_none(
    home: Path, project: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "")
    store.store(home, {"api-key": "something"})
    assert value(home, project) == "something"


def test_a_missing_secret_is_told_with_all_places_that_were_asked(
    home: Path, project: Bundle, keyring: Keyring
) -> None:
    keyring.locked = True
    with pytest.raises(SecretNotFoundError, match="there is no secret 'api-key'") as told:
        value(home, project)
    for part in ("api-key or API_KEY or MY_API_KEY", "environment variables", "part/.env",
                 "secrets.env (there is none)", "keyring"):  # fmt: skip
        assert part in told.value.message
    assert told.value.hint == "perdure secret set api-key"


def test_the_keyring_keeps_what_it_is_given(home: Path, project: Bundle, keyring: Keyring) -> None:
    store.keep_in_keyring("api-key", "kept")
    assert value(home, project) == "kept"
    store.keep_in_keyring("api-key", None)
    assert keyring.kept == {}
    keyring.locked = True
    with pytest.raises(ConfigurationError, match="cannot be used: locked"):
        store.keep_in_keyring("api-key", "kept")


def test_without_the_library_the_keyring_is_not_asked(
    home: Path, project: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SecretNotFoundError, match="pip install keyring"):
        value(home, project)
    with pytest.raises(ConfigurationError, match="needs the library keyring"):
        store.keyring()


def test_a_file_of_the_home_that_others_can_read_is_not_trusted(
    home: Path, project: Bundle
) -> None:
    store.store(home, {"api-key": "something"})
    assert store.secrets_file(home).stat().st_mode & 0o777 == 0o600
    store.secrets_file(home).chmod(0o640)
    with pytest.raises(ConfigurationError, match="others can read") as told:
        value(home, project)
    assert "chmod 600" in told.value.hint


@pytest.mark.parametrize(
    "kept",
    ["plain", "it's", 'say "hi"', "back\\slash", "\\\\two\\n", "ends with \\", "a\nb\n", "é",
     "$HOME", "  spaces ", "a=b#c", "${X}"],
)  # fmt: skip
def test_what_is_kept_comes_back_as_it_was(home: Path, kept: str) -> None:
    store.store(home, {"one": kept, "other-name.x": "other"})
    assert store.stored(home) == {"one": kept, "other-name.x": "other"}
