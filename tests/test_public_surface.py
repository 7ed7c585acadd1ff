"""What others rely on, as a reviewed snapshot; and how large the rooms may get."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perdure

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
NAMES = Path(__file__).with_name("public_names.txt")

HEAVY = (
    "numpy", "pandas", "polars", "pyarrow", "pydantic", "rich", "click", "sqlite3", "obstore",
)  # fmt: skip
"""What ``import perdure`` must not import."""

LONGEST_MODULE = 500
LONGEST_FUNCTION = 60


def test_public_names_are_those_that_were_reviewed() -> None:
    """After a deliberate change, write the new names into ``public_names.txt``."""
    assert sorted(perdure.__all__) == NAMES.read_text().split()


def test_every_public_name_can_be_had() -> None:
    assert [name for name in perdure.__all__ if not hasattr(perdure, name)] == []
    assert set(perdure.__all__) <= set(dir(perdure))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = perdure.nonsense  # type: ignore[attr-defined]


def test_import_is_light() -> None:
    code = "import sys, perdure; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(set(HEAVY) & set(done.stdout.split())) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_module_is_a_small_room(path: Path) -> None:
    text = path.read_text()
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []
    assert text.count("\n") <= LONGEST_MODULE
