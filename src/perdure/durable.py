"""Time, chance and sleep that are the same when a task is attempted again.

``now``, ``time`` and ``sleep`` block, and have an awaitable form: ``await durable.now.aio()``.
"""

from perdure._api.durable import now, random, sleep, time, uuid4

__all__ = ["now", "random", "sleep", "time", "uuid4"]
