"""Where the code of a run is from, and what it ran with."""

import contextlib
import re
from typing import cast

import msgspec

from perdure._core.records import RunRow
from perdure.client import link
from perdure.errors import BlobMissingError

IMAGE = "image"
"""Kind of the events that tell which tasks have which images."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An image of some tasks of a run.

    Attributes:
        tasks: Their names.
        image: What it asks for, in words.
        environment: Folder of its environment, "" if there is none now; likewise the others.
        python: Version of Python.
        packages: Name and version of what is installed there.
    """

    tasks: list[str]
    image: str
    environment: str
    python: str
    packages: dict[str, str]


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
        images: What tasks found installed instead.
    """

    repository: str
    commit: str
    branch: str
    uncommitted: list[str] | None
    python: str
    packages: dict[str, str] | None
    images: list[Installed]


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
        images=_images(row),
    )


_REMARK = re.compile(r"(?P<task>\S+): (?P<image>.*) \[(?P<recipe>[0-9a-f]+)\]")


def _images(row: RunRow) -> list[Installed]:
    """Return what the core has remarked of images, and what is in their environments now."""
    tasks: dict[tuple[str, str], dict[str, None]] = {}
    for event in link.views().events(row.key):
        if event.kind == IMAGE and (found := _REMARK.fullmatch(event.text)):
            tasks.setdefault((found["image"], found["recipe"]), {})[found["task"]] = None
    return [_installed(list(names), *of) for of, names in tasks.items()]


def _installed(tasks: list[str], image: str, recipe: str) -> Installed:
    from perdure._environments.store import Environments

    there = Environments(link.config().environments).made_of(recipe)
    told = {} if there is None else there.manifest()
    return Installed(
        tasks=tasks,
        image=image,
        environment="" if there is None else str(there.folder),
        python=str(told.get("python", "")),
        packages=dict(line.split("==", 1) for line in cast("list[str]", told.get("packages", []))),
    )
