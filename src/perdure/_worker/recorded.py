"""Recorded code: modules are made of the text that a run recorded, not of what is on disk now.

Everything else stays as it was: a module has the ``__file__`` it had, so data files next to it are
found, tracebacks name the same places, and a debugger shows the recorded lines. Only the text comes
from the blobs. A project module that was not recorded, because nothing had loaded it or mentioned
it when the run started, is imported as it is now, and a warning says so.
"""

import linecache
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import ModuleType

from perdure._bundle import is_project_module, is_project_path
from perdure._core.model import Bundle
from perdure._modules import LOADED_MAIN, RECORDED
from perdure._ports import Blobs

_PACKAGE = "__init__.py"

_text_of: dict[str, Callable[[], bytes]] = {}


def text_of(path: str) -> bytes | None:
    """Return the recorded text of a file; None if that on disk is to be used."""
    read = _text_of.get(path)
    if read is None:
        return None
    text = read()
    # Whoever shows a line of the file, shows that which runs. No time of change: never outdated.
    linecache.cache[path] = (len(text), None, decode_source(text).splitlines(keepends=True), path)
    return text


def install(bundle: Bundle, blobs: Blobs) -> None:
    """Have this process import the recorded text of the bundle's files from now on."""
    for file in bundle.files:
        _text_of[file.path] = _reader(blobs, file.blob)
    RECORDED.update(_text_of)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def remove() -> None:
    """Take :func:`install` back, for what is imported from now on."""
    for path in _text_of:
        linecache.cache.pop(path, None)
    _text_of.clear()
    RECORDED.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


@contextmanager
def private_modules(bundle: Bundle, blobs: Blobs) -> Iterator[None]:
    """Inside, this process has none of its project's modules, and imports the recorded ones.

    Afterwards it has the modules it had before, and no others.
    """
    kept, path = _take_project_modules(), list(sys.path)
    sys.path[:] = dict.fromkeys((*bundle.sys_path, *path))
    install(bundle, blobs)
    try:
        yield
    finally:
        remove()
        _take_project_modules()
        sys.modules.update(kept)
        sys.path[:] = path


def _take_project_modules() -> dict[str, ModuleType]:
    """Take the project's modules, the main one that was started aside, out of ``sys.modules``."""
    found = {
        name: module
        for name, module in sys.modules.items()
        if name == LOADED_MAIN or (name != "__main__" and is_project_module(module))
    }
    for name in found:
        del sys.modules[name]
    return found


class _Finder:
    """First on ``sys.meta_path``."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a recorded module; leave others to the usual finders."""
        tail = name.rpartition(".")[2]
        folders = [Path(entry).absolute() for entry in (sys.path if path is None else path)]
        for folder in folders:
            package = folder / tail / _PACKAGE
            if str(package) in _text_of:
                return spec_from_file_location(
                    name,
                    package,
                    loader=_Loader(name, str(package)),
                    submodule_search_locations=[str(package.parent)],
                )
            module = str(folder / f"{tail}.py")
            if module in _text_of:
                return spec_from_file_location(name, module, loader=_Loader(name, module))
        spec = PathFinder.find_spec(name, path, target)  # type: ignore[arg-type]  # any module will do
        if spec is None:
            return _namespace(name, [folder / tail for folder in folders])
        if spec.origin is not None and spec.origin.endswith(".py") and is_project_path(spec.origin):
            warnings.warn(
                f"{spec.origin} was not recorded with the run: it is imported as it is now",
                stacklevel=2,
            )
        return spec


def _namespace(name: str, folders: list[Path]) -> ModuleSpec | None:
    """Return the spec of a folder that is gone, and that has recorded modules in it."""
    inside = [str(f) for f in folders if any(Path(path).is_relative_to(f) for path in _text_of)]
    if not inside:
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = inside
    return spec


class _Loader(SourceFileLoader):
    """Compiles the recorded text; compiled files on disk belong to other texts."""

    def get_data(self, path: str) -> bytes:
        """Return the recorded text, or what else is asked for from disk."""
        text = text_of(path)
        return super().get_data(path) if text is None else text

    def get_code(self, fullname: str):  # type: ignore[no-untyped-def]  # as the base class
        """Compile the recorded text."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _reader(blobs: Blobs, blob: bytes) -> Callable[[], bytes]:
    return lambda: bytes(blobs.get(blob))


_finder = _Finder()
