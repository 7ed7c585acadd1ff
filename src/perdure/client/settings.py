"""``perdure.init`` and its relatives: where runs live and how careful to be.

Nothing here is needed for embedded use. What is set holds for the process and for every process it
starts, because it is kept where defaults are read from anyway: in the environment.
"""

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from perdure.client.twofold import Twofold
from perdure.config import (
    Config,
    Durability,
    checked_park_after,
    declared_resources,
    storage_url,
)
from perdure.errors import ConfigurationError, NotSupportedError

_REMOTE = "embedded runs need no server: leave it out, or call perdure.init() without arguments"

# Flyte 2's other options: those that would change what happens, and those that would not.
_NO_SERVER = frozenset(
    (
        "auth_type",
        "ca_cert_file_path",
        "client_credentials_secret",
        "client_id",
        "command",
        "http_proxy_url",
        "proxy_command",
        "scopes",
    )
)
_NO_EFFECT = frozenset(
    (
        "auth_client_config",
        "batch_size",
        "disable_keyring",
        "domain",
        "headless",
        "image_builder",
        "image_registry",
        "images",
        "insecure",
        "insecure_skip_verify",
        "load_plugin_type_transformers",
        "local_persistence",
        "local_tracked",
        "local_tracked_strict",
        "log_format",
        "log_level",
        "org",
        "project",
        "reset_root_logger",
        "root_dir",
        "rpc_retries",
        "source_config_path",
        "sync_local_sys_paths",
        "user_log_level",
    )
)


def _init(
    *,
    home: str | os.PathLike[str] | None = None,
    durability: Durability | None = None,
    storage: str | os.PathLike[str] | None = None,
    resources: Mapping[str, float | str] | None = None,
    park_after: float | Literal["never"] | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    **flyte_options: Any,
) -> None:
    """Set where runs live; optional, and only before the first run of the process.

    Args:
        home: Folder of the journal, blobs and logs; default ``PERDURE_HOME`` or ``~/.perdure``.
        durability: ``"full"`` (outcomes survive power loss) or ``"process"`` (they survive the
            death of any process); default ``PERDURE_DURABILITY`` or ``"full"``.
        storage: URL of where large values and files live: a folder, or a bucket with a path,
            such as ``s3://bucket/path``, ``gs://...``, ``az://...``; default ``PERDURE_STORAGE`` or
            the folder ``blobs`` of the home. Credentials come from the environment.
        resources: What this machine is said to have: custom resources (``{"licence": 3}``), and
            ``cpu``, ``memory``, ``disk``, ``shm``, ``gpu`` if not what is found; default
            ``PERDURE_RESOURCES``.
        park_after: Seconds after which an action that only waits (for a durable sleep, for what is
            queued or waits itself) gives its worker back and is replayed later; 0: at once;
            ``"never"``; default ``PERDURE_PARK_AFTER`` or 10.
        endpoint: Address of a server; not supported yet.
        api_key: Key for a server; not supported yet.
        **flyte_options: What Flyte 2 takes besides. Options of a server are refused; a warning
            names those that have no meaning on one machine (``org``, ``root_dir``, ...).

    Raises:
        NotSupportedError: A server was asked for.
        ConfigurationError: The value makes no sense, or runs were already started elsewhere.
    """
    given = {"endpoint": endpoint, "api_key": api_key} | flyte_options
    if unused := _without_effect("init", given):
        _notice(f"perdure.init: without effect on this machine: {unused}")
    if durability not in (None, "full", "process"):
        raise ConfigurationError(
            f"perdure.init(durability={durability!r})", hint='use "full" or "process"'
        )
    changes: dict[str, str] = {}
    if home is not None:
        changes["PERDURE_HOME"] = str(Path(home).expanduser().absolute())
    if durability is not None:
        changes["PERDURE_DURABILITY"] = durability
    if storage is not None:
        changes["PERDURE_STORAGE"] = _storage(storage)
    if resources is not None:
        declared_resources("perdure.init(resources=...)", resources)
        changes["PERDURE_RESOURCES"] = ",".join(f"{n}={v}" for n, v in resources.items())
    if park_after is not None:
        checked = checked_park_after(park_after)
        changes["PERDURE_PARK_AFTER"] = "never" if checked == math.inf else str(checked)
    _apply(changes)


def _init_from_config(
    path_or_config: str | os.PathLike[str] | None = None,
    root_dir: Path | None = None,
    **flyte_options: Any,
) -> None:
    """Accept the call that Flyte scripts begin with: embedded runs need no configuration file.

    Args:
        path_or_config: A Flyte configuration file. It names a server, so nothing in it is used;
            a warning says so.
        root_dir: Where a relative path starts; has no effect otherwise.
        **flyte_options: As for :func:`init`.

    Raises:
        ConfigurationError: There is no such file.
    """
    if unused := _without_effect("init_from_config", flyte_options):
        _notice(f"perdure.init_from_config: without effect on this machine: {unused}")
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


init = Twofold(_init)
init_from_config = Twofold(_init_from_config)


def _without_effect(function: str, options: dict[str, Any]) -> str:
    given = [option for option, value in options.items() if value is not None]
    for option in given:
        if option in ("endpoint", "api_key") or option in _NO_SERVER:
            raise NotSupportedError(
                f"perdure.{function}({option}=...): remote servers are not supported yet",
                hint=_REMOTE,
            )
        if option not in _NO_EFFECT:
            raise ConfigurationError(f"perdure.{function} has no option {option!r}")
    return ", ".join(given)


def _storage(where: object) -> str:
    if not isinstance(where, str | os.PathLike):
        raise NotSupportedError(
            f"perdure.init(storage={type(where).__name__}(...)) is not supported",
            hint='give a URL, such as "s3://bucket/path"; credentials and endpoints are taken from '
            "the environment variables of the provider, e.g. AWS_ENDPOINT_URL",
        )
    return storage_url(os.fspath(where))


def _notice(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)  # to where the user called it, past Twofold


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
                f"{running.config.home} with durability {running.config.durability!r}, storage "
                f"{running.config.storage or running.config.blobs} and park_after "
                f"{running.config.park_after:g}, on a machine that is said to have "
                f"{dict(running.config.resources) or 'what is found'}",
                hint="call perdure.init(...) before the first run, or set PERDURE_HOME, "
                "PERDURE_DURABILITY, PERDURE_STORAGE, PERDURE_PARK_AFTER and PERDURE_RESOURCES",
            )
    except ConfigurationError:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        raise


def _places(config: Config) -> tuple[object, ...]:
    return (config.home, config.durability, config.storage, config.park_after, config.resources)
