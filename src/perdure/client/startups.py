"""What tasks find in their worker, for one that is executed in this process instead."""

import os
from typing import TYPE_CHECKING, Any

from perdure._api.hooks import no_state
from perdure._api.starting import made_by, made_on_loop_by
from perdure._secrets.sources import Sources
from perdure._worker import secrets
from perdure.client import link

if TYPE_CHECKING:
    from perdure._api.hooks import Hook
    from perdure._api.task import Task
    from perdure._core.model import Bundle

_states: "dict[Hook, Any]" = {}


def adopt_variables(task: "Task[..., Any]") -> None:
    """Set the environment variables of a task, and of its image."""
    settings = task.settings
    if settings.image is not None:
        from perdure._api import recipes

        os.environ.update(recipes.variables(settings.image))
    os.environ.update(settings.env_vars)


def adopt_secrets(task: "Task[..., Any]", bundle: "Bundle") -> None:
    """Set the environment variables that hold the secrets of a task.

    Raises:
        SecretNotFoundError: One is nowhere.
    """
    if wanted := task.settings.secrets:
        secrets.adopt(Sources(link.config().home).values(wanted, bundle))


def start_up(hook: "Hook | None") -> None:
    """Call a start-up hook, once in this process."""
    if hook is not None and hook not in _states:
        _states[hook] = made_by(hook)


async def start_up_on_loop(hook: "Hook | None") -> None:
    """Do the same on a running event loop."""
    if hook is not None and hook not in _states:
        _states[hook] = await made_on_loop_by(hook)


def state_of(hook: "Hook | None") -> Any:
    """Return what the hook has made.

    Raises:
        ConfigurationError: There is no hook.
    """
    if hook is None:
        raise no_state()
    return _states[hook]
