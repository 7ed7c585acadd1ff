"""A bundle names the code of a run, and what has changed since."""

import subprocess
import sys

import msgspec
import pytest

from perdure._blobs.local import LocalBlobs
from perdure._bundle import capture, changed
from perdure._core.model import Bundle, SourceFile

SOURCE = '''"""Module."""
import os

LIMIT = 3

def clean(x):
    """Docstring."""
    return x + LIMIT

class Model:
    """Docstring."""
    depth = 2

    def fit(self):
        return self.depth

    @property
    def name(self):
        return "model"

if __name__ == "__main__":
    print(clean(1))
'''


@pytest.fixture
def blobs(tmp_path):
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def edit(tmp_path, blobs):
    """Return what ``changed`` says after a replacement in the source."""
    path = tmp_path / "flights.py"
    path.write_text(SOURCE)
    bundle = Bundle(cwd=str(tmp_path), files=(SourceFile(str(path), blobs.put([SOURCE.encode()])),))

    def apply(*replacements):
        text = SOURCE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return changed(bundle, blobs)

    apply.path = path
    apply.bundle = bundle
    return apply


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os", "import os  # why"),
        ("x + LIMIT", "(\n        x + LIMIT\n    )"),
        ('"""Docstring."""', '"""Another."""'),
        ('    """Docstring."""\n', ""),
        ("print(clean(1))", "print(clean(2))"),
    ],
    ids=["comment", "formatting", "docstring", "docstring removed", "main block"],
)
def test_what_does_not_run_in_a_worker_is_no_change(edit, old, new):
    assert edit((old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("x + LIMIT", "x - LIMIT", ["clean"]),
        ("def clean(x)", "async def clean(x)", ["clean"]),
        ("def clean(x)", "def tidy(x)", ["clean", "tidy"]),
        ("return self.depth", "return 0", ["Model.fit"]),
        ("    @property\n", "", ["Model.name"]),
        ("depth = 2", "depth = 3", ["Model"]),
        ("class Model:", "class Model(dict):", ["Model"]),
        ("LIMIT = 3", "LIMIT = 4", ["module level"]),
        ("return x", "return (x", ["whole file"]),
    ],
)
def test_a_change_is_named(edit, old, new, named):
    assert edit((old, new)) == [f"flights.py: {name}" for name in named]


def test_a_file_that_was_removed_is_named(edit, blobs):
    edit.path.unlink()
    assert changed(edit.bundle, blobs) == ["flights.py: file is gone"]


def test_a_file_whose_old_text_is_gone_is_named_as_a_whole(edit, tmp_path):
    assert changed(edit.bundle, LocalBlobs(tmp_path / "other")) == ["flights.py: whole file"]


CAPTURE = """
import sys
from pathlib import Path
import msgspec
from perdure import _bundle
from perdure._blobs.local import LocalBlobs
{extra}
bundle = _bundle.capture(LocalBlobs(Path({blobs!r})))
sys.stdout.buffer.write(msgspec.msgpack.encode(bundle))
"""


def captured(arguments, tmp_path, **kwargs):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, check=True, **kwargs
    )
    return msgspec.msgpack.decode(done.stdout, type=Bundle)


def test_a_script_is_captured_with_the_project_modules_it_loaded(tmp_path):
    source = CAPTURE.format(
        blobs=str(tmp_path / "blobs"), extra="import helpers, json, cloudpickle"
    )
    (tmp_path / "script.py").write_text(source)
    (tmp_path / "helpers.py").write_text("X = 1\n")
    bundle = captured(["script.py", "--flag"], tmp_path)
    assert bundle.main == str(tmp_path / "script.py")
    assert bundle.main_module == ""
    assert bundle.argv == ("script.py", "--flag")
    assert bundle.cwd == str(tmp_path)
    assert bundle.sys_path[0] == str(tmp_path)
    assert [file.path for file in bundle.files] == [
        str(tmp_path / "helpers.py"),
        str(tmp_path / "script.py"),
    ]
    blobs = LocalBlobs(tmp_path / "blobs")
    assert bytes(blobs.get(bundle.files[1].blob)).decode() == source
    assert changed(bundle, blobs) == []


def test_a_module_started_with_dash_m_has_its_real_name(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tool.py").write_text(CAPTURE.format(blobs=str(tmp_path / "blobs"), extra=""))
    bundle = captured(["-m", "package.tool"], tmp_path)
    assert (bundle.main, bundle.main_module) == ("", "package.tool")
    assert [file.path for file in bundle.files] == [
        str(package / "__init__.py"),
        str(package / "tool.py"),
    ]


@pytest.mark.parametrize("way", ["-c", "stdin"])
def test_code_without_a_file_has_no_main(tmp_path, way):
    source = CAPTURE.format(blobs=str(tmp_path / "blobs"), extra="")
    if way == "-c":
        bundle = captured(["-c", source], tmp_path)
    else:
        bundle = captured(["-"], tmp_path, input=source.encode())
    assert (bundle.main, bundle.main_module, bundle.files) == ("", "", ())
    assert str(tmp_path) in bundle.sys_path


def test_a_script_that_was_loaded_rather_than_started_is_the_main(tmp_path):
    (tmp_path / "script.py").write_text("X = 1\n")
    extra = (
        f"from perdure._worker.loader import load_main\nload_main({str(tmp_path / 'script.py')!r})"
    )
    bundle = captured(["-c", CAPTURE.format(blobs=str(tmp_path / "blobs"), extra=extra)], tmp_path)
    assert bundle.main == str(tmp_path / "script.py")
    assert bundle.sys_path[0] == str(tmp_path)


def test_a_second_capture_sees_a_file_that_was_edited(tmp_path, monkeypatch, blobs):
    path = tmp_path / "edited.py"
    path.write_text("X = 1\n")
    module = type(sys)("edited")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "edited", module)

    def text():
        files = {file.path: file.blob for file in capture(blobs).files}
        return bytes(blobs.get(files[str(path)]))

    assert text() == b"X = 1\n"
    path.write_text("X = 1000\n")
    assert text() == b"X = 1000\n"


def test_what_functions_import_when_they_are_called_belongs_to_the_bundle(tmp_path):
    later = "def f():\n    from package.sub import (module, other)\n"
    later += "    import helpers as h, json, numpy\n"
    capture = CAPTURE.format(blobs=str(tmp_path / "blobs"), extra="")
    (tmp_path / "script.py").write_text(later + capture)
    (tmp_path / "helpers.py").write_text("if True:\n    from . import nothing\n    import script\n")
    folder = tmp_path / "package" / "sub"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "module.py").write_text("def f():\n    from ..beside import x\n")
    (tmp_path / "package" / "beside.py").touch()
    (tmp_path / "unrelated.py").touch()
    files = [file.path for file in captured(["script.py"], tmp_path).files]
    assert [path.removeprefix(f"{tmp_path}/") for path in files] == [
        "helpers.py",
        "package/beside.py",
        "package/sub/__init__.py",
        "package/sub/module.py",
        "script.py",
    ]
