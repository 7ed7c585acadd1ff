"""Forgetting what is kept for all runs."""

from perdure.client import link


def clear_cache(task: str | None = None, before: float | None = None) -> int:
    """Forget kept values; return how many there were. What runs have recorded stays.

    Args:
        task: Only those of this task, by full name; ``*`` and ``?`` are wildcards.
        before: Only those made before this moment, in wall-clock seconds.
    """
    if not link.config().checked().journal.exists():
        return 0
    with link.journal() as journal:
        return journal.clear_cache(task, before)
