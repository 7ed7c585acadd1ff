"""Documentation is code: every Python block runs, every command that is shown exists."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from perdure import errors
from perdure.cli.root import root
from perdure.config import Config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "examples").rglob("*.md"))

# An HTML comment directly above a block keeps it from being run: <!-- skip: needs a cluster -->
BLOCK = re.compile(r"(<!-- skip: .+ -->\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#]+?)(?:#[^)]*)?\)")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    skipped: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str) -> Iterator[Block]:
    """Yield all blocks of a language, with the lines at which they start."""
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            skip, found, body = match.groups()
            if found == language:
                line = text.count("\n", 0, match.start(3)) + 1
                yield Block(page, line, found, body, bool(skip))


def commands() -> Iterator[tuple[Block, list[str]]]:
    """Yield the commands shown in console blocks, split into words."""
    for block in blocks("console"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                yield block, shlex.split(line[2:], comments=True)


COMMANDS = list(commands())


def shown(program: str) -> list[list[str]]:
    """Return the arguments of every command of ``program`` that some page shows."""
    return [words[1:] for _, words in COMMANDS if words[0] == program]


@pytest.mark.parametrize("block", [b for b in blocks("python") if not b.skipped], ids=str)
def test_python_block_runs(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    # Tracebacks point at the page: the block stands where it stands there.
    script.write_text("\n" * (block.line - 1) + block.text)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        env=os.environ | {"PERDURE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


ROOT_COMMANDS = root.list_commands(click.Context(root))


def command(name: str) -> click.Command:
    """Return the command of that name."""
    found = root.get_command(click.Context(root), name)
    assert found is not None, f"perdure has no command {name!r}"
    return found


@pytest.mark.parametrize("arguments", shown("perdure"), ids=" ".join)
def test_perdure_command_shown_exists(arguments: list[str]) -> None:
    verb, *rest = arguments
    found = command(verb)
    if isinstance(found, click.Group):
        assert rest, f"perdure {verb} has commands of its own"
        found = found.commands[rest[0]]
    params = found.params
    if verb in ("run", "rerun"):  # their other options are the task's parameters
        return
    known = {option for parameter in params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("arguments", shown("make"), ids=" ".join)
def test_make_target_shown_exists(arguments: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(arguments) <= set(targets)


@pytest.mark.parametrize("arguments", shown("python"), ids=" ".join)
def test_script_shown_exists(arguments: list[str]) -> None:
    assert (ROOT / arguments[0]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text()) if "://" not in t]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ROOT_COMMANDS)
def test_command_and_its_options_are_documented(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    start = text.find(f"\n## `perdure {name}`\n")
    assert start >= 0, f"docs/cli.md has no section about perdure {name}"
    section = text[start + 1 :].partition("\n## ")[0]
    documented = set(re.findall(r"`(-[\w-]+)", section))
    found = command(name)
    commands = [found, *(found.commands.values() if isinstance(found, click.Group) else ())]
    params = [each for one in commands for each in one.params]
    options = {option for each in params for option in each.opts if option[0] == "-"}
    options |= {option for each in params for option in each.secondary_opts}
    assert documented == options - {"-h", "--help"}


def test_every_error_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)`", text, re.MULTILINE))
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    assert rows == {
        each.code: each.__name__ for each in kinds if issubclass(each, errors.PerdureError)
    }


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    variables = set(re.findall(r"PERDURE_[A-Z_]*[A-Z]", sources))
    assert set(re.findall(r"^\| `(PERDURE_\w+)`", text, re.MULTILINE)) == variables
    table = text.partition("## Config")[2]
    fields = {field.name for field in dataclasses.fields(Config)}
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == fields


def test_reference_is_up_to_date() -> None:
    command = [sys.executable, ROOT / "tools" / "reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    hint = "write it anew: python tools/reference.py"
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{hint}"


def test_every_page_is_reachable_from_the_start() -> None:
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        targets = {(page.parent / target).resolve() for target in LINK.findall(page.read_text())}
        ahead += [each for each in targets - seen if each in PAGES]
    assert [page for page in PAGES if page not in seen] == []
