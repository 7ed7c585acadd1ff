"""The source of a task's function, as the run's bundle has it."""

import ast
import re
from functools import cache
from typing import NamedTuple

from perdure._core.model import Bundle
from perdure._ports import Blobs
from perdure.errors import StorageError

_ENVIRONMENT = re.compile(r"""TaskEnvironment\(\s*(?:name\s*=\s*)?["']([^"']+)["']""")


class Sources:
    """Finds functions in the files of a bundle, each parsed once.

    Args:
        bundle: The code that the run is pinned to.
        blobs: Where its files are.
    """

    def __init__(self, bundle: Bundle, blobs: Blobs) -> None:
        self._bundle = bundle
        self._blobs = blobs
        self.of = cache(self._of)

    def _of(self, task: str) -> str | None:
        """Return the source of a task's function; None if it is not in a file, or not certain."""
        environment, _, name = task.rpartition(".")
        named = [each for each in self._functions() if each.name == name]
        # Another file may have a function of that name.
        beside = [each for each in named if environment in each.environments]
        found = beside or named
        return found[0].text if environment and len(found) == 1 else None

    def _functions(self) -> "list[_Function]":
        if not hasattr(self, "_found"):
            self._found = [each for file in self._bundle.files for each in self._in(file.blob)]
        return self._found

    def _in(self, blob: bytes) -> "list[_Function]":
        try:
            text = bytes(self._blobs.get(blob)).decode()
            tree = ast.parse(text)
        except (StorageError, SyntaxError, ValueError):
            return []
        environments = frozenset(_ENVIRONMENT.findall(text))
        return [
            _Function(node.name, ast.get_source_segment(text, node) or "", environments)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
        ]


class _Function(NamedTuple):
    """A decorated function, and the environments that its file makes."""

    name: str
    text: str
    environments: frozenset[str]
