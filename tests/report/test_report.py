"""Reports of actions: tabs, flushes, attempts."""

import asyncio
from pathlib import Path

import pytest

import perdure
from perdure import errors, report
from perdure._api import page, scope
from perdure._api.report import publish
from perdure.config import report_path


class Attempt:
    """As much of an attempt as a report needs."""

    def __init__(self, home: Path) -> None:
        self.run, self.action, self.task, self.number = "run", b"\1" * 16, "flights.main", 0
        self.home, self.sync, self.report = home, True, None
        self.devices = ()

    @property
    def page(self) -> Path:
        return report_path(self.home, self.run, self.action)


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    attempt = Attempt(tmp_path)
    scope.enter(attempt)  # type: ignore[arg-type]
    yield attempt
    scope.forget()


def test_outside_any_run_what_is_logged_goes_nowhere() -> None:
    report.log("<p>nobody sees this</p>", do_flush=True)
    asyncio.run(report.flush.aio())
    assert not report.current_report().has_content()


def test_a_report_is_written_by_a_flush_and_grows(attempt: Attempt) -> None:
    report.log("<p>one</p>")
    assert not attempt.page.exists()
    report.flush()
    assert "<p>one</p>" in attempt.page.read_text()
    report.log("<p>two</p>", do_flush=True)
    assert "<p>one</p>\n<p>two</p>" in attempt.page.read_text()
    report.replace("<p>three</p>", do_flush=True)
    assert "<p>three</p>" in attempt.page.read_text()
    assert "<p>one</p>" not in attempt.page.read_text()


def test_async_code_awaits_the_same(attempt: Attempt) -> None:
    async def use() -> None:
        await report.log.aio("<p>one</p>")
        assert not attempt.page.exists()
        await report.log.aio("<p>two</p>", do_flush=True)
        assert "<p>one</p>\n<p>two</p>" in attempt.page.read_text()
        await report.replace.aio("<p>three</p>")
        await report.flush.aio()
        assert "<p>two</p>" not in attempt.page.read_text()

    asyncio.run(use())


def test_tabs_come_in_the_order_in_which_they_were_made(attempt: Attempt) -> None:
    report.tab("data & more").log("<p>rows</p>")
    report.get_tab("model").log("<p>weights</p>")
    report.tab("data & more").log("<p>more rows</p>")
    report.tab("never used")
    text = report.current_report().get_final_report()
    names = [part.partition("</button>")[0] for part in text.split('">')[1:]]
    assert [n for n in names if n in ("main", "data &amp; more", "model", "never used")] == [
        "data &amp; more", "model",
    ]  # fmt: skip
    report.tab("model").replace({"loss": 0.5})
    assert report.get_tab("model").get_html() == "<pre>{&#x27;loss&#x27;: 0.5}</pre>"
    with pytest.raises(errors.ConfigurationError, match="no tab 'plans'") as caught:
        report.get_tab("plans", create_if_missing=False)
    assert "model" in caught.value.hint


def test_one_tab_is_shown_without_a_name(attempt: Attempt) -> None:
    report.log("<p>all there is</p>")
    assert 'role="tab"' not in report.current_report().get_final_report().partition("<script>")[0]


def test_a_page_says_whose_it_is_and_whether_more_is_to_come(attempt: Attempt) -> None:
    attempt.task = "flights.<main>"
    report.log("<p>x</p>", do_flush=True)
    text = attempt.page.read_text()
    assert "<title>flights.&lt;main&gt;</title>" in text
    assert "run run · attempt 1" in text
    assert 'http-equiv="refresh"' in text
    publish(attempt, final=True)  # type: ignore[arg-type]
    assert 'http-equiv="refresh"' not in attempt.page.read_text()


def test_a_page_needs_no_network() -> None:
    text = page.of("title", {"one": "a", "two": "b"}, origin="somewhere", live=True)
    assert "http://" not in text
    assert "https://" not in text
    assert "$" not in text


def test_content_is_no_template() -> None:
    assert "costs $5, ${name}" in page.of("t", {"main": "costs $5, ${name}"})


def test_a_report_without_content_is_not_written(attempt: Attempt) -> None:
    report.flush()
    report.tab("empty")
    publish(attempt, final=True)  # type: ignore[arg-type]
    assert not attempt.page.exists()


def test_a_flush_replaces_the_page_at_once(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.log("<p>whole</p>", do_flush=True)
    monkeypatch.setattr(Path, "rename", lambda self, to: pytest.fail("stop here"))
    with pytest.raises(BaseException, match="stop here"):
        report.log("<p>more</p>", do_flush=True)
    monkeypatch.undo()
    assert "<p>more</p>" not in attempt.page.read_text()
    assert [p.name for p in attempt.page.parent.iterdir()] == [attempt.page.name]


def test_text_that_is_no_unicode_does_not_matter(attempt: Attempt) -> None:
    report.log("\udcff", do_flush=True)
    assert "\\udcff" in attempt.page.read_text()


def test_what_flyte_has_and_this_has_not_is_refused_by_name() -> None:
    with pytest.raises(errors.NotSupportedError, match="Timeline"):
        _ = report.Timeline
    with pytest.raises(AttributeError):
        _ = report.nonsense


def test_the_context_has_the_report_too(attempt: Attempt) -> None:
    attempt.replay = attempt.depth = 0  # type: ignore[attr-defined]
    context = perdure.ctx()
    assert context is not None
    assert context.report is report.current_report()
