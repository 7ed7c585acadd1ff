"""The source of a task's function, as the run's bundle has it."""

import ast
from functools import cache

from perdure._core.model import Bundle
from perdure._ports import Blobs
from perdure.errors import StorageError


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
        """Return the source of a task's function; None if it is not in a file."""
        environment, _, name = task.rpartition(".")
        found = [text for each, env, text in self._functions() if each == name and env]
        return found[0] if environment and len(found) == 1 else None

    def _functions(self) -> list[tuple[str, bool, str]]:
        if not hasattr(self, "_found"):
            self._found = [each for file in self._bundle.files for each in self._in(file.blob)]
        return self._found

    def _in(self, blob: bytes) -> list[tuple[str, bool, str]]:
        try:
            text = bytes(self._blobs.get(blob)).decode()
            tree = ast.parse(text)
        except (StorageError, SyntaxError, ValueError):
            return []
        return [
            (node.name, bool(node.decorator_list), ast.get_source_segment(text, node) or "")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
