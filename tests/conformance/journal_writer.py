"""A process that commits to a journal: ``journal_writer.py PATH RUN COMMITS BATCH``.

It starts when a line arrives on its standard input, and prints the number of each commit after the
journal has acknowledged it.
"""

import sys
from pathlib import Path

from perdure._core.ids import digest
from perdure._core.model import Loader, Outcome, Phase, TaskSpec
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, RunRow


def finished(run: int, seq: int) -> ActionRow:
    return ActionRow(
        run=run,
        seq=seq,
        id=digest(b"%d" % seq),
        parent=0,
        task="t",
        created=1.0,
        phase=Phase.SUCCEEDED,
        outcome=Outcome(b"v"),
    )


def main(path: str, name: str, commits: int, batch: int) -> None:
    sys.stdin.readline()
    journal = SqliteJournal(Path(path))
    run = journal.create_run(RunRow(name=name, spec=TaskSpec("t", Loader("main", qualname="t"))))
    epochs = {run: journal.acquire(run, name, lambda _: True)}
    for n in range(commits):
        rows = [finished(run, n * batch + i) for i in range(1, batch + 1)]
        assert not journal.commit(rows, epochs)
        print(n, flush=True)
    journal.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
