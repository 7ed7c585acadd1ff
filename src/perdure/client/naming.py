"""Names of runs: drawn at random, or given by people."""

import re
import secrets

from perdure.errors import ConfigurationError

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: names are read aloud and retyped
_SUFFIX = 8
_VALID = re.compile(r"\w[\w.:@+=-]{0,199}")


def new_name(task: str) -> str:
    """Return a readable name nobody has yet: the function and 40 random bits.

    Args:
        task: Full name of the root task, e.g. ``flights.main``.
    """
    function = re.sub(r"\W+", "-", task.rpartition(".")[2]).strip("-")[:40] or "run"
    return f"{function}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))}"


def checked_name(name: object) -> str:
    """Return ``name`` if it can be typed in a shell and put in a URL.

    Raises:
        ConfigurationError: It cannot.
    """
    if isinstance(name, str) and _VALID.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{name!r} cannot be the name of a run",
        hint="use up to 200 letters, digits and . _ : @ + = - (not - first), "
        'for example name="nightly-2026-01-31"',
    )
