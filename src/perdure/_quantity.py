"""Kubernetes quantities: amounts of resources as people write them."""

import re

from perdure.errors import ConfigurationError

_SUFFIXES = {
    "": 1.0,
    "m": 1e-3,
    **{s: 1000.0**i for i, s in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "K": 1000.0,
    **{s: 1024.0**i for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*")


def quantity(option: str, value: object) -> float:
    """Return a Kubernetes quantity (``2``, ``0.5``, ``"500m"``, ``"1.5Gi"``) as a number.

    Raises:
        ConfigurationError: It is not one, or it is negative.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _SUFFIXES:
        raise ConfigurationError(
            f"{option}={value!r} is not a quantity",
            hint='write a number, or one with a suffix: "500m", "512Mi", "2Gi"',
        )
    return float(match[1]) * _SUFFIXES[match[2]]
