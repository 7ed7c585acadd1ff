"""Cache keys, and what is asked and written under them.

A key is the digest of everything that decides a value: what the calls of a task have in common
(``CachePolicy.version``: name, interface, code, environment, salt) and the digest of each input
that counts. Two calls of one key would return equal values, in whichever runs they are.
"""

import math

from perdure._core.effects import Consult
from perdure._core.ids import digest
from perdure._core.model import CacheNote, CachePolicy, InputMark, Origin, Outcome
from perdure._core.records import CacheRow, ClaimEnd
from perdure._core.state import Action, Keyed


def key_of(policy: CachePolicy, inputs: dict[str, InputMark]) -> bytes:
    """Return the key of a call."""
    parts = [policy.version]
    for name in sorted(inputs):
        parts += (name.encode(), b"\0", inputs[name].digest)
    return digest(b"".join(parts))


def policy_of(action: Action) -> CachePolicy:
    """Return the policy of an action that is kept."""
    policy = action.task.spec.cache if action.task else None
    assert policy is not None
    return policy


def is_overwritten(action: Action) -> bool:
    """Whether no value counts that was made before the action was called."""
    run = action.run
    return policy_of(action).overwrite or run.cache == "overwrite" or action.name in run.force


def consult_of(action: Action, now: float) -> Consult:
    """Return the question whether a value is kept for the action."""
    policy, run = policy_of(action), action.run
    since = 0.0
    if is_overwritten(action):
        # Of those that run one at a time, one that ran after this call was made is as good.
        since = action.created if policy.serialize else math.inf
    elif policy.max_age is not None:
        since = now - policy.max_age
    run.consults += 1
    return Consult(action, run.consults, since)


def note_of(action: Action, known: Keyed) -> CacheNote | None:
    """Return what is to be kept of the question with the action; None before its answer."""
    if not known.verdict:
        return None
    return CacheNote(known.verdict, known.key, policy_of(action).facts, known.inputs or {})


def entry_of(action: Action, known: Keyed, outcome: Outcome) -> CacheRow | ClaimEnd | None:
    """Return what an outcome changes in the cache.

    A value that may rest on outcomes made by other code than its key says is not kept.
    """
    run = action.run
    if known.origin is not None or not known.key:
        return None
    if outcome.value is not None and not (run.mixed and action.replay):
        policy = policy_of(action)
        return CacheRow(
            run=run.key,
            key=known.key,
            task=action.name,
            created=action.ended or 0.0,
            origin=Origin(run.name, action.id),
            facts=policy.facts,
            inputs=known.inputs or {},
            value=outcome.value,
            blobs=outcome.blobs,
        )
    return ClaimEnd(run=run.key, key=known.key, number=known.claim) if known.claim else None
