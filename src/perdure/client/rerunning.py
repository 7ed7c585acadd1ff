"""``rerun``: a new run of an earlier one's task, with its inputs and its code."""

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._core.model import Bundle, Loader, SourceFile
from perdure._modules import MAIN, find_module
from perdure._ports import RunRow
from perdure.client import attaching, link
from perdure.client.attaching import EnvironmentChangedWarning
from perdure.client.handle import Run
from perdure.client.naming import new_name
from perdure.client.queues import declare
from perdure.client.running import refuse_inside_action
from perdure.client.twofold import Twofold
from perdure.errors import BlobMissingError, ConfigurationError

if TYPE_CHECKING:
    from perdure._api.task import Task

CODES = ("recorded", "current")
_NAMED = 8


def _rerun(
    name: str,
    /,
    *,
    recover: bool = True,
    force: Iterable[str] = (),
    code: str = "recorded",
    **new_inputs: Any,
) -> Run:
    """Start a new run of the same task, with the recorded inputs or some of them replaced.

    Args:
        name: Name of the earlier run.
        recover: Take over the results of the actions that succeeded in it. Otherwise everything is
            computed anew, cached tasks included.
        force: Names of tasks whose actions run again all the same.
        code: ``"recorded"``: the code that run was started with, whatever is on disk now.
            ``"current"``: what is on disk now.
        **new_inputs: Inputs that replace recorded ones.

    Raises:
        RunNotFoundError: There is no such run.
        TypeCheckError: A new input does not fit its type hint.
        BlobMissingError: The recorded code is not stored any more.
    """
    refuse_inside_action("rerun")
    if code not in CODES:
        raise ConfigurationError(
            f"code={code!r} makes no sense", hint="use 'recorded' or 'current'"
        )
    old, force = link.get(name), list(force)
    mixed = attaching.has_other_packages(old)
    if code == "recorded":
        bundle = recorded_bundle(old)
        attaching.go_back(old)
        _mind_the_environment(old)
    else:
        bundle = _current_bundle(old)
        mixed |= bundle.files != old.bundle.files
        if recover and not force:  # who forces has made up their mind
            attaching.take_over(old)
    row = RunRow(
        name=new_name(old.spec.name),
        spec=old.spec,
        inputs=old.inputs,
        inputs_digest=old.inputs_digest,
        blobs=old.blobs,
        bundle=bundle,
        context=old.context,
        options=_options(old, recover, force, mixed),
        created=time.time(),
        parent=old.name,
    )
    if new_inputs:
        _replace_inputs(row, new_inputs)
    link.keep_blobs((*row.blobs, *(file.blob for file in bundle.files)))
    declare()
    link.runtime().submit(row)
    return Run(row.name)


def recorded_bundle(old: RunRow) -> Bundle:
    """Return the bundle with which workers load the recorded code of a run.

    Raises:
        BlobMissingError: Some of it is not stored any more.
    """
    from perdure._version.snapshot import with_environment

    blobs = link.blobs()
    missing = [file.path for file in old.bundle.files if not blobs.has(file.blob)]
    if missing:
        raise BlobMissingError(
            f"the recorded text of {', '.join(missing)} is gone",
            hint="run what is on disk now: --code current, or code='current'",
            run=old.name,
        )
    return msgspec.structs.replace(with_environment(old.bundle, blobs), pinned=True)


@contextmanager
def root_task(row: RunRow, bundle: Bundle) -> "Iterator[Task[..., Any]]":
    """Give the root task of a run as ``bundle`` has it, to look at; it is not to be executed.

    Inside, values are made of the classes that the bundle has. If this process has loaded the
    task's module already, that is taken: whoever gives new inputs makes them of the classes there.

    Raises:
        TaskLoadError: It cannot be loaded.
    """
    from perdure._worker.loader import load_task
    from perdure._worker.recorded import private_modules

    recall = bundle.pinned and not _is_loaded(row.spec.loader, bundle)
    with private_modules(bundle, link.blobs()) if recall else nullcontext():
        yield load_task(row.spec.loader, bundle)


def _is_loaded(loader: Loader, bundle: Bundle) -> bool:
    if loader.kind == "module":
        return find_module(loader.module) is not None
    if loader.kind == "main":
        main = find_module(bundle.main_module or MAIN)
        return main is not None and getattr(main, "__file__", None) == bundle.main
    return True  # by value: the code is in the loader


def _current_bundle(old: RunRow) -> Bundle:
    """Return the bundle of a run with the text its files have now, and today's packages."""
    from pathlib import Path

    from perdure._version.repository import checked_out
    from perdure._version.snapshot import with_environment

    blobs = link.blobs()
    files = []
    for source in old.bundle.files:
        path = Path(source.path)
        digest = blobs.put([path.read_bytes()]) if path.is_file() else source.blob
        files.append(SourceFile(path=source.path, blob=digest))
    commit = checked_out(old.bundle.repository) if old.bundle.repository else None
    return msgspec.structs.replace(
        with_environment(old.bundle, blobs),
        files=tuple(files),
        commit="" if commit is None else commit.commit,
        branch="" if commit is None else commit.branch,
        pinned=False,
    )


def _options(old: RunRow, recover: bool, force: list[str], mixed: bool) -> bytes:
    options: dict[str, Any] = msgspec.msgpack.decode(old.options) if old.options else {}
    options |= {"recover_from": old.name if recover else "", "force": force, "mixed": mixed}
    if not recover:
        options.setdefault("cache", "overwrite")
    return msgspec.msgpack.encode({key: value for key, value in options.items() if value})


def _replace_inputs(row: RunRow, new: dict[str, Any]) -> None:
    from perdure import _serde

    blobs = link.blobs()
    with root_task(row, row.bundle) as task:
        recorded = _serde.loads(row.inputs, blobs)
        positional, keyword = task.binder().arguments({**recorded, **new})
        encoded = _serde.dumps(task.bind(tuple(positional), dict(keyword)), blobs)
    row.inputs, row.inputs_digest = encoded.data, encoded.digest
    row.blobs = (*row.blobs, *encoded.blobs)  # the context may refer to some, too


def _mind_the_environment(old: RunRow) -> None:
    from perdure._version.environment import differences, environment
    from perdure._version.snapshot import environment_of

    then = environment_of(old.bundle, link.blobs())
    if then is None or then.digest == environment().digest:
        return
    found = differences(then, environment())
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    warnings.warn(
        f"run {old.name!r} had other packages: {', '.join(found[:_NAMED])}{more}",
        EnvironmentChangedWarning,
        stacklevel=5,
    )


rerun = Twofold(_rerun)
