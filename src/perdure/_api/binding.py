"""Arguments to inputs and back: a task's signature, checked in the caller.

The inputs of an action are one dict ``{parameter: value}`` in the order of the signature, so
positional and keyword calls, and defaults given or left out, have the same identity. Annotations
are resolved at the first call, when classes defined further down exist.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from perdure import _serde
from perdure.errors import TypeCheckError

Check = Callable[[object], object]
Parameter = inspect.Parameter

_REQUIRED = Parameter.empty
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_STREAMS = ("Iterator", "Iterable", "Generator", "AsyncIterator", "AsyncIterable", "AsyncGenerator")


class Binder:
    """The signature of one task, compiled.

    Attributes:
        signature: As ``inspect`` gives it.
    """

    def __init__(self, task: str, function: Callable[..., Any]) -> None:
        self.signature = inspect.signature(function)
        self._task = task
        self._function = function
        parameters = self.signature.parameters.values()
        self._simple = all(p.kind in _BY_NAME for p in parameters)
        self._positional = sum(p.kind is not Parameter.KEYWORD_ONLY for p in parameters)
        hints = _hints(function)
        self._checks = {p.name: _check_of(hints.get(p.name, _REQUIRED)) for p in parameters}
        self._check_result = _check_of(hints.get("return", _REQUIRED), result=True)
        self._plan = [
            (p.name, check, getattr(check, "exact", ()), p.default)
            for p in parameters
            for check in [self._checks[p.name]]
        ]

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call, checked and coerced, defaults applied.

        Raises:
            TypeCheckError: An argument is missing, unexpected or does not fit its type hint.
        """
        count = len(args)
        if not self._simple or count > self._positional:
            return self._bind_any(args, kwargs)
        inputs: dict[str, Any] = {}
        used = 0
        for at, (name, check, exact, default) in enumerate(self._plan):
            if at < count:
                value = args[at]
            elif name in kwargs:
                value = kwargs[name]
                used += 1
            elif default is not _REQUIRED:
                inputs[name] = default
                continue
            else:
                return self._bind_any(args, kwargs)  # knows what to say
            # A default is accepted whatever the hint says: ``x: int = None`` is common.
            if check is not None and type(value) not in exact and value is not default:
                value = self._checked(name, check, value)
            inputs[name] = value
        if used != len(kwargs):
            return self._bind_any(args, kwargs)
        return inputs

    def _bind_any(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeCheckError(
                f"task {self._task}: {error}", hint=f"its signature is {self.signature}"
            ) from None
        given = set(bound.arguments)
        bound.apply_defaults()
        return {
            name: self.check_input(name, value) if name in given else value
            for name, value in bound.arguments.items()
        }

    def check_input(self, name: str, value: Any) -> Any:
        """Return the value of one parameter, checked and coerced."""
        check = self._checks.get(name)
        parameter = self.signature.parameters.get(name)
        if check is None or parameter is None or value is parameter.default:
            return value
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return tuple(self._checked(f"{name}[{i}]", check, item) for i, item in enumerate(value))
        if parameter.kind is Parameter.VAR_KEYWORD:
            return {key: self._checked(key, check, item) for key, item in value.items()}
        return self._checked(name, check, value)

    def received(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs that were futures when they were bound, checked where they are used."""
        token = _serde.arrived.set(True)
        try:
            return {name: self.check_input(name, value) for name, value in inputs.items()}
        finally:
            _serde.arrived.reset(token)

    def arguments(self, inputs: Mapping[str, Any]) -> tuple[list[Any], Mapping[str, Any]]:
        """Return the positional and keyword arguments with which to call the function."""
        if self._simple:
            return [], inputs
        positional: list[Any] = []
        keyword: dict[str, Any] = {}
        for name, value in inputs.items():
            parameter = self.signature.parameters.get(name)
            kind = Parameter.KEYWORD_ONLY if parameter is None else parameter.kind
            if kind is Parameter.VAR_POSITIONAL:
                positional.extend(value)
            elif kind is Parameter.VAR_KEYWORD:
                keyword.update(value)
            elif kind is Parameter.KEYWORD_ONLY:
                keyword[name] = value
            else:
                positional.append(value)
        return positional, keyword

    def check_result(self, value: Any) -> Any:
        """Return the result, checked against the return annotation and coerced.

        Raises:
            TypeCheckError: It does not fit.
        """
        if self._check_result is None:
            return value
        try:
            return self._check_result(value)
        except _serde.Mismatch as mismatch:
            raise _mismatch(self._task, f"result{mismatch.path}", mismatch) from None

    def _checked(self, name: str, check: Check, value: Any) -> Any:
        if isinstance(value, _serde.Deferred):
            return value  # checked where its value is known
        try:
            return check(value)
        except _serde.Mismatch as mismatch:
            raise _mismatch(self._task, f"parameter {name}{mismatch.path}", mismatch) from None


def _mismatch(task: str, where: str, mismatch: _serde.Mismatch) -> TypeCheckError:
    text = (
        f"task {task}, {where}: expected {mismatch.expected}, "
        f"got {mismatch.actual} ({mismatch.value})"
    )
    if mismatch.reason:
        text += f": {mismatch.reason}"
    return TypeCheckError(text, hint="change the value, or the type hint of the task")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that only type checkers see: the other hints still count
        namespace = getattr(inspect.unwrap(function), "__globals__", {})
        return {
            name: resolved
            for name, hint in getattr(function, "__annotations__", {}).items()
            if (resolved := _resolve(hint, namespace)) is not None
        }


def _resolve(hint: Any, namespace: dict[str, Any]) -> Any:
    if hint is None:
        return type(None)
    if not isinstance(hint, str):
        return hint
    try:
        resolved = eval(hint, namespace)  # as typing.get_type_hints does
    except Exception:
        return None
    return type(None) if resolved is None else resolved


def _check_of(hint: Any, *, result: bool = False) -> Check | None:
    if hint is _REQUIRED or hint is Any or hint is object:
        return None
    if result and getattr(typing.get_origin(hint) or hint, "__name__", "") in _STREAMS:
        return None
    return _serde.checker(hint)
