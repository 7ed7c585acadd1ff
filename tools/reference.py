"""Write ``docs/reference`` from the docstrings of the public names: ``python tools/reference.py``.

With ``--check`` nothing is written; the exit status says whether the pages are up to date.
"""

import inspect
import logging
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import perdure

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

PAGES = {
    "authoring": "Writing tasks",
    "calling": "Calling tasks and waiting",
    "inside": "Inside a task",
    "running": "Starting and finding runs",
    "files": "Files, folders and tables",
    "artifacts": "Artifacts",
    "flyte": "Names of Flyte 2",
}
NAMES = {
    "authoring": """
        TaskEnvironment Task Queue Rate Image Resources GPU Device Cache ReusePolicy Secret
        RetryStrategy Backoff Timeout trace group
    """,
    "calling": "Future map gather wait as_completed",
    "inside": """
        ctx Context Checkpoint latest_checkpoint report custom_context get_custom_context durable
        new_condition logger
    """,
    "running": """
        run with_runcontext resume rerun get_run runs Run init init_from_config init_from_api_key
        init_in_cluster CodeChangedWarning EnvironmentChangedWarning PickledValueWarning
    """,
    "files": "io",
    "artifacts": "artifacts",
    "flyte": "git remote types",
}
GIVEN = {"Artifact", "Checkpoint", "Context", "Future", "Query", "Run", "Task"}
"""Classes that users get objects of, and do not make any themselves."""

INTERNAL = {"allows", "bind", "binder", "bound", "bounds", "check_ignored", "demand", "of"} | {
    "is_enabled", "overwrites", "policy", "reuse", "seconds", "settle", "spec", "with_settings",
    "forget_spec", "startup", "ref", "limits",
}  # fmt: skip
"""Methods that other parts of the package call."""

HEADED = r"(?m)^(Args|Attributes|Example|Raises|Returns|Yields):+\n((?:(?: .*)?(?:\n|\Z))+)"
"""A section of a docstring: its heading, and what is indented below it."""

ELSEWHERE = {"errors", "SecretRequest"}  # docs/errors.md; a type, which says what it is


def pages() -> dict[Path, str]:
    """Return the text of every page."""
    written = {name for names in NAMES.values() for name in names.split()} | ELSEWHERE
    if missing := set(perdure.__all__) ^ written:
        sys.exit(f"tools/reference.py: public names and pages differ by {sorted(missing)}")
    head = "<!-- Written by tools/reference.py from the docstrings. -->\n\n"
    return {
        FOLDER / f"{page}.md": f"{head}# {title}\n\n"
        + "\n".join(
            _section(f"perdure.{name}", getattr(perdure, name)) for name in NAMES[page].split()
        )
        for page, title in PAGES.items()
    }


def _section(path: str, thing: Any) -> str:
    if isinstance(thing, ModuleType):
        parts = [f"## `{path}`\n", _prose(thing.__doc__)]
        members = ((n, v) for n, v in vars(thing).items() if n in getattr(thing, "__all__", ()))
        for name, value in members:
            if isinstance(value, str):
                parts.append(f"### `{path}.{name} = {value!r}`\n")
                continue
            parts.append(_member(f"{path}.{name}", value))
            if inspect.isclass(value):
                parts += [_member(f"{name}.{each}", method) for each, method in _methods(value)]
    else:
        parts = [f"## `{path}{_signature(thing)}`\n", _prose(_doc(thing))]
        if inspect.isclass(thing):
            parts += [_member(name, value) for name, value in _methods(thing)]
    return "\n".join(part for part in parts if part)


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"### `{name}`\n\n{_prose(value.__doc__)}"
    return f"### `{name}{_signature(value)}`\n\n{_prose(_doc(value))}"


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that the class itself defines."""
    for name, defined in vars(cls).items():
        value = getattr(defined, "__func__", defined)
        known = isinstance(value, FunctionType | property) or hasattr(value, "__wrapped__")
        if known and not name.startswith("_") and name not in INTERNAL:
            yield name, value


def _doc(thing: Any) -> str:
    # Objects that stand for functions (perdure.map) document their call, others themselves.
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return thing.__doc__ or ""
    if isinstance(thing, logging.Logger):
        return inspect.getdoc(sys.modules["perdure._api.logger"]) or ""
    own = thing.__dict__.get("__doc__") if hasattr(thing, "__dict__") else None
    call = type(thing).__dict__.get("__call__")
    return own or getattr(call, "__doc__", "") or thing.__doc__ or ""


def _signature(thing: Any) -> str:
    """Return the parameters with their defaults; what they are is in the prose."""
    if inspect.isclass(thing) and (issubclass(thing, Warning) or thing.__name__ in GIVEN):
        return ""
    try:
        found = inspect.signature(getattr(thing, "__wrapped__", thing))
    except (TypeError, ValueError):
        return ""
    shown = [
        each.replace(annotation=inspect.Parameter.empty)
        for name, each in found.parameters.items()
        if name not in ("self", "cls")
    ]
    return str(inspect.Signature(shown))


def _prose(doc: str | None) -> str:
    """Return a Google-style docstring as Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", inspect.cleandoc(doc or "")).replace("``", "`")
    return re.sub(HEADED, _headed, text).strip() + "\n"


def _headed(match: re.Match[str]) -> str:
    heading, body = match[1], textwrap.dedent(match[2]).strip()
    if heading == "Example":
        body = f"```py\n{body}\n```"
    elif heading not in ("Returns", "Yields"):
        body = re.sub(r"^([\w*]+): ", r"- `\1`: ", body, flags=re.MULTILINE)
        body = re.sub(r"^ {4}", "  ", body, flags=re.MULTILINE)
    return f"**{heading}**\n\n{body}\n\n"


def main(check: bool) -> int:
    """Write the pages, or say which of them are out of date."""
    texts = pages()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if check:
        print(*(f"out of date: {path}" for path in stale), sep="\n", end="\n" if stale else "")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(texts[path])
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
