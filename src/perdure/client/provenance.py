"""Where the code of a run is from, and what it ran with."""

import contextlib

import msgspec

from perdure._core.records import RunRow
from perdure.client import link
from perdure.errors import BlobMissingError


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a run remembers of its code and environment.

    Attributes:
        repository: Folder of the git working tree, "" if the code was in none.
        commit: Commit that was checked out, "" if that is not known.
        branch: Branch that was checked out, "" if none was.
        uncommitted: Files of the run that were not as the commit has them, by path in the
            repository; None if git cannot tell any more.
        python: Implementation and version.
        packages: Name and version of what was installed; None if that is not known.
    """

    repository: str
    commit: str
    branch: str
    uncommitted: list[str] | None
    python: str
    packages: dict[str, str] | None


def provenance(row: RunRow) -> Provenance:
    """Return where the code of a run is from; what is not stored any more is not known."""
    from perdure._version.repository import uncommitted
    from perdure._version.snapshot import environment_of

    bundle, blobs = row.bundle, link.blobs()
    found, changed = None, None
    with contextlib.suppress(BlobMissingError):
        found = environment_of(bundle, blobs)
    with contextlib.suppress(BlobMissingError):
        changed = uncommitted(bundle.repository, bundle.commit, bundle.files, blobs.get)
    return Provenance(
        repository=bundle.repository,
        commit=bundle.commit,
        branch=bundle.branch,
        uncommitted=changed,
        python=bundle.python,
        packages=None if found is None else dict(found.packages),
    )
