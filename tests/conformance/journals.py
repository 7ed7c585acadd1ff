"""Every journal there is."""

from collections.abc import Callable
from pathlib import Path

from perdure._journal.memory import MemoryJournal
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import Journal

MAKERS: dict[str, Callable[[Path], Journal]] = {
    "memory": lambda folder: MemoryJournal(),
    "sqlite": lambda folder: SqliteJournal(folder / "home" / "journal.db", "process"),
}
