"""Documentation is code: every Python block runs, every command that is shown exists."""

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


@pytest.mark.parametrize("arguments", shown("perdure"), ids=" ".join)
def test_perdure_command_shown_exists(arguments: list[str]) -> None:
    from perdure.cli.root import root

    verb, *rest = arguments
    context = click.Context(root)
    assert verb in root.list_commands(context), f"perdure has no command {verb!r}"
    command = root.get_command(context, verb)
    assert command is not None
    if verb == "run":  # its other options are the task's parameters
        return
    known = {option for parameter in command.params for option in parameter.opts}
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


def test_every_command_is_documented() -> None:
    from perdure.cli.root import root

    text = (ROOT / "docs" / "cli.md").read_text()
    verbs = root.list_commands(click.Context(root))
    assert [verb for verb in verbs if f"`perdure {verb}" not in text] == []
