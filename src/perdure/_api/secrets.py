"""Secrets, as users ask for them: by name."""

import re
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from perdure._core.model import SecretRef
from perdure._secrets.naming import declare, variable_of
from perdure.errors import ConfigurationError, NotSupportedError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[^\s='\"#\0]+")


@dataclass(frozen=True)
class Secret:
    """A secret that a task needs: found when its worker is placed, and recorded nowhere.

    Example::

        env = perdure.TaskEnvironment(
            "crawl", secrets=[perdure.Secret("openai", as_env_var="OPENAI_API_KEY")]
        )

    Attributes:
        key: Its name, for the sources that are asked for it.
        group: First part of the name, if it has two.
        mount: Not supported: where files are on this machine is not ours to say; see ``file``.
        as_env_var: Environment variable of the worker that holds the value. ``None``: named after
            the secret, in capitals: ``MY_KEY`` for ``my-key``.
        env_var: The same.
        file: Environment variable of the worker that holds the path of a file with the value,
            instead. Only this user can read it, and it is gone with the worker.
    """

    key: str
    group: str | None = None
    mount: "str | PathLike[str] | None" = field(default=None, repr=False)
    as_env_var: str | None = None
    env_var: str | None = field(default=None, repr=False, compare=False)
    file: str | None = None

    def __post_init__(self) -> None:
        if self.mount is not None:
            raise NotSupportedError(
                f"Secret(mount={str(self.mount)!r}) is not supported",
                hint='Secret(key, file="NAME") gives the task the path of a file in the '
                "environment variable NAME",
            )
        for part in (self.key, *([] if self.group is None else [self.group])):
            if not isinstance(part, str) or not _NAME.fullmatch(part):
                raise ConfigurationError(f"{part!r} is not the name of a secret")
        given = [v for v in (self.as_env_var, self.env_var, self.file) if v is not None]
        if len(set(given)) > 1 or (self.file and len(given) > 1):
            raise ConfigurationError(
                f"{self}: give one of as_env_var (or env_var, which is the same) and file"
            )
        variable = given[0] if given else variable_of(self.name)
        if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
            raise ConfigurationError(
                f"{variable!r} cannot name an environment variable",
                hint="letters, digits and underscores; no digit at the beginning",
            )
        if self.file is None:
            object.__setattr__(self, "as_env_var", variable)
            object.__setattr__(self, "env_var", variable)
        declare(self.ref())

    @property
    def name(self) -> str:
        """What sources are asked for."""
        return f"{self.group}_{self.key}" if self.group else self.key

    def ref(self) -> SecretRef:
        """Return the part that the scheduler applies."""
        variable = self.as_env_var if self.file is None else self.file
        assert variable is not None
        return SecretRef(self.name, variable, self.file is not None)


SecretRequest = str | Secret | list[str | Secret]
"""What ``secrets=`` takes."""


def secrets_of(request: Any) -> tuple[SecretRef, ...]:
    """Return what ``secrets=`` means: a name, a :class:`Secret`, several of them, or None.

    Raises:
        ConfigurationError: It makes no sense.
    """
    if not request:
        return ()
    each = [request] if isinstance(request, str | Secret) else request
    if not isinstance(each, list | tuple) or not all(isinstance(s, str | Secret) for s in each):
        raise ConfigurationError(
            f"secrets={request!r}: give names, or perdure.Secret",
            hint='secrets=["my-key", perdure.Secret("other", as_env_var="OTHER_KEY")]',
        )
    found = [(Secret(s) if isinstance(s, str) else s).ref() for s in each]
    by_variable: dict[str, SecretRef] = {}
    for secret in found:
        if by_variable.setdefault(secret.variable, secret) != secret:
            raise ConfigurationError(
                f"two secrets are to be in the environment variable {secret.variable}: "
                f"{by_variable[secret.variable].name} and {secret.name}",
                hint="give one of them another: perdure.Secret(key, as_env_var=...)",
            )
    return tuple(sorted(by_variable.values(), key=lambda secret: secret.variable))
