"""Same name, same run: meeting a run that exists already, and going on with one that stopped."""

import warnings
from collections.abc import Sequence

from perdure._core.model import Phase
from perdure._ports import RunRow
from perdure.client import link
from perdure.client.queues import declare
from perdure.errors import (
    ReplayDivergedError,
    RunConflictError,
    RunInUseError,
    RunNotFoundError,
    StorageError,
)


class CodeChangedWarning(UserWarning):
    """The code of a run has changed, and what it recorded with the old code is used."""


class EnvironmentChangedWarning(UserWarning):
    """A run is reproduced with other packages, or another Python, than it had."""


def attach(known: RunRow, asked: RunRow, *, strict: bool) -> bool:
    """Check that ``known`` is the run asked for, and go on with it if it was interrupted.

    Returns:
        Whether it is still there: it may have been so old that it was collected just now.

    Raises:
        RunConflictError: The name belongs to another task or other inputs.
        ReplayDivergedError: The code has changed, and ``strict`` is set.
    """
    _same(known, asked)
    if known.phase is Phase.INTERRUPTED:
        try:
            go_on(known, retry_failed=False, strict=strict)
        except RunNotFoundError:
            found = link.find(known.name)
            if found is not None and found.key == known.key:
                raise  # another one is gone, of which it was to take results over
            return False
    elif known.phase.final:
        other = known.spec.code != asked.spec.code and not known.bundle.files  # a notebook's task
        _mind_the_code(
            known,
            strict,
            "This is the result it recorded; another name, or perdure.rerun"
            f"({known.name!r}, recover=False), runs the new code",
            [known.spec.name] if other else [],
        )
    return True


def go_on(known: RunRow, *, retry_failed: bool, strict: bool) -> None:
    """Drive a run that stopped; leave alone one that succeeded or that is being driven.

    Args:
        known: The run.
        retry_failed: Also go on with a failed or aborted run: try its failed actions again.
        strict: Refuse if the code has changed.

    Raises:
        ReplayDivergedError: The code has changed, and ``strict`` is set.
    """
    stopped = known.phase is Phase.INTERRUPTED
    again = retry_failed and known.phase in (Phase.FAILED, Phase.ABORTED)
    if not (stopped or again):
        return
    declare()
    mixed = has_other_packages(known)
    if not known.bundle.pinned:
        mixed |= _mind_the_code(
            known, strict, "Finished actions keep their results; others run with the new code"
        )
    try:
        link.runtime().drive(known.name, retry_failed=retry_failed, strict=strict, mixed=mixed)
    except RunInUseError:
        return  # another process was faster: waiting for it is all there is to do


def take_over(known: RunRow) -> None:
    """Warn if a new run takes over results that ``known`` recorded with other code."""
    _mind_the_code(
        known,
        False,
        "Its results are taken over all the same; name tasks in force to run anew",
    )


def has_other_packages(known: RunRow) -> bool:
    """Whether what is installed may be other than it was when the run was started."""
    from perdure._version.environment import environment
    from perdure._version.snapshot import environment_of

    try:
        then = environment_of(known.bundle, link.blobs())
    except StorageError:  # what it was is gone
        return True
    return then is not None and then.digest != environment().digest


def go_back(known: RunRow) -> None:
    """Warn if a new run uses the recorded code of ``known``, and there is other code by now."""
    _mind_the_code(known, False, "The recorded code runs; to run what is there now: code='current'")


def _same(known: RunRow, asked: RunRow) -> None:
    from perdure._serde import preview

    hint = (
        f"use another name, or look at the one that has it: perdure show {asked.name}; "
        f"perdure.rerun({asked.name!r}, ...) starts a new run with other inputs"
    )
    if known.spec.name != asked.spec.name:
        raise RunConflictError(
            f"the name {asked.name!r} belongs to a run of another task: "
            f"{known.spec.name}, not {asked.spec.name}",
            hint=hint,
            run=asked.name,
        )
    if known.inputs_digest != asked.inputs_digest:
        raise RunConflictError(
            f"the name {asked.name!r} belongs to a run of {known.spec.name} with other inputs: "
            f"{preview(known.inputs)}, not {preview(asked.inputs)}",
            hint=hint,
            run=asked.name,
        )


def _mind_the_code(
    known: RunRow, strict: bool, consequence: str, changed: Sequence[str] = ()
) -> bool:
    """Warn, or raise if ``strict``, if the code of a run has changed; return whether it has."""
    from perdure import _bundle

    changed = changed or _bundle.changed(known.bundle, link.blobs())
    if not changed:
        return False
    text = f"the code of run {known.name!r} has changed since it started: {', '.join(changed)}"
    if strict:
        raise ReplayDivergedError(
            text,
            hint=f"restore the code, or leave out strict. {consequence}",
            run=known.name,
        )
    warnings.warn(f"{text}. {consequence}.", CodeChangedWarning, stacklevel=6)
    return True
