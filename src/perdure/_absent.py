"""Flyte 2's names that Perdure lacks so far: each is refused, with what to do instead.

Whoever moves a script by changing its import learns from the first line that cannot work what it
was, rather than from an ``AttributeError`` that looks like a spelling mistake. A module can be
imported although nothing in it is there: scripts import what only some of their lines use.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from perdure.errors import NotSupportedError

_HERE = "leave it out: tasks run in this interpreter, with what is installed here"
_BUILD = "environments are made when they are needed, or ahead of that with perdure build FILE"
_STARTED = "start runs when they are due: python script.py, or perdure run script.py"
_SERVER = "runs are on this machine: perdure.run(task, ...)"
_GPU = 'NVIDIA devices only: perdure.Resources(gpu=1), or gpu="A100:1"'
_STORAGE = 'say where files live with a URL: perdure.init(storage="s3://bucket/path")'
_OUTSIDE = "call the library from a task"

_NAMES = {
    "AMD_GPU": _GPU,
    "APPLE_SILICON": _GPU,
    "AppHandle": _SERVER,
    "BaseCheckpoint": "use perdure.Checkpoint",
    "CachePolicy": "give perdure.Cache(version=...): what your policy returns",
    "CacheRequest": "write str | perdure.Cache",
    "ConditionWebhook": "send a message from the task; perdure signal RUN NAME VALUE answers",
    "Cron": _STARTED,
    "DeviceClass": _GPU,
    "Documentation": "write a docstring",
    "Environment": "use perdure.TaskEnvironment",
    "FixedRate": _STARTED,
    "HABANA_GAUDI": _GPU,
    "ImageBuild": _BUILD,
    "Link": "print what is worth linking to; the log is kept",
    "Neuron": _GPU,
    "OnArtifact": _STARTED,
    "PodTemplate": _HERE,
    "TPU": _GPU,
    "Trigger": _STARTED,
    "TriggerTime": _STARTED,
    "TriggeredArtifact": _STARTED,
    "TriggeredPartition": _STARTED,
    "build": _BUILD,
    "build_images": _BUILD,
    "current_domain": _SERVER,
    "current_project": _SERVER,
    "deploy": _SERVER,
    "TaskTemplate": "use perdure.Task",
    "TimeoutType": "use perdure.Timeout",
    "init_passthrough": _SERVER,
    "is_control_plane_available": _SERVER,
    "load_interactive_ctx": "use perdure.get_run(name)",
    "load_plugin_config": _OUTSIDE,
    "run_python_script": _SERVER,
    "serve": _SERVER,
    "system_logger": 'use logging.getLogger("perdure")',
    "with_servecontext": _SERVER,
}
_MODULES = {
    "_image": 'use perdure.Image; its with_pip_packages takes paths of wheels: "dist/a.whl"',
    "ai": _OUTSIDE,
    "app": _SERVER,
    "clustered": _OUTSIDE,
    "connectors": _OUTSIDE,
    "extend": _OUTSIDE,
    "extras": "time and sleep are in perdure.durable",
    "models": "Context and Run are in perdure itself",
    "notify": "send it from a task",
    "prefetch": "fetch it in a task",
    "sandbox": _OUTSIDE,
    "storage": _STORAGE,
    "syncify": "tasks have .aio, runs too",
}


_IN_MODULES = {
    "git": "runs need no configuration file: perdure.init_from_config()",
    "remote": "use perdure.get_run(name), perdure.runs() and perdure.artifacts",
    "types": "what has no type of its own is pickled",
}
"""Modules that have few of their names."""

_HINTS = {
    "extras.ContainerTask": "run the program from a task: subprocess.run([...], check=True)",
    "extras.Sleep": "leave plugin_config out; in the task: perdure.durable.sleep.aio(seconds)",
    "remote.Condition": "run = perdure.get_run(name); run.conditions() lists those that wait, and "
    "run.signal(condition, value) answers",
}
"""What to do instead of single names of theirs."""

_RUN = {
    "action": "run.actions() lists them",
    "code_bundle": "perdure show {run.name} tells what code it ran",
    "details": "run.phase and run.actions(); or: perdure show {run.name}",
    "download_code": "perdure show {run.name} tells what code it ran; perdure rerun runs it again",
    "first_failure": 'run.actions(phase="failed") lists what failed; run.raise_for_status() raises',
    "get_debug_url": "perdure debug {run.name} ACTION",
    "get_logs": "run.logs() yields the lines",
    "get_report": "run.report() is the file",
    "input_literals": "run.inputs()",
    "output_literals": "run.outputs()",
    "pb2": "run.name and run.phase; or: perdure show {run.name} --json",
    "raw_phase": "run.phase",
    "show_logs": "run.logs() yields the lines; or: perdure logs {run.name}",
    "to_dict": "perdure show {run.name} --json",
    "to_json": "perdure show {run.name} --json",
    "typed_inputs": "run.inputs()",
    "typed_outputs": "run.result(), which has the type that the task returned",
    "watch": "run.wait() waits for the end; perdure watch {run.name} shows what happens",
}
"""What to do instead of what their runs have."""


class AbsentError(NotSupportedError, AttributeError):
    """Flyte 2's objects have the name, and ours do not: so ``hasattr`` says, too."""


def refuse_of_run(name: str, run: object) -> NoReturn:
    """Refuse what a run has in Flyte 2, and not here.

    Args:
        name: What it is asked for.
        run: The run, of which the name is told; one that is being copied has none yet.

    Raises:
        AbsentError: It is that.
        AttributeError: Neither has it.
    """
    if name not in _RUN:
        raise AttributeError(f"'Run' object has no attribute {name!r}")
    raise AbsentError(f"Run.{name} is not supported", hint=_RUN[name].format(run=run))


def find(name: str) -> Any:
    """Return a module that Flyte 2 has, for which a script need not ask by an import of its own.

    Raises:
        NotSupportedError: It is another name that Flyte 2 has, and not built yet.
        AttributeError: Neither has it.
    """
    if name in _MODULES or name in _IN_MODULES:
        return importlib.import_module(f"perdure.{name}")
    if name in _NAMES:
        _refuse(f"perdure.{name}", _NAMES[name])
    raise AttributeError(f"module 'perdure' has no attribute {name!r}")


def refuse_in(module: str, name: str) -> NoReturn:
    """Refuse a name of one of Flyte 2's modules.

    Raises:
        NotSupportedError: Always, but for what Python itself asks of modules.
        AttributeError: That was it.
    """
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    top = module.split(".")[1]
    hint = _HINTS.get(f"{top}.{name}") or _MODULES.get(top) or _IN_MODULES[top]
    _refuse(f"{module}.{name}", hint)


class _Lacking(ModuleType):
    """A module of which nothing is there: it is imported, and refuses what is asked of it."""

    def __getattr__(self, name: str) -> NoReturn:
        refuse_in(self.__name__, name)


class Finder:
    """Comes last on ``sys.meta_path``: what is asked of it exists nowhere."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find the submodules that Flyte 2 has."""
        package, _, module = name.partition(".")
        if package != "perdure" or module.partition(".")[0] not in _MODULES:
            return None
        return ModuleSpec(name, cls, is_package=True)  # type: ignore[arg-type]  # it does load

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Make the module."""
        return _Lacking(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Do nothing: there is nothing in it."""


def _refuse(name: str, hint: str) -> NoReturn:
    raise NotSupportedError(f"{name} is not supported yet", hint=hint)


sys.meta_path.append(Finder)
