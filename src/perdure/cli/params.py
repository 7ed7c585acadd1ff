"""The parameters of a task as command-line options, with help drawn from its docstring."""

import enum
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any, get_type_hints

import click
from click.core import ParameterSource

from perdure.cli.hints import Reader, is_flag, reader

_ARTIFACT = "artifact:"
"""Begins a reference to a published value, whatever the type of the parameter."""

_SKIPPED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_ARGS = re.compile(r"^(?:Args|Arguments|Parameters):[ ]*\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Returns|Raises|Yields):", re.MULTILINE)


class HintType(click.ParamType[object]):
    """A click type that reads what a type hint asks for."""

    def __init__(self, how: Reader) -> None:
        self.name = how.shown
        self._parse = how.parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Return the value that the text stands for."""
        if not isinstance(value, str):
            return value
        if value.startswith(_ARTIFACT):
            return _published(value.removeprefix(_ARTIFACT))
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def options(function: Callable[..., Any], *, optional: bool = False) -> list[click.Option]:
    """Return one option per parameter of ``function``.

    Args:
        function: A task's function.
        optional: Nothing is required: values are recorded elsewhere already.
    """
    hints = _hints(function)
    told = described(inspect.getdoc(function) or "")
    return [
        _option(parameter, hints.get(name, parameter.annotation), told.get(name, ""), optional)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in _SKIPPED
    ]


def given(ctx: click.Context, params: Iterable[click.Parameter]) -> dict[str, Any]:
    """Return the values of those parameters that the user gave."""
    return {
        str(param.name): ctx.params[str(param.name)]
        for param in params
        if ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    }


def call_arguments(
    function: Callable[..., Any], values: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Split values by name into the positional and keyword arguments of a call."""
    positional, keyword = [], dict(values)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY or name not in keyword:
            break
        positional.append(keyword.pop(name))
    return positional, keyword


def described(doc: str) -> dict[str, str]:
    """Return what a Google-style docstring says about each parameter."""
    section = _ARGS.search(doc)
    if section is None:
        return {}
    texts: dict[str, str] = {}
    name = ""
    body = section[1].rstrip()
    indent = len(body) - len(body.lstrip(" \t"))
    for line in body.splitlines():
        entry = re.match(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)", line[indent:])
        if entry is not None and not line[indent:].startswith((" ", "\t")):
            name = entry[1]
            texts[name] = entry[2]
        elif name:
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


def summary(doc: str) -> str:
    """Return a docstring without its sections, for the top of a help text."""
    return _SECTION.split(inspect.cleandoc(doc), maxsplit=1)[0].strip()


def _published(reference: str) -> object:
    """Return the artifact that ``NAME[@VERSION][?KEY=VALUE&...]`` names."""
    from perdure import artifacts

    name, _, query = reference.partition("?")
    pairs = [each.partition("=") for each in query.split("&") if each]
    return artifacts.get(name, **{key: value for key, _, value in pairs})


def _option(parameter: inspect.Parameter, hint: object, text: str, optional: bool) -> click.Option:
    flag = f"--{parameter.name.replace('_', '-')}"
    has_default = parameter.default is not inspect.Parameter.empty
    common: dict[str, Any] = {
        "required": not (has_default or optional),
        "help": f"{text}  [default: {_shown(parameter.default)}]" if has_default else text,
    }
    if is_flag(hint):
        return click.Option([f"{flag}/--no-{flag[2:]}", parameter.name], **common)
    kind = HintType(reader(hint))
    return click.Option([flag, parameter.name], type=kind, metavar=kind.name, **common)


def _shown(default: object) -> str:
    text = default.name if isinstance(default, enum.Enum) else repr(default)
    if isinstance(default, PurePath):
        text = str(default)  # as it would be typed
    return text if len(text) <= 60 else text[:57] + "..."


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # a hint that names something unknown is as good as none here
        return {}
