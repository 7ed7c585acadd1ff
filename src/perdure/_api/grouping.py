"""Display groups: a name that the calls made inside a block are shown under."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_group: ContextVar[str] = ContextVar("perdure_group", default="")


@contextmanager
def group(name: str) -> Iterator[None]:
    """Show the calls made inside the block together, under ``name``.

    Groups are for people: they are not part of any identity, so renaming one loses no work.
    Nested groups are joined with ``/``.
    """
    outer = _group.get()
    token = _group.set(f"{outer}/{name}" if outer else name)
    try:
        yield
    finally:
        _group.reset(token)


def current_group() -> str:
    """Return the display group of calls made here, "" if there is none."""
    return _group.get()
