"""Times, counts and amounts, as people read them."""

import time
from collections.abc import Mapping
from datetime import datetime

_BYTES = frozenset({"memory", "disk", "shm"})


def duration(seconds: float | None) -> str:
    """Return a span of time, short: ``12ms``, ``3.4s``, ``2m05s``, ``1h02m``, ``3d04h``."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def when(at: float | None) -> str:
    """Return a point in time in local time: without the date if it is today."""
    if at is None:
        return ""
    moment = datetime.fromtimestamp(at)
    today = datetime.fromtimestamp(time.time()).date() == moment.date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def number(count: int) -> str:
    """Return a count with thousands separators."""
    return f"{count:,}"


def size(count: int) -> str:
    """Return a number of bytes, short: ``512 B``, ``3.4 MiB``."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def amounts(of: Mapping[str, float]) -> str:
    """Return amounts of resources: ``2 cpu, 4.0 GiB memory``."""
    return ", ".join(f"{amount(name, each)} {name}" for name, each in of.items()) or "nothing"


def amount(name: str, of: float) -> str:
    """Return an amount of a resource."""
    return size(max(0, round(of))) if name in _BYTES else f"{max(of, 0.0):g}"


def rate(starts: int, period: float) -> str:
    """Return a rate as it is declared; "" if there is none."""
    if not starts:
        return ""
    units = {1.0: "s", 60.0: "m", 3600.0: "h", 86_400.0: "d"}
    return f"{starts}/{units.get(period) or f'{period:g}s'}"
