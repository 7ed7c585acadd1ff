"""Perdure: plain Python as durable, distributed AI workflows.

Everything public is here. Names are loaded when they are first used, so that ``import perdure``
costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from perdure import _absent, _modules

if TYPE_CHECKING:
    from perdure import artifacts as artifacts
    from perdure import durable as durable
    from perdure import errors as errors
    from perdure import git as git
    from perdure import io as io
    from perdure import remote as remote
    from perdure import report as report
    from perdure import types as types
    from perdure._api.caching import Cache as Cache
    from perdure._api.checkpoint import Checkpoint as Checkpoint
    from perdure._api.checkpoint import latest_checkpoint as latest_checkpoint
    from perdure._api.conditions import new_condition as new_condition
    from perdure._api.context import Context as Context
    from perdure._api.context import ctx as ctx
    from perdure._api.context import custom_context as custom_context
    from perdure._api.context import get_custom_context as get_custom_context
    from perdure._api.environment import TaskEnvironment as TaskEnvironment
    from perdure._api.future import Future as Future
    from perdure._api.grouping import group as group
    from perdure._api.image import Image as Image
    from perdure._api.logger import logger as logger
    from perdure._api.mapping import map as map  # noqa: A004  # perdure.map
    from perdure._api.options import Backoff as Backoff
    from perdure._api.options import RetryStrategy as RetryStrategy
    from perdure._api.options import ReusePolicy as ReusePolicy
    from perdure._api.options import Timeout as Timeout
    from perdure._api.queue import Queue as Queue
    from perdure._api.queue import Rate as Rate
    from perdure._api.resources import GPU as GPU
    from perdure._api.resources import Device as Device
    from perdure._api.resources import Resources as Resources
    from perdure._api.secrets import Secret as Secret
    from perdure._api.secrets import SecretRequest as SecretRequest
    from perdure._api.task import Task as Task
    from perdure._api.trace import trace as trace
    from perdure._api.waiting import as_completed as as_completed
    from perdure._api.waiting import gather as gather
    from perdure._api.waiting import wait as wait
    from perdure._serde import PickledValueWarning as PickledValueWarning
    from perdure.client.attaching import CodeChangedWarning as CodeChangedWarning
    from perdure.client.attaching import EnvironmentChangedWarning as EnvironmentChangedWarning
    from perdure.client.handle import Run as Run
    from perdure.client.handle import get_run as get_run
    from perdure.client.rerunning import rerun as rerun
    from perdure.client.running import resume as resume
    from perdure.client.running import run as run
    from perdure.client.running import runs as runs
    from perdure.client.running import with_runcontext as with_runcontext
    from perdure.client.settings import init as init
    from perdure.client.settings import init_from_api_key as init_from_api_key
    from perdure.client.settings import init_from_config as init_from_config
    from perdure.client.settings import init_in_cluster as init_in_cluster


__version__ = _modules.VERSION

_HOMES = {
    "perdure": ("artifacts", "durable", "errors", "git", "io", "remote", "report", "types"),
    "perdure._api.caching": ("Cache",),
    "perdure._api.checkpoint": ("Checkpoint", "latest_checkpoint"),
    "perdure._api.conditions": ("new_condition",),
    "perdure._api.context": ("Context", "ctx", "custom_context", "get_custom_context"),
    "perdure._api.environment": ("TaskEnvironment",),
    "perdure._api.future": ("Future",),
    "perdure._api.grouping": ("group",),
    "perdure._api.image": ("Image",),
    "perdure._api.logger": ("logger",),
    "perdure._api.options": ("Backoff", "RetryStrategy", "ReusePolicy", "Timeout"),
    "perdure._api.mapping": ("map",),
    "perdure._api.queue": ("Queue", "Rate"),
    "perdure._api.resources": ("Device", "GPU", "Resources"),
    "perdure._api.secrets": ("Secret", "SecretRequest"),
    "perdure._api.task": ("Task",),
    "perdure._api.trace": ("trace",),
    "perdure._api.waiting": ("as_completed", "gather", "wait"),
    "perdure._serde": ("PickledValueWarning",),
    "perdure.client.attaching": ("CodeChangedWarning", "EnvironmentChangedWarning"),
    "perdure.client.handle": ("Run", "get_run"),
    "perdure.client.rerunning": ("rerun",),
    "perdure.client.running": ("resume", "run", "runs", "with_runcontext"),
    "perdure.client.settings": (
        "init",
        "init_from_api_key",
        "init_from_config",
        "init_in_cluster",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # the names of the table, nothing else


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        return _absent.find(name)
    if home == "perdure":
        value = importlib.import_module(f"{home}.{name}")
    else:
        value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
