"""Settings of a process that drives runs: from arguments, then environment, then defaults."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from perdure._quantity import quantity
from perdure._storage.location import locate
from perdure.errors import ConfigurationError, StorageError

Durability = Literal["full", "process"]

_CHECKPOINTS, _REPORTS = "checkpoints", "reports"
_LONGEST_NAME = 200
_PARK_HINT = 'give seconds, 0 or more, or "never"'


def _default_home() -> Path:
    return Path(os.environ.get("PERDURE_HOME") or "~/.perdure").expanduser().absolute()


def _default_durability() -> Durability:
    value = os.environ.get("PERDURE_DURABILITY") or "full"
    if value not in ("full", "process"):
        raise ConfigurationError(
            f"PERDURE_DURABILITY is {value!r}",
            hint='use "full" (survives power loss) or "process" (survives any process death)',
        )
    return value  # type: ignore[return-value]  # narrowed by the check above


def _default_storage() -> str:
    return storage_url(os.environ.get("PERDURE_STORAGE") or "")


def storage_url(where: str) -> str:
    """Return the URL of a store in its one spelling; "" for none.

    Raises:
        ConfigurationError: It makes no sense.
    """
    return locate(where).url if where else ""


def _default_echo() -> bool:
    return _is_on("PERDURE_ECHO")


def _default_cgroups() -> bool:
    return _is_on("PERDURE_CGROUPS")


def _is_on(setting: str) -> bool:
    return os.environ.get(setting, "1").lower() not in ("0", "false", "no", "off")


def _default_openlineage() -> str:
    return os.environ.get("PERDURE_OPENLINEAGE", "")


def _default_resources() -> Mapping[str, float | str]:
    return declared_resources("PERDURE_RESOURCES", os.environ.get("PERDURE_RESOURCES") or "")


def declared_resources(
    setting: str, declared: "str | Mapping[str, float | str]"
) -> Mapping[str, float | str]:
    """Return what a node is declared to have: amounts by name.

    ``device`` is the kind of the GPUs, if it was given: ``gpu=T4:2``.

    Args:
        setting: Where it was declared, for errors.
        declared: Quantities by name; or a text like ``gpu=2,licence=3,memory=64Gi``.

    Raises:
        ConfigurationError: It makes no sense.
    """
    if isinstance(declared, str):
        pairs = [part.partition("=") for part in declared.split(",") if part.strip()]
        declared = {name.strip(): amount.strip() for name, _, amount in pairs}
    amounts: dict[str, float | str] = {}
    for name, given in declared.items():
        if not name or name == "device":
            raise ConfigurationError(
                f"{setting}: {name!r} is no name of a resource",
                hint='write names and amounts: "gpu=2,licence=3,memory=64Gi"',
            )
        amount = given
        if name == "gpu" and isinstance(given, str) and ":" in given:
            amounts["device"], _, amount = given.rpartition(":")
        amounts[name] = number = quantity(f"{setting}: {name}", amount)
        if name == "gpu" and number != int(number):
            raise ConfigurationError(f"{setting}: gpu={given} is no number of devices")
    return amounts


def _default_park_after() -> float:
    value = os.environ.get("PERDURE_PARK_AFTER") or "10"
    try:
        return checked_park_after("never" if value.lower() == "never" else float(value))
    except (ValueError, ConfigurationError):
        raise ConfigurationError(f"PERDURE_PARK_AFTER is {value!r}", hint=_PARK_HINT) from None


def checked_park_after(value: object) -> float:
    """Return the seconds, infinite for ``"never"``.

    Raises:
        ConfigurationError: It makes no sense.
    """
    if value == "never":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"park_after is {value!r}", hint=_PARK_HINT)
    return float(value)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # it cannot be seen: whoever uses it will say so
        return False


@dataclass(frozen=True, slots=True)
class Config:
    """Where state lives and how careful to be.

    Attributes:
        home: Folder of the journal, blobs and logs (``PERDURE_HOME``, default ``~/.perdure``).
        durability: ``"full"``: an outcome survives power loss before anyone sees it;
            ``"process"``: it survives any process death (``PERDURE_DURABILITY``).
        cpus: Cores that may be used; ``None`` means all this process may run on.
        resources: What the machine is said to have, where that is not what is found, and custom
            resources (``PERDURE_RESOURCES``, e.g. ``licence=3,gpu=2``); see
            :func:`declared_resources`.
        grace: Seconds a cancelled attempt has to end by itself before it is killed.
        storage: URL of where blobs live (``PERDURE_STORAGE``); "", the default, means the folder
            ``blobs`` of the home, which otherwise holds copies of what was stored and read.
        openlineage: Where OpenLineage events go (``PERDURE_OPENLINEAGE``): an HTTP address or the
            path of a file; "": nowhere, unless the client library itself is configured.
        echo: Show what tasks print in this process, too (``PERDURE_ECHO``, default on; ``0``
            turns it off). It is kept in the logs either way.
        park_after: Seconds of waiting after which an attempt gives its worker back
            (``PERDURE_PARK_AFTER``, default 10); 0: at once, infinite: never.
        cgroups: Have the kernel limit the memory of workers where this process may make control
            groups (``PERDURE_CGROUPS``, default on; ``0`` turns it off).
    """

    home: Path = field(default_factory=_default_home)
    durability: Durability = field(default_factory=_default_durability)
    cpus: float | None = None
    resources: Mapping[str, float | str] = field(default_factory=_default_resources)
    grace: float = 0.5
    storage: str = field(default_factory=_default_storage)
    echo: bool = field(default_factory=_default_echo)
    openlineage: str = field(default_factory=_default_openlineage)
    park_after: float = field(default_factory=_default_park_after)
    cgroups: bool = field(default_factory=_default_cgroups)

    def checked(self) -> "Config":
        """Return these settings.

        Raises:
            StorageError: The home cannot be a folder.
        """
        there = next(path for path in (self.home, *self.home.parents) if _exists(path))
        if not there.is_dir():
            raise StorageError(
                f"the home {self.home} cannot be a folder: {there} is a file",
                hint="point PERDURE_HOME at a folder; it is made if it does not exist",
            )
        return self

    @property
    def journal(self) -> Path:
        """Path of the journal."""
        return self.home / "journal.db"

    @property
    def blobs(self) -> Path:
        """Folder of the blobs, or of their copies if they live elsewhere."""
        return self.home / "blobs"

    @property
    def logs(self) -> Path:
        """Folder of the workers' logs, one file per worker."""
        return self.home / "logs"

    @property
    def checkpoints(self) -> Path:
        """Folder of what actions saved for their next attempt; see :func:`checkpoint_path`."""
        return self.home / _CHECKPOINTS

    @property
    def reports(self) -> Path:
        """Folder of the reports; see :func:`report_path`."""
        return self.home / _REPORTS

    @property
    def environments(self) -> Path:
        """Folder of what is installed for images; removed when unused: see ``perdure gc``."""
        return self.home / "environments"

    @property
    def controllers(self) -> Path:
        """Folder in which live controllers keep their lock, socket and token."""
        return self.home / "controllers"


def log_path(logs: Path, worker: int) -> Path:
    """Return the log file of a worker, given the folder of logs."""
    return logs / f"{worker:012x}.log"


def worker_of(log: Path) -> int | None:
    """Return the worker whose log file that is, None if it is none."""
    try:
        return int(log.stem, 16) if log.suffix == ".log" else None
    except ValueError:
        return None


def checkpoint_path(home: Path, run: str, action: bytes) -> Path:
    """Return the folder of what an action keeps for its next attempt."""
    return home / _CHECKPOINTS / folder_name(run) / action.hex()


def report_path(home: Path, run: str, action: bytes) -> Path:
    """Return the file of an action's report."""
    return home / _REPORTS / folder_name(run) / f"{action.hex()}.html"


def folder_name(run: str) -> str:
    """Return the name of a run's folders: its own, unless file systems could mistake it.

    A name may be longer than file systems take, and some do not tell ``Nightly`` from ``nightly``.
    """
    if run.isascii() and run == run.lower() and len(run) <= _LONGEST_NAME:
        return run
    told_apart = blake2b(run.encode(), digest_size=8).hexdigest()
    return f"{run.encode()[:_LONGEST_NAME].decode(errors='ignore')}~{told_apart}"
