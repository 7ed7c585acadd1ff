"""``new_condition``: a question that somebody outside answers, with ``perdure signal``.

A condition is an action: it is on record as soon as it is asked, whoever asks it waits however long
it takes, through crashes and resumes, and its answer is recorded once. What is asked is part of who
it is: with another prompt it is another question, which an earlier answer does not settle.
"""

from datetime import timedelta
from typing import Any

from perdure import _serde
from perdure._api.future import Future, on_loop
from perdure._api.scope import Scope, current
from perdure._secrets import masking
from perdure._serde import hints
from perdure._serde.typecheck import name_of
from perdure.errors import (
    ConfigurationError,
    NotSupportedError,
    SyncTaskCallInAsyncContextError,
    TypeCheckError,
)

PROMPT_TYPES = ("text", "markdown")


class Condition:
    """A question that was asked; made by ``perdure.new_condition``.

    Attributes:
        name: What it is answered by.
        prompt: The question.
        prompt_type: ``text`` or ``markdown``.
        data_type: What the answer must be.
        description: More about it.
        timeout: Seconds after which it fails without an answer; None: never.
        wait: ``wait()`` blocks until it is answered; ``await wait.aio()`` does not.
    """

    def __init__(
        self,
        name: str,
        prompt: str,
        prompt_type: str,
        data_type: Any,
        description: str,
        timeout: float | None,
    ) -> None:
        self.name, self.prompt, self.prompt_type = name, prompt, prompt_type
        self.data_type, self.description, self.timeout = data_type, description, timeout
        scope = current()
        self.wait = Wait(name, None if scope is None else self._ask(scope))

    def _ask(self, scope: Scope) -> Future[Any]:
        told = {
            "prompt": self.prompt,
            "description": self.description,
            "data_type": name_of(self.data_type),
        }
        identity = _serde.dumps(told, scope.blobs).digest
        hint = hints.dump_hint(self.data_type, scope.blobs)
        more = {
            "prompt_type": self.prompt_type,
            "choices": hints.choices_of(self.data_type),
            "hint": hint.data,
        }
        inputs = _serde.dumps(told | more, scope.blobs)
        masking.refuse(f"what condition {self.name} asks", inputs.data)
        action = scope.next_id(f"condition {self.name}", identity)
        question = _serde.Encoded(inputs.data, identity, (*inputs.blobs, *hint.blobs))
        return scope.condition(action, self.name, question, self.timeout)

    def __repr__(self) -> str:
        return f"<Condition {self.name!r}: {self.prompt}>"


class Wait:
    """The type of ``condition.wait``."""

    def __init__(self, name: str, future: Future[Any] | None) -> None:
        self._name = name
        self._future = future

    def __call__(self) -> Any:
        """Wait for the answer, and return it.

        Raises:
            ConditionTimedoutError: There was none in time.
            ConditionFailedError: It was answered with an error.
        """
        if on_loop():
            raise SyncTaskCallInAsyncContextError(
                f"waiting for condition {self._name} here would block the event loop",
                hint="write: await condition.wait.aio()",
            )
        return self._asked().result()

    async def aio(self) -> Any:
        """Do the same on an event loop."""
        return await self._asked()

    def _asked(self) -> Future[Any]:
        if self._future is None:
            raise ConfigurationError(
                f"condition {self._name} was made outside any run: nobody can answer it",
                hint="make it in a task, and start that with perdure.run or perdure run",
            )
        return self._future


class NewCondition:
    """The type of ``perdure.new_condition``."""

    def __call__(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: str = "text",
        data_type: Any = bool,
        description: str = "",
        timeout: timedelta | float | None = None,
        webhook: None = None,
    ) -> Condition:
        """Ask somebody outside, and go on; ``condition.wait()`` waits for the answer.

        It is answered by ``perdure signal RUN NAME VALUE``, or by ``run.signal(name, value)`` from
        any process.

        Args:
            name: What it is answered by.
            prompt: The question.
            prompt_type: ``text`` or ``markdown``.
            data_type: What the answer must be: any type hint that a task's parameter may have.
            description: More about it.
            timeout: Seconds, or a timedelta, after which it fails without an answer; counted from
                the first time it was asked.
            webhook: Not supported: notify whoever is to answer from the task.

        Raises:
            ConfigurationError: An argument makes no sense.
            TypeCheckError: ``data_type`` is no type.
            NotSupportedError: ``webhook`` is given.
        """
        if webhook is not None:
            raise NotSupportedError(
                "new_condition(webhook=...) is not supported: no server here takes the answer",
                hint="send a message from the task; perdure signal RUN NAME VALUE answers",
            )
        for what, text in (("name", name), ("prompt", prompt), ("description", description)):
            if not isinstance(text, str):
                raise ConfigurationError(f"the {what} of a condition is {text!r}, not a string")
        if not name.isprintable() or not name.strip():
            raise ConfigurationError(f"a condition cannot be called {name!r}")
        if prompt_type not in PROMPT_TYPES:
            raise ConfigurationError(f"prompt_type={prompt_type!r} is neither text nor markdown")
        _check_type(data_type)
        return Condition(name, prompt, prompt_type, data_type, description, _seconds(timeout))

    async def aio(self, name: str, /, *args: Any, **kwargs: Any) -> Condition:
        """Do the same: it does not block."""
        return self(name, *args, **kwargs)

    def __repr__(self) -> str:
        return "<perdure.new_condition>"


def _check_type(hint: Any) -> None:
    from perdure._blobs.memory import MemoryBlobs

    try:
        hints.dump_hint(hint, MemoryBlobs())
    except TypeError as error:
        raise TypeCheckError(
            f"data_type={hint!r} is nothing that an answer can be checked against: {error}",
            hint="bool, int, float, str, a Literal, an Enum, a dataclass, a pydantic model, ...",
        ) from None


def _seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigurationError(
            f"timeout={timeout!r} makes no sense", hint="give seconds, or a timedelta, above 0"
        )
    return float(seconds)


new_condition = NewCondition()
