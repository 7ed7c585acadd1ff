"""Where Flyte 2's scripts look for their configuration."""

import os
import subprocess
from pathlib import Path
from typing import NoReturn

from perdure import _absent

__all__ = ["config_from_root"]


def config_from_root(path: str | os.PathLike[str] = ".flyte/config.yaml") -> Path | None:
    """Return the configuration file of the git repository around here, None if it has none.

    Args:
        path: Where it is, seen from the root of the repository.

    Example:
        >>> perdure.init_from_config(perdure.git.config_from_root())
    """
    command = ["git", "rev-parse", "--show-toplevel"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return None
    file = Path(done.stdout.rstrip("\n"), path)
    return file if file.is_file() else None


def __getattr__(name: str) -> NoReturn:
    _absent.refuse_in(__name__, name)
