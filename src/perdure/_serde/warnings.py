"""Warnings about values."""


class PickledValueWarning(UserWarning):
    """A value is pickled, so that its digest may differ where the value is equal.

    Nothing is lost, but a replay or a cache may fail to recognise the value. Dataclasses, pydantic
    models, arrays, tables and plain data do not have this problem.
    """
