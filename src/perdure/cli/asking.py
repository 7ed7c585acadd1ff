"""What runs wait for people to answer, as commands show it."""

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client.signalling import OpenCondition

MOST = 10
"""Conditions that are shown; the others are counted."""


def placeholder(condition: "OpenCondition") -> str:
    """Return what stands for an answer: ``true|false``, or the type."""
    return "|".join(condition.choices) or condition.data_type


def how_to_answer(run: str, condition: "OpenCondition", *, unique: bool = True) -> str:
    """Return the command that answers a condition.

    Args:
        run: Name of the run.
        condition: The condition.
        unique: No other one of the run that is open is called so.
    """
    which = shlex.quote(condition.name) if unique else str(condition.number)
    return f"perdure signal {run} {which} {placeholder(condition)}"


def commands(run: str, conditions: "list[OpenCondition]") -> list[str]:
    """Return the commands that answer conditions, one each."""
    names = [each.name for each in conditions]
    return [
        how_to_answer(run, each, unique=names.count(each.name) == 1) for each in conditions[:MOST]
    ]
