"""Reports of real actions: there when the outcome is seen, and while the action runs."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure import errors
from perdure._embedded import Runtime
from perdure.config import folder_name
from real.processes import until
from real.programs import reports


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "perdure", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def test_every_action_that_reports_has_a_page(runtime: Runtime) -> None:
    run = perdure.run(reports.main)
    assert run.result(60) == [1, 2]
    root = run.report()
    assert root is not None
    assert "<h1>Both</h1>" in root.read_text()
    assert "details" in root.read_text()
    assert "refresh" not in root.read_text()
    second = run.report("3")
    assert second is not None
    assert "<p>child 2</p>" in second.read_text()
    assert asyncio.run(run.report.aio("1")) == root

    told = cli("report", run.name)
    assert told.returncode == 0, told.stderr
    assert [line.split()[:2] for line in told.stdout.splitlines()[1:]] == [
        ["1", "reports.main"], ["2", "reports.child"], ["3", "reports.child"],
    ]  # fmt: skip
    assert cli("report", run.name, "3").stdout.strip() == str(second)
    shown = cli("show", run.name).stdout
    assert f"{root}, and 2 more: perdure report {run.name}" in shown
    assert str(second) in cli("show", run.name, "3").stdout
    assert str(second) in cli("show", run.name, "3", "--json").stdout


def test_an_action_that_reports_nothing_has_none(runtime: Runtime) -> None:
    run = perdure.run(reports.quiet)
    run.wait(60)
    assert run.report() is None
    told = cli("report", run.name)
    assert told.returncode == 3
    assert "perdure.report.log" in told.stderr
    assert "has no report" in cli("report", run.name, "1").stderr
    assert cli("report", run.name, "7").returncode == 3
    assert ".html" not in cli("show", run.name).stdout


def test_the_newest_attempt_wins_also_over_one_that_was_killed(runtime: Runtime) -> None:
    run = perdure.run(reports.breaking)
    run.result(60)
    page = run.report()
    assert page is not None
    text = page.read_text()
    assert "<p>attempt 1</p>" not in text
    assert "<p>attempt 2</p>" in text or "<p>attempt 1</p>" in text


def test_a_failed_action_has_its_report(runtime: Runtime) -> None:
    run = perdure.run(reports.hopeless)
    with pytest.raises(ValueError, match="no"):
        run.result(60)
    page = run.report()
    assert page is not None
    assert "last words" in page.read_text()


def test_what_is_flushed_is_seen_while_the_action_runs(runtime: Runtime, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = perdure.run(reports.followed, gate=gate)
    until(lambda: run.report() is not None)
    page = run.report()
    assert page is not None
    assert "so far" in page.read_text()
    assert "refresh" in page.read_text()
    gate.touch()
    run.result(60)
    assert "refresh" not in page.read_text()


def test_a_report_that_cannot_be_written_is_a_warning_and_no_failure(
    runtime: Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "blocked"
    blocked = runtime.config.reports / folder_name(name)
    run = perdure.with_runcontext(name=name).run(reports.nowhere, blocked=blocked)
    assert run.result(60) == "done"
    until(lambda: "report that could not be written" in capfd.readouterr().err)


def test_run_names_that_file_systems_mistake_have_folders_of_their_own(runtime: Runtime) -> None:
    names = ["Nightly", "nightly", "n" * 200, "ü" * 200]
    folders = {folder_name(name).lower() for name in names}
    assert len(folders) == 4
    assert all(len(folder.encode()) < 256 for folder in folders)
    for name in names[2:]:
        run = perdure.with_runcontext(name=name).run(reports.child, 1)
        run.result(60)
        assert run.report() is not None


def test_errors_tell_of_unknown_actions(runtime: Runtime) -> None:
    run = perdure.run(reports.child, 5)
    run.wait(60)
    with pytest.raises(errors.ActionNotFoundError):
        run.report("99")
