"""Where the values of secrets come from.

The first of these that has one of a secret's names, with a value that is not empty, is taken:

1. environment variables of the process that drives the run;
2. ``.env`` in the run's working directory, then in the root of its repository;
3. ``secrets.env`` in the home, which nobody else may be able to read;
4. the keyring of the operating system, if the library ``keyring`` is installed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from perdure._core.model import Bundle, SecretRef
from perdure._secrets.naming import asked_for
from perdure._secrets.store import SERVICE, keyring, read, secrets_file
from perdure._wire.messages import SecretValue
from perdure.errors import ConfigurationError, SecretNotFoundError

Find = Callable[[SecretRef], str | None]


class Sources:
    """Looks values up.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def values(self, wanted: Iterable[SecretRef], bundle: Bundle) -> tuple[SecretValue, ...]:
        """Return the values of secrets for a worker of that code. May take a while.

        Raises:
            SecretNotFoundError: No source has one of them.
            ConfigurationError: Others can read what is in the home.
        """
        sources = list(self._sources(bundle))
        return tuple(
            SecretValue(each.variable, os.fsencode(_find(each, sources)), each.is_file)
            for each in wanted
        )

    def _sources(self, bundle: Bundle) -> Iterator[tuple[str, Find]]:
        yield "environment variables", _among(os.environ.get)
        folders = dict.fromkeys(filter(None, (bundle.cwd, bundle.repository)))
        for path in (*(Path(folder) / ".env" for folder in folders), secrets_file(self._home)):
            if path.is_file():
                yield str(path), _among(read(path, private=path.parent == self._home).get)
            else:
                yield f"{path} (there is none)", _nowhere
        yield _keyring()


def _find(secret: SecretRef, sources: Sequence[tuple[str, Find]]) -> str:
    for _, find in sources:
        if value := find(secret):
            return value
    names = " or ".join(asked_for(secret))
    places = "; ".join(place for place, _ in sources)
    raise SecretNotFoundError(
        f"there is no secret {secret.name!r}: {names} is in none of these places: {places}",
        hint=f"perdure secret set {secret.name}",
    )


def _among(get: Callable[[str], str | None]) -> Find:
    return lambda secret: next(filter(None, map(get, asked_for(secret))), None)


def _nowhere(_: SecretRef) -> None:
    return None


def _keyring() -> tuple[str, Find]:
    try:
        library = keyring()
    except ConfigurationError:
        return "the keyring (pip install keyring)", _nowhere

    def find(secret: SecretRef) -> str | None:
        try:
            value: str | None = library.get_password(SERVICE, secret.name)
        except library.errors.KeyringError:  # it is locked, or this machine has none
            return None
        return value

    return f"the keyring (service {SERVICE!r})", find
