"""``perdure.init`` and its relatives: where runs live and how careful to be.

Nothing here is needed for embedded use. What is set holds for the process and for every process it
starts, because it is kept where defaults are read from anyway: in the environment.
"""

import os
import warnings
from pathlib import Path

from perdure.config import Config, Durability
from perdure.errors import ConfigurationError, NotSupportedError

_REMOTE = "embedded runs need no server: leave it out, or call perdure.init() without arguments"


def init(
    *,
    home: str | os.PathLike[str] | None = None,
    durability: Durability | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    root_dir: Path | None = None,
) -> None:
    """Set where runs live; optional, and only before the first run of the process.

    Args:
        home: Folder of the journal, blobs and logs; default ``PERDURE_HOME`` or ``~/.perdure``.
        durability: ``"full"`` (outcomes survive power loss) or ``"process"`` (they survive the
            death of any process); default ``PERDURE_DURABILITY`` or ``"full"``.
        endpoint: Address of a server; not supported yet.
        api_key: Key for a server; not supported yet.
        org: Part of a server's address space; has no meaning on one machine, and says so.
        project: Likewise.
        domain: Likewise.
        root_dir: Likewise: code is found where Python found it.

    Raises:
        NotSupportedError: A server was asked for.
        ConfigurationError: The value makes no sense, or runs were already started elsewhere.
    """
    for option, value in (("endpoint", endpoint), ("api_key", api_key)):
        if value is not None:
            raise NotSupportedError(
                f"perdure.init({option}=...): remote servers are not supported yet", hint=_REMOTE
            )
    given = {"org": org, "project": project, "domain": domain, "root_dir": root_dir}
    if unused := [option for option, value in given.items() if value is not None]:
        _notice(f"perdure.init: {', '.join(unused)} concern a server and have no effect here")
    if durability not in (None, "full", "process"):
        raise ConfigurationError(
            f"perdure.init(durability={durability!r})", hint='use "full" or "process"'
        )
    changes: dict[str, str] = {}
    if home is not None:
        changes["PERDURE_HOME"] = str(Path(home).expanduser().absolute())
    if durability is not None:
        changes["PERDURE_DURABILITY"] = durability
    _apply(changes)


def init_from_config(
    path_or_config: str | os.PathLike[str] | None = None, root_dir: Path | None = None
) -> None:
    """Accept the call that Flyte scripts begin with: embedded runs need no configuration file.

    Args:
        path_or_config: A Flyte configuration file. It names a server, so nothing in it is used;
            a warning says so.
        root_dir: Has no effect, see :func:`init`.

    Raises:
        ConfigurationError: There is no such file.
    """
    if path_or_config is not None:
        path = Path(root_dir or "", path_or_config).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"there is no configuration file {str(path)!r}")
        _notice(f"{path} describes a server; runs of this process stay on this machine")


def init_from_api_key(*args: object, **kwargs: object) -> None:
    """Refuse: an API key belongs to a server, and those are not supported yet."""
    raise NotSupportedError("init_from_api_key: remote servers are not supported yet", hint=_REMOTE)


def init_in_cluster(*args: object, **kwargs: object) -> None:
    """Refuse: there is no cluster to run in yet."""
    raise NotSupportedError("init_in_cluster: clusters are not supported yet", hint=_REMOTE)


def _notice(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=3)


def _apply(changes: dict[str, str]) -> None:
    from perdure.client import link

    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        wanted = Config()
        running = link.running()
        if running is not None and _places(running.config) != _places(wanted):
            raise ConfigurationError(
                f"perdure.init came too late: runs of this process already live in "
                f"{running.config.home} with durability {running.config.durability!r}",
                hint="call perdure.init(...) before the first run, or set PERDURE_HOME and "
                "PERDURE_DURABILITY",
            )
    except ConfigurationError:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        raise


def _places(config: Config) -> tuple[Path, str]:
    return (config.home, config.durability)
