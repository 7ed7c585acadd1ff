"""The options of a run, checked when they are given rather than when they are used."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perdure._api.queue import checked_priority
from perdure.client.naming import checked_name
from perdure.errors import ConfigurationError, NotSupportedError

# fmt: off
_FLYTE_ONLY = frozenset((
    "allow_missing_source_outputs", "annotations", "cache_lookup_scope", "copy_bundle_to",
    "debug", "dry_run", "interruptible", "labels", "max_action_concurrency", "notifications",
    "preserve_original_types", "raw_data_path", "recover", "recover_force_rerun_actions",
    "run_base_dir", "run_start_time", "service_account", "tracked", "tracked_strict", "version",
))
_NO_EFFECT = frozenset((
    "copy_style", "domain", "interactive_mode", "log_format", "log_level", "project",
    "reset_root_logger", "user_log_level",
))
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What ``with_runcontext`` was given; see there for the meaning of each option."""

    mode: str | None = None
    name: str | None = None
    overwrite_cache: bool = False
    disable_run_cache: bool = False
    env_vars: dict[str, str] = field(default_factory=dict)
    durability: str | None = None
    engine: str | None = None
    custom_context: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    queue: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        if self.mode in ("remote", "hybrid"):
            raise NotSupportedError(
                f"with_runcontext(mode={self.mode!r}): remote servers are not supported yet",
                hint='leave mode out, or use mode="local"',
            )
        if self.mode not in (None, "local"):
            raise ConfigurationError(
                f"with_runcontext: there is no mode {self.mode!r}",
                hint=f"to name the run: with_runcontext(name={self.mode!r})",
            )
        if self.engine not in (None, "local"):
            raise NotSupportedError(
                f"engine {self.engine!r} is not supported yet", hint='use engine="local"'
            )
        if self.overwrite_cache and self.disable_run_cache:
            raise ConfigurationError(
                "overwrite_cache keeps what disable_run_cache does not: give one of them"
            )
        if self.durability not in (None, "full", "process"):
            raise ConfigurationError(
                f"durability {self.durability!r} makes no sense", hint='use "full" or "process"'
            )
        if self.name is not None:
            checked_name(self.name)
        checked_priority(self.priority)
        _strings("env_vars", self.env_vars)
        _strings("custom_context", self.custom_context)

    def apply_durability(self) -> None:
        """Have the runtime of this process started with the durability asked for, if any.

        Raises:
            ConfigurationError: It runs with another one already.
        """
        from perdure.client import settings

        if self.durability is not None:
            settings.init(durability="full" if self.durability == "full" else "process")

    def encoded(self) -> bytes:
        """Return what the journal keeps of the options; b"" if nothing was asked for."""
        cache = "disable" if self.disable_run_cache else "overwrite" if self.overwrite_cache else ""
        options = {
            "env_vars": self.env_vars, "strict": self.strict, "cache": cache, "queue": self.queue,
            "priority": self.priority,
        }  # fmt: skip
        kept = {name: value for name, value in options.items() if value}
        return msgspec.msgpack.encode(kept) if kept else b""


def with_flyte_options(options: dict[str, Any]) -> None:
    """Refuse options beyond those of :class:`RunContext`: by name, never silently.

    A warning names those that have no meaning on one machine, as ``perdure.init`` does.

    Raises:
        NotSupportedError: Flyte 2 has the option, this version does not.
        ConfigurationError: There is no such option.
    """
    unused = []
    for option, value in options.items():
        if option in _NO_EFFECT:
            unused += [option] * (value is not None and value is not False)
            continue
        if option not in _FLYTE_ONLY:
            raise ConfigurationError(
                f"with_runcontext has no option {option!r}", hint=_near(option)
            )
        if value is not None and value is not False:
            raise NotSupportedError(
                f"with_runcontext({option}={value!r}) is not supported yet", hint="leave it out"
            )
    if unused:
        warnings.warn(
            f"with_runcontext: without effect on this machine: {', '.join(unused)}",
            UserWarning,
            stacklevel=3,
        )


def _near(option: str) -> str:
    import difflib

    known = list(RunContext.__dataclass_fields__)
    close = difflib.get_close_matches(option, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"


def _strings(option: str, values: dict[str, str]) -> None:
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                f"{option}: {name!r} is {value!r}; names and values must be strings",
                hint=f"{option}={{{str(name)!r}: {str(value)!r}}}",
            )
