"""What the controller asks the journal. Called on the scribe's thread."""

from perdure._core.records import ActionRow, Page
from perdure._core.state import CALLED_LIMIT, Attempt, Run
from perdure._ports import Journal


def look_up(journal: Journal, run: Run, ids: list[bytes]) -> dict[bytes, ActionRow]:
    """Return what is recorded of these actions, in the run or in the one it may reuse."""
    found = journal.lookup(run.key, ids)
    if run.recover and len(found) < len(ids):
        rest = [each for each in ids if each not in found]
        found = {**journal.lookup(run.recover, rest), **found}
    return found


def next_page(journal: Journal, attempt: Attempt) -> Page:
    """Return the recorded children to tell the attempt's worker next."""
    told = attempt.recollection
    assert told is not None
    return journal.recorded(attempt.action.run.key, attempt.action.seq, told.upto)


def missing_children(journal: Journal, attempt: Attempt) -> list[str]:
    """Return recorded children that a replay has not called, as people should read them."""
    action = attempt.action
    if not action.seq:
        return []  # an action without a row has no recorded children
    recorded, missing = 0, []
    for child, task, seq in journal.children(action.run.key, action.seq):
        recorded += 1
        if not attempt.has_called(child, seq):
            missing.append(f"{task} (#{seq}, {child.hex()[:8]})")
    if attempt.calls > CALLED_LIMIT:
        told = attempt.recollection
        surplus = recorded - attempt.calls - (told.claims if told is not None else 0)
        return [f"{surplus} of {recorded} recorded calls"] if surplus > 0 else []
    return missing
