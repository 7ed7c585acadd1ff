"""When a failed action is attempted again."""

from perdure._core.model import Failure, RetryPolicy


def should_retry(policy: RetryPolicy, failure: Failure, charged: int) -> bool:
    """Whether an action may be attempted again.

    Args:
        policy: The task's policy.
        failure: What ended the attempt.
        charged: Attempts charged to the budget so far, the one that just failed included.
    """
    return failure.retryable and charged <= policy.count


def delay(policy: RetryPolicy, charged: int, action: bytes) -> float:
    """Return the seconds to wait before the next attempt.

    Exponential with a cap. The jitter is taken from the action's id instead of a random number:
    as well spread over actions, and the same in every replay and simulation.

    Args:
        policy: The task's policy.
        charged: Attempts charged so far (at least 1).
        action: Id of the action (16 bytes).
    """
    if policy.base <= 0:
        return 0.0
    grown = policy.base * policy.factor ** min(charged - 1, 64)
    spread = (action[charged % len(action)] / 255.0 * 2.0 - 1.0) * policy.jitter
    return max(0.0, min(policy.cap, grown) * (1.0 + spread))
