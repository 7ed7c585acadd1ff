"""A fork of this interpreter becomes a worker of an environment only where nobody could tell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import perdure

ASK = """
import json, sys, types
from pathlib import Path
import perdure._worker.forkserver
from perdure._worker import guests

def asked():
    guests._is_plain.cache_clear()
    guests._needed.cache_clear()
    return [Path(each).name for each in sys.argv[1:] if guests.may_move_in(Path(each))]

said = [asked()]
sys.modules["brought"] = types.ModuleType("brought")
said.append(asked())
sys.modules["brought"].__file__ = sys.argv[1] + "/brought.py"
said.append(asked())
print(json.dumps(said))
"""

PROBE = """
import importlib.metadata, importlib.util, json, os, site, subprocess, sys, sysconfig
print(json.dumps({
    "sys": [getattr(sys, name) for name in (
        "executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix",
        "_base_executable", "_home", "warnoptions",
    )],
    "started": sys.orig_argv[0],
    "path": [entry for entry in sys.path if entry],
    "finders": [type(each).__name__ for each in sys.meta_path if "perdure" not in each.__module__],
    "hooks": len(sys.path_hooks),
    "site": [site.PREFIXES, site.ENABLE_USER_SITE, site.getsitepackages()],
    "sysconfig": [sysconfig.get_paths(), sysconfig.get_config_var("prefix")],
    "installed": sorted(str(each._path) for each in importlib.metadata.distributions()),
    "found": [
        getattr(importlib.util.find_spec(name), "origin", None)
        for name in ("only_there", "typing_extensions", "pytest", "pip", "via_path")
    ],
    "below": subprocess.check_output(
        [sys.executable, "-c", "import sys; print(sys.prefix)"], text=True
    ),
}))
"""

MOVE_IN = f"""
import sys
from pathlib import Path
import perdure._worker.forkserver
from perdure._worker import guests
assert guests.may_move_in(Path(sys.argv[1]))
guests.move_in(Path(sys.argv[1]))
exec({PROBE!r})
"""


def output(*command, **environ):
    """Run it where Perdure is found for being the working directory."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=Path(perdure.__file__).parents[1],
        env=kept | environ,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_an_environment_moves_in_only_if_it_has_what_is_loaded_here(twin):
    whole = twin("whole")
    finders = twin("finders")
    (finders.site / "distutils-precedence.pth").write_text(
        "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var) == 'local'\n"
    )
    (finders.site / "more.pth").write_text("/somewhere/else\n")
    (twin("no settings").folder / "pyvenv.cfg").unlink()
    (twin("open to more").folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    other = twin("other interpreter").folder / "bin" / "python"
    other.unlink()
    other.symlink_to("/bin/sh")
    (twin("code at the start").site / "hook.pth").write_text("import sys; sys.hooked = True\n")
    (twin("customized").site / "sitecustomize.py").touch()
    (twin("without uvloop").site / "uvloop").unlink()
    perdures = twin("another perdure").site / "perdure"
    perdures.unlink()
    perdures.mkdir()
    version = twin("another version").information("msgspec")
    version.rename(version.with_name("msgspec-0.0.1.dist-info"))
    record = twin("another file").information("msgspec") / "RECORD"
    line = "msgspec/__init__.py,sha256="
    record.write_text(record.read_text().replace(line, f"{line}x"))
    damaged = twin("damaged").site / "blake3"
    real = damaged.resolve()
    damaged.unlink()
    damaged.mkdir()
    for file in real.iterdir():
        (damaged / file.name).symlink_to(file)
    (damaged / "__init__.py").unlink()
    (damaged / "__init__.py").touch()
    said = output(sys.executable, "-c", ASK, *sorted(whole.folder.parent.iterdir()))
    assert said == [["finders", "whole"], [], []]


def test_a_guest_is_like_a_process_of_its_environment(twin, tmp_path):
    there = twin("there")
    (there.site / "only_there.py").touch()
    (there.site / "more.pth").write_text(f"{tmp_path}\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "via_path.py").touch()
    more = {"PYTHONPATH": str(tmp_path / "more")}
    guest = output(sys.executable, "-c", MOVE_IN, there.folder, **more)
    assert guest == output(there.folder / "bin" / "python", "-c", PROBE, **more)
    assert guest["sys"][1] == str(there.folder)
    assert guest["found"] == [
        str(there.site / "only_there.py"), None, None, None, str(tmp_path / "more" / "via_path.py"),
    ]  # fmt: skip
