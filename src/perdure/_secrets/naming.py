"""What secrets are called, and which environment variables are theirs."""

import re

from perdure._core.model import SecretRef

_ODD = re.compile(r"[^A-Za-z0-9_]")
_declared: set[str] = set()

_EVERYBODYS = frozenset({
    "HOME", "LANG", "LOGNAME", "PATH", "PWD", "PYTHONPATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
    "VIRTUAL_ENV",
})  # fmt: skip
"""Variables that hold no secret, whatever a secret is called."""


def variable_of(name: str) -> str:
    """Return the environment variable that stands for a name: ``API_KEY`` for ``api-key``."""
    return _ODD.sub("_", name).upper()


def asked_for(secret: SecretRef) -> tuple[str, ...]:
    """Return the names that variables and files are asked for, in order."""
    own = () if secret.is_file else (secret.variable,)
    names = dict.fromkeys((secret.name, variable_of(secret.name), *own))
    return tuple(name for name in names if name not in _EVERYBODYS)


def declare(secret: SecretRef) -> None:
    """Remember which variables of this process hold secrets: not every worker is to have them."""
    _declared.update(asked_for(secret))


def declared() -> tuple[str, ...]:
    """Return those variables."""
    return tuple(sorted(_declared))
