"""What a run remembers of its code and environment when it starts."""

from pathlib import Path

import msgspec

from perdure._bundle import capture
from perdure._core.model import Bundle
from perdure._ports import Blobs
from perdure._secrets.naming import declared
from perdure._version.environment import (
    Environment,
    environment,
    from_text,
    python_version,
    to_text,
)
from perdure._version.repository import checked_out


def snapshot(blobs: Blobs) -> Bundle:
    """Return the code of this process, the commit it is from, and the packages it runs with."""
    bundle = capture(blobs)
    commit = checked_out(str(Path(bundle.main).parent) if bundle.main else bundle.cwd)
    return msgspec.structs.replace(
        with_environment(bundle, blobs),
        repository="" if commit is None else commit.repository,
        commit="" if commit is None else commit.commit,
        branch="" if commit is None else commit.branch,
        secret_variables=declared(),
    )


def with_environment(bundle: Bundle, blobs: Blobs) -> Bundle:
    """Return the bundle with the environment of this process; the list of packages is a blob."""
    packages = blobs.put([to_text(environment())])
    return msgspec.structs.replace(bundle, environment=packages, python=python_version())


def environment_of(bundle: Bundle, blobs: Blobs) -> Environment | None:
    """Return the environment of a run, None if that was not recorded.

    Raises:
        StorageError: It was, and cannot be read.
    """
    return from_text(bytes(blobs.get(bundle.environment))) if bundle.environment else None
