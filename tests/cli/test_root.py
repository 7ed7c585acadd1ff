"""The root command: light, helpful, and silent about its own insides."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from perdure import errors
from perdure.cli import exits
from perdure.cli import root as roots


@pytest.fixture
def failing(monkeypatch):
    """A verb that raises what the test wants."""

    def install(error):
        @click.command("fail")
        @exits.json_option
        def fail(as_json):
            raise error

        monkeypatch.setattr(roots, "_VERBS", {"fail": ("x:y", "Fail.")})
        monkeypatch.setattr(roots.Root, "get_command", lambda *_: fail)

    return install


def test_help_lists_every_verb_and_loads_none():
    code = (
        "import sys; from click.testing import CliRunner; from perdure.cli.root import root;"
        "r = CliRunner().invoke(root, ['--help']); print(r.output);"
        "heavy = {'rich', 'asyncio', 'perdure.cli.run', 'perdure._serde'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {verb} " in done.stdout for verb in roots._VERBS)


def test_a_mistyped_verb_is_answered_with_the_near_one():
    result = CliRunner().invoke(roots.root, ["shwo"])
    assert result.exit_code == 2
    assert "Did you mean 'show'?" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RunNotFoundError("gone"), 3),
        (errors.ActionNotFoundError("gone"), 3),
        (errors.ConfigurationError("bad"), 2),
        (errors.RunConflictError("taken"), 2),
        (errors.ReplayDivergedError("differs"), 6),
        (errors.RunInterruptedError("stopped"), 130),
        (errors.StorageError("full"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(failing, error, code):
    failing(error)
    assert CliRunner().invoke(roots.root, ["fail"]).exit_code == code


def test_errors_are_words_on_stderr_and_never_a_traceback(failing):
    failing(errors.RunNotFoundError("there is no run 'x'", hint="perdure ls", run="x", task="a.b"))
    result = CliRunner().invoke(roots.root, ["fail"])
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: there is no run 'x'",
        "  where: task a.b",
        "  hint:  perdure ls",
    ]


def test_errors_are_json_on_stdout_when_json_was_asked_for(failing):
    failing(errors.RunNotFoundError("gone", hint="look elsewhere"))
    result = CliRunner().invoke(roots.root, ["fail", "--json"])
    assert '"code": "run_not_found"' in result.stdout
    assert result.stderr == ""


def test_developers_see_the_traceback(failing, monkeypatch):
    monkeypatch.setenv("PERDURE_DEBUG", "1")
    failing(errors.RunNotFoundError("gone"))
    assert "Traceback" in CliRunner().invoke(roots.root, ["fail"]).stderr
