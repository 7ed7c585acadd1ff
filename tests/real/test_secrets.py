"""P10: secrets reach the worker that asked for them, and nothing that is kept or shown."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import _embedded, errors
from perdure._core.model import Bundle
from perdure._embedded import Runtime
from perdure._secrets import store
from perdure.config import Config
from real.processes import until, workers
from real.programs import vault

SECONDS = 60.0
# Not written out: this file is part of the runs' code, which is kept.
TOKEN = f"t0ken/{os.urandom(8).hex()}"
BODY = os.urandom(24).hex()
CERTIFICATE = f"-----BEGIN CERT-----\n{BODY}\n-----END CERT-----"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def echoed() -> list[str]:
    """What tasks print, as the user sees it."""
    return []


@pytest.fixture(scope="module")
def runtime(home: Path, echoed: list[str]) -> Iterator[Runtime]:
    """A runtime whose process has the token in its environment, and the certificate in its home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(home))
        patch.setenv("API_TOKEN", TOKEN)
        patch.setattr(_embedded, "_echo", echoed.append)
        store.store(home, {"certificate": CERTIFICATE})
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


def result(task: Any, *args: Any) -> Any:
    return perdure.run(task, *args).result(timeout=SECONDS)


def printed(run: perdure.Run) -> str:
    run.wait(SECONDS)
    return "\n".join(run.logs())


def assert_nowhere(home: Path) -> None:
    """Nothing in the home holds a secret, but the file that is for it."""
    kept = store.secrets_file(home)
    for path in home.rglob("*"):
        if path.is_file() and path != kept:
            content = path.read_bytes()
            assert TOKEN.encode() not in content, path
            assert BODY.encode() not in content, path


def test_p10_only_workers_that_asked_for_a_secret_have_it(runtime: Runtime) -> None:
    assert result(vault.everywhere) == (len(TOKEN), [])
    assert os.environ["API_TOKEN"] == TOKEN


def test_p10_whatever_writes_to_the_log_the_value_is_masked(runtime: Runtime, home: Path) -> None:
    text = printed(perdure.run(vault.prints))
    assert text.splitlines() == [
        "printed ***", "to stderr ***", "cut ***", "by hand ***", "by another program ***",
        "***", "the end",
    ]  # fmt: skip
    assert_nowhere(home)


def test_p10_attempts_that_run_together_are_masked_and_told_apart(
    runtime: Runtime, home: Path
) -> None:
    run = perdure.run(vault.print_together, 5)
    run.wait(SECONDS)
    logs = sorted(list(run.logs(each.id)) for each in run.actions(task="vault.prints_async"))
    assert logs == [[f"number {i} ***", f"number {i} goes on"] for i in range(5)]
    assert_nowhere(home)


def test_a_flood_is_masked_to_the_last_line(runtime: Runtime, home: Path) -> None:
    lines = printed(perdure.run(vault.floods, 20_000)).splitlines()
    assert lines == [f"{line} ***" for line in range(20_000)]
    assert_nowhere(home)


def test_the_last_words_of_a_worker_are_kept_and_masked(runtime: Runtime, home: Path) -> None:
    run = perdure.run(vault.dies)
    with pytest.raises(errors.WorkerLostError):
        run.result(timeout=SECONDS)
    logs = home / "logs"
    until(lambda: any("last words: ***" in p.read_text() for p in logs.iterdir()), SECONDS)
    assert_nowhere(home)


def test_p10_an_exception_keeps_its_class_and_loses_the_secret(
    runtime: Runtime, home: Path
) -> None:
    with pytest.raises(PermissionError) as told:
        result(vault.fails)
    shown = "".join(traceback.format_exception(told.value)) + repr(vars(told.value))
    assert "example.org refused" in shown
    assert "in fails" in shown
    assert TOKEN not in shown
    assert_nowhere(home)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (vault.returns_it, "the result of vault.returns_it"),
        (vault.passes_it_on, "an argument of plain.takes"),
        (vault.traces_it, "the value of .*step"),
        (vault.saves_it, "a checkpoint"),
        (vault.publishes_it, "the value published as 'loot'"),
        (vault.whispers_it, "the custom context"),
    ],
)
def test_p10_what_is_recorded_must_not_hold_a_secret(
    runtime: Runtime, home: Path, task: Any, what: str
) -> None:
    with pytest.raises(errors.SerializationError, match=f"{what} holds the secret in API_TOKEN"):
        result(task)
    assert_nowhere(home)


def test_p10_reports_are_masked(runtime: Runtime, home: Path) -> None:
    result(vault.reports_it)
    pages = [path.read_text() for path in home.rglob("*.html")]
    assert any("the token is ***" in page for page in pages)
    assert_nowhere(home)


def test_a_secret_may_be_a_file_that_is_gone_with_its_worker(runtime: Runtime) -> None:
    path, begins, mode = result(vault.file_path)
    assert begins == CERTIFICATE[:5]
    assert mode == 0o600
    for worker in workers(os.getpid()):
        worker.kill()
    until(lambda: not Path(path).exists(), SECONDS)


def test_p10_what_tasks_print_is_masked_where_the_user_sees_it(
    runtime: Runtime, echoed: list[str]
) -> None:
    result(vault.prints)
    until(lambda: "the end" in "".join(echoed), SECONDS)
    assert TOKEN not in "".join(echoed)


def test_a_run_whose_secret_is_missing_does_not_start(runtime: Runtime) -> None:
    with pytest.raises(errors.SecretNotFoundError, match="no secret 'nobody-has-this'") as told:
        perdure.with_runcontext(name="hopeless").run(vault.never)
    assert told.value.task == "lost.never"
    with pytest.raises(errors.RunNotFoundError):
        perdure.get_run("hopeless")


def test_a_call_whose_secret_is_missing_fails_with_the_places_that_were_asked(
    runtime: Runtime,
) -> None:
    message = result(vault.calls_lost)
    assert "no secret 'nobody-has-this'" in message
    assert "environment variables" in message
    assert "secrets.env" in message


def test_an_override_gives_secrets_and_takes_them(runtime: Runtime) -> None:
    assert result(vault.takes.override(secrets="api-token"), "x") == 1
    with pytest.raises(KeyError):
        result(vault.length.override(secrets=None))


def test_a_rerun_in_another_process_asks_the_sources_again(runtime: Runtime, home: Path) -> None:
    run = perdure.run(vault.length)
    assert run.result(timeout=SECONDS) == len(TOKEN)
    assert run.name
    code = f"import perdure; print(perdure.rerun({run.name!r}, recover=False).result())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PERDURE_HOME": str(home), "API_TOKEN": "another token"},
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout.strip() == str(len("another token")), done.stderr


def test_names_are_recorded_and_nothing_else(runtime: Runtime) -> None:
    run = perdure.run(vault.length)
    run.wait(SECONDS)
    row = runtime.load(run.name)
    names = [(each.name, each.variable, each.is_file) for each in row.spec.reuse.secrets]
    assert names == [("api-token", "API_TOKEN", False), ("certificate", "CERTIFICATE", True)]
    bundle: Bundle = row.bundle
    assert set(bundle.secret_variables) >= {"api-token", "API_TOKEN", "certificate", "CERTIFICATE"}
    assert TOKEN not in json.dumps(bundle.secret_variables)
