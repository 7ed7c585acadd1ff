"""Spans of time as people write them: ``30d``, ``12h``, ``1d12h``."""

import re

from perdure.errors import ConfigurationError

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([wdhms])")


def seconds(text: str) -> float:
    """Return a span of time in seconds.

    Args:
        text: Numbers with units: w(eeks), d(ays), h(ours), m(inutes), s(econds).

    Raises:
        ConfigurationError: It is none.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigurationError(
            f"{text!r} is not a span of time",
            hint="write a number and a unit: 30d, 12h, 45m; units are w, d, h, m, s",
        )
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
