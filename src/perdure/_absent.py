"""Flyte 2's names that Perdure lacks so far: each is refused, with what to do instead.

Whoever moves a script by changing its import learns from the first line that cannot work what it
was, rather than from an ``AttributeError`` that looks like a spelling mistake.
"""

import sys
from importlib.machinery import ModuleSpec
from typing import NoReturn

from perdure.errors import NotSupportedError

_HERE = "leave it out: tasks run in this interpreter, with what is installed here"
_ENVIRONMENT = "tasks see the environment variables of this process; more with env_vars={...}"
_STARTED = "start runs when they are due: python script.py, or perdure run script.py"
_SERVER = "runs are on this machine: perdure.run(task, ...)"
_GPU = "give the number of devices: perdure.Resources(gpu=1)"
_STORAGE = 'say where files live with a URL: perdure.init(storage="s3://bucket/path")'
_OUTSIDE = "call the library from a task"

_NAMES = {
    "AMD_GPU": _GPU,
    "APPLE_SILICON": _GPU,
    "AppHandle": _SERVER,
    "BaseCheckpoint": "use perdure.Checkpoint",
    "CachePolicy": "give perdure.Cache(version=...): what your policy returns",
    "CacheRequest": "write str | perdure.Cache",
    "ConditionWebhook": "poll from a task, with perdure.durable.sleep in between",
    "Cron": _STARTED,
    "Device": _GPU,
    "DeviceClass": _GPU,
    "Documentation": "write a docstring",
    "Environment": "use perdure.TaskEnvironment",
    "FixedRate": _STARTED,
    "GPU": _GPU,
    "HABANA_GAUDI": _GPU,
    "Image": _HERE,
    "ImageBuild": _HERE,
    "Link": "print what is worth linking to; the log is kept",
    "Neuron": _GPU,
    "OnArtifact": _STARTED,
    "PodTemplate": _HERE,
    "Secret": _ENVIRONMENT,
    "SecretRequest": _ENVIRONMENT,
    "TPU": _GPU,
    "Trigger": _STARTED,
    "TriggerTime": _STARTED,
    "TriggeredArtifact": _STARTED,
    "TriggeredPartition": _STARTED,
    "build": _HERE,
    "build_images": _HERE,
    "current_domain": _SERVER,
    "current_project": _SERVER,
    "deploy": _SERVER,
    "init_passthrough": _SERVER,
    "is_control_plane_available": _SERVER,
    "load_interactive_ctx": "use perdure.get_run(name)",
    "load_plugin_config": _OUTSIDE,
    "new_condition": "poll from a task, with perdure.durable.sleep in between",
    "run_python_script": _SERVER,
    "serve": _SERVER,
    "system_logger": 'use logging.getLogger("perdure")',
    "with_servecontext": _SERVER,
}
_MODULES = {
    "ai": _OUTSIDE,
    "app": _SERVER,
    "clustered": _OUTSIDE,
    "connectors": _OUTSIDE,
    "extend": _OUTSIDE,
    "extras": "time and sleep are in perdure.durable",
    "git": "runs need no configuration file: perdure.init_from_config()",
    "models": "Context and Run are in perdure itself",
    "notify": "send it from a task",
    "prefetch": "fetch it in a task",
    "remote": "use perdure.get_run(name) and perdure.runs()",
    "sandbox": _OUTSIDE,
    "storage": _STORAGE,
    "syncify": "tasks have .aio, runs too",
    "types": "what has no type of its own is pickled",
}


def refuse(name: str) -> None:
    """Refuse an attribute of the package that Flyte 2 has; do nothing about any other.

    Raises:
        NotSupportedError: It is known, and not built yet.
    """
    hint = _NAMES.get(name) or _MODULES.get(name)
    if hint is not None:
        _refuse(f"perdure.{name}", hint)


class Finder:
    """Comes last on ``sys.meta_path``: what is asked of it exists nowhere."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Refuse to import the submodules that Flyte 2 has."""
        package, _, module = name.partition(".")
        if package == "perdure" and module in _MODULES:
            _refuse(name, _MODULES[module])
        return None


def _refuse(name: str, hint: str) -> NoReturn:
    raise NotSupportedError(f"{name} is not supported yet", hint=hint)


sys.meta_path.append(Finder)
