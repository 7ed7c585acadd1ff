"""The file ``secrets.env`` in the home: written by ``perdure secret``, and for its owner only."""

import importlib
import os
import stat
from pathlib import Path
from typing import Any

from perdure.errors import ConfigurationError

SERVICE = "perdure"
"""Under which the keyring of the operating system keeps our secrets."""

_HEADER = "# Written by perdure secret set and rm. Keep it to yourself.\n"


def secrets_file(home: Path) -> Path:
    """Return where the file is."""
    return home / "secrets.env"


def read(path: Path, *, private: bool) -> dict[str, str]:
    """Return what a dotenv file says, as it stands: nothing is put in for ``$NAME``.

    Raises:
        ConfigurationError: It is to be ``private``, and others can read it.
    """
    from dotenv import dotenv_values

    mode = stat.S_IMODE(path.stat().st_mode)
    if private and mode & 0o077:
        raise ConfigurationError(
            f"others can read the secrets in {path} (mode {mode:o})",
            hint=f"chmod 600 {path}, and think about replacing what is in it",
        )
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}


def stored(home: Path) -> dict[str, str]:
    """Return what is kept in the home."""
    path = secrets_file(home)
    return read(path, private=True) if path.is_file() else {}


def store(home: Path, secrets: dict[str, str]) -> None:
    """Keep these and no others in the home."""
    home.mkdir(parents=True, exist_ok=True)
    path = secrets_file(home)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    lines = [f"{name}={_quoted(value)}\n" for name, value in sorted(secrets.items())]
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_HEADER + "".join(lines))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def keep_in_keyring(name: str, value: str | None) -> None:
    """Keep a secret in the keyring of the operating system; None: keep it no longer.

    Raises:
        ConfigurationError: It cannot be used.
    """
    library = keyring()
    try:
        if value is None:
            library.delete_password(SERVICE, name)
        else:
            library.set_password(SERVICE, name, value)
    except library.errors.KeyringError as error:
        raise ConfigurationError(
            f"the keyring of the operating system cannot be used: {error}",
            hint="without --keyring it is kept in the home",
        ) from error


def keyring() -> Any:
    """Return the library that speaks to the keyring of the operating system.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module("keyring")
    except ImportError:
        raise ConfigurationError(
            "the keyring of the operating system needs the library keyring",
            hint='pip install "perdure[keyring]"',
        ) from None


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
