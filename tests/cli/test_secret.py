"""``perdure secret``: kept for tasks, never printed."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from perdure.cli.root import root


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def perdure(*arguments: str, given: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(root, ["secret", *arguments], input=given)
    return done.exit_code, done.output


def test_a_secret_is_kept_listed_and_forgotten(home: Path) -> None:
    assert perdure("set", "api-key", given="very secret\n")[0] == 0
    assert perdure("set", "OTHER", given="two\nlines\n")[0] == 0
    assert (home / "secrets.env").stat().st_mode & 0o777 == 0o600
    assert perdure("ls") == (0, "OTHER\napi-key\n")
    assert perdure("ls", "--json")[1].split() == ["[", '"OTHER",', '"api-key"', "]"]
    assert perdure("rm", "OTHER")[0] == 0
    assert perdure("ls") == (0, "api-key\n")


def test_a_value_is_never_printed(home: Path) -> None:
    told = [perdure("set", "a", given="very secret")[1], perdure("ls")[1], perdure("rm", "a")[1]]
    assert "very secret" not in "".join(told)
    assert "very secret" not in (home / "secrets.env").read_text()


def test_what_cannot_be_kept_is_a_usage_error(home: Path) -> None:
    assert perdure("set", "a", given="")[0] == 2
    assert perdure("set", "a=b", given="x")[0] == 2
    assert not (home / "secrets.env").exists()


def test_what_is_not_there_cannot_be_forgotten(home: Path) -> None:
    code, told = perdure("rm", "a")
    assert code == 3
    assert "no secret 'a'" in told


def test_nothing_to_list_is_said(home: Path) -> None:
    code, told = perdure("ls")
    assert code == 0
    assert "nothing is kept" in told
