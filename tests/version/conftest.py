"""Small projects, written to disk, imported and forgotten again."""

import importlib
import itertools
import sys

import pytest

from perdure._version.code import code_version

_numbers = itertools.count()


class Project:
    """Folders of modules of which one is imported at a time."""

    def __init__(self, tmp_path, monkeypatch):
        self._folder = tmp_path
        self._patch = monkeypatch

    def load(self, files, module="flow"):
        """Return the module of a project, imported anew with all others of the project."""
        folder = self._folder / f"project_{next(_numbers)}"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        names = {name.removesuffix(".py").partition("/")[0] for name in files}
        for known in list(sys.modules):
            if known.partition(".")[0] in names:
                del sys.modules[known]
        with self._patch.context() as patch:
            patch.syspath_prepend(str(folder))
            patch.setattr(sys, "dont_write_bytecode", True)
            loaded = importlib.import_module(module)
            for name in names:
                importlib.import_module(name)
        return loaded

    def version(self, files, function="main"):
        """Return the version of a function of ``flow.py``."""
        if isinstance(files, str):
            files = {"flow.py": files}
        return code_version(getattr(self.load(files), function))


@pytest.fixture
def project(tmp_path, monkeypatch):
    before = set(sys.modules)
    yield Project(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        if "project_" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
