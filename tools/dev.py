"""What the Makefile calls: virtual environments, the gate, the demo. Standard library only.

Each Python gets a virtual environment under ``.venvs``. It is made when it is missing and made
anew when the project's dependencies or ``constraints.txt`` have changed; otherwise nothing is
installed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"
SUPPORTED = ("3.11", "3.12", "3.13")
CHECKED = ["src", "tests", "examples", "bench", "tools"]

Command = list[str | Path]
ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main(action: str, *arguments: str) -> int:
    """Do what the target of that name promises and return the exit status."""
    if action == "test":
        return gate(list(arguments))
    if action == "demo":
        python = environment("demo", [Path(sys.executable)], project("examples"))
        return run([python, "examples/flights/demo.py", *arguments])
    if action == "bench":
        return bench(list(arguments))
    python = tools_python()
    commands: dict[str, list[Command]] = {
        "lint": formatting(python) + layers(python),
        "types": types(python),
        "format": [
            [python, "-m", "ruff", "check", "--fix", *checked()],
            [python, "-m", "ruff", "format", *checked()],
        ],
        "docs": [[python, "-m", "pytest", "-q", "tests/test_docs.py"]],
    }
    return max(run(command) for command in commands[action])


def gate(arguments: list[str]) -> int:
    """Run every check on the oldest Python and the tests on every Python; report all failures."""
    started = time.monotonic()
    found = interpreters()
    say(f"Pythons: {', '.join(found)}")
    failed: list[str] = []
    # All of them first: tests of one find in the others what workers need under another Python.
    pythons = {
        version: environment(version, candidates, project("dev,examples"))
        for version, candidates in found.items()
    }
    for index, (version, python) in enumerate(pythons.items()):
        steps: dict[str, list[Command]] = {}
        if index == 0:
            add_torch(python)
            steps |= {
                "format and lint": formatting(python),
                "types": types(python),
                "layers": layers(python),
            }
        else:
            # Simulated worlds are the same under every Python: a part of them shows that.
            os.environ.setdefault("PERDURE_SEEDS", "60")
        # Two workers: the tests start processes of their own.
        tests: Command = [python, "-m", "pytest", "-q", "-n", "2", *arguments]
        # Compiled once: where Python is told to write no bytecode, each of the many processes
        # that the tests start would compile all that it imports.
        compiled: Command = [python, "-m", "compileall", "-q", "src"]
        steps[f"tests on {version}"] = [compiled, tests]
        for name, commands in steps.items():
            say(name)
            if any([run(command) for command in commands]):  # noqa: C419  # run them all
                failed.append(name)
    say(f"{'FAILED: ' + ', '.join(failed) if failed else 'all passed'}, in "
        f"{time.monotonic() - started:.0f} s")  # fmt: skip
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    """Run the benchmarks: Perdure as a user has it, the peers in an environment of their own."""
    _, candidates = next(iter(interpreters().items()))
    python = environment("bench-perdure", candidates, [*project(), "numpy"])
    environment("bench", candidates, ["-r", "bench/peers.txt"])
    run([python, "-m", "compileall", "-q", "src", "bench"])
    return run([python, "bench", *arguments])


def formatting(python: Path) -> list[Command]:
    """Return the commands that check formatting and lint."""
    return [
        [python, "-m", "ruff", "format", "--check", *checked()],
        [python, "-m", "ruff", "check", *checked()],
    ]


def types(python: Path) -> list[Command]:
    """Return the command that checks types."""
    return [[python, "-m", "mypy"]]


def layers(python: Path) -> list[Command]:
    """Return the command that checks which module may import which."""
    return [[python.with_name("lint-imports"), "--cache-dir", ".import_linter_cache"]]


def checked() -> list[str]:
    """Return the folders that are linted, those that exist."""
    return [folder for folder in CHECKED if (ROOT / folder).is_dir()]


def tools_python() -> Path:
    """Return the Python of the environment in which the checks run: the oldest."""
    version, candidates = next(iter(interpreters().items()))
    return environment(version, candidates, project("dev,examples"))


def interpreters() -> dict[str, list[Path]]:
    """Return the supported Pythons of this machine, oldest first, each with its executables.

    A ``python3.x`` on the PATH need not work (pyenv puts a stand-in there for every version), so
    each is asked for its version.
    """
    result: dict[str, list[Path]] = {version: [] for version in SUPPORTED}
    for path in _executables():
        version = _version(path)
        if version in result and path not in result[version]:
            result[version].append(path)
    own = "{}.{}".format(*sys.version_info)
    found = {version: paths for version, paths in result.items() if paths}
    return found or {own: [Path(sys.executable)]}


def _executables() -> list[Path]:
    found = [Path(sys.executable)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in SUPPORTED:
        # Real installations first: a stand-in would start another program at every call.
        found += sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
        for folder in os.get_exec_path():
            candidate = Path(folder, f"python{version}")
            if candidate.is_file() and os.access(candidate, os.X_OK):
                found.append(candidate)
    return found


def _version(python: Path) -> str:
    answer = subprocess.run(
        [python, "-c", ASK_VERSION], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def project(extras: str = "") -> Command:
    """Return what pip is told to install this project with these extras."""
    return ["-c", "constraints.txt", "-e", f".[{extras}]" if extras else "."]


def environment(name: str, candidates: list[Path], wanted: Command) -> Path:
    """Return the Python of the virtual environment ``name``, after making it if need be."""
    folder = VENVS / name
    python, stamp = folder / "bin" / "python", folder / "stamp"
    fingerprint = _fingerprint(wanted)
    if python.exists() and stamp.exists() and stamp.read_text() == fingerprint:
        return python
    for candidate in candidates:
        say(f"making {folder.relative_to(ROOT)} with {candidate}")
        shutil.rmtree(folder, ignore_errors=True)
        # Some systems' Pythons come without venv or pip: then the next one is tried.
        if run([candidate, "-m", "venv", folder]) == 0:
            break
    else:
        sys.exit(f"No virtual environment could be made for {name}: is python3-venv installed?")
    install: Command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if status := run([*install, *wanted]):
        sys.exit(status)
    stamp.write_text(fingerprint)
    return python


def add_torch(python: Path) -> None:
    """Install torch if pip has it on this machine: it is too large to be fetched for a check."""
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    at_hand = [*pip, "--no-index", "--no-deps", "-c", "constraints.txt", "torch"]
    if subprocess.run(at_hand, cwd=ROOT, capture_output=True, check=False).returncode:
        say("torch is not at hand: tests/serde/test_tensors.py is left out")
    elif status := run([*pip, *project("dev,examples,torch")]):
        sys.exit(status)


def _fingerprint(wanted: Command) -> str:
    """Return a digest of everything that decides what is installed."""
    parts = [repr(wanted)]
    parts += [path.read_text() for each in wanted if (path := ROOT / each).is_file()]
    if "-e" in wanted:
        ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
        parts += [repr((ours["project"], ours["build-system"]))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def run(command: Command) -> int:
    """Run a command in the project's folder, with its output passed through."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    """Print a headline between the outputs of the tools."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"{bold}── {text}{plain}", flush=True)


if __name__ == "__main__":
    actions = "test demo lint types format docs bench"
    if len(sys.argv) < 2 or not re.fullmatch(actions.replace(" ", "|"), sys.argv[1]):
        sys.exit(f"usage: dev.py {{{actions.replace(' ', ',')}}} [ARGUMENT...]")
    sys.exit(main(*sys.argv[1:]))
