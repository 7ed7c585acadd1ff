"""What every journal promises about published values."""

from pathlib import Path
from typing import Any

import pytest

from perdure._core.artifacts import ArtifactRow, Publication, Publisher, Wanted
from perdure._core.model import Loader, Outcome, Phase, TaskSpec
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, Journal, RunRow
from perdure._views.lineage import Link
from perdure._views.sqlite import SqliteViews
from perdure.errors import ArtifactConflictError, ArtifactNotFoundError, LeaseLostError

ALL = {"name": "flights"}


def publication(content: str = "a", name: str = "flights", **changes: Any) -> Publication:
    fields: dict[str, Any] = {
        "name": name, "version": "", "kind": "dataset", "digest": content.encode() * 16,
        "value": b"pointer to " + content.encode(), "blobs": (b"p" * 32, content.encode() * 32),
    }  # fmt: skip
    return Publication(**(fields | changes))


def publish(journal: Journal, content: str = "a", **changes: Any) -> ArtifactRow:
    return journal.publish(publication(content, **changes), None, 100.0)


def find(journal: Journal, version: str = "latest", **partitions: str) -> str | None:
    row = journal.find_artifact(Wanted("flights", version, partitions))
    return row and row.version


def test_what_is_published_comes_back_with_all_its_fields(journal: Journal) -> None:
    made = publish(
        journal, version="1.0", metadata='{"rows":3}', tags=("b", "a"), partitions={"day": "x"}
    )
    assert made == ArtifactRow(
        key=made.key, name="flights", version="1.0", kind="dataset", created=100.0,
        digest=b"a" * 16, value=b"pointer to a", blobs=(b"p" * 32, b"a" * 32),
        metadata='{"rows":3}', partitions={"day": "x"}, tags=("a", "b"),
    )  # fmt: skip
    assert journal.find_artifact(Wanted("flights", "1.0")) == made


def test_what_was_never_published_is_none(journal: Journal) -> None:
    publish(journal)
    assert journal.find_artifact(Wanted("nothing")) is None
    assert find(journal, "7") is None
    assert find(journal, day="monday") is None


def test_versions_count_up_from_one_by_name(journal: Journal) -> None:
    assert [publish(journal, content).version for content in "abc"] == ["1", "2", "3"]
    assert publish(journal, name="other").version == "1"
    assert publish(journal, "d", version="20").version == "20"
    assert publish(journal, "e", version="beta").version == "beta"
    assert publish(journal, "f").version == "21"


def test_publishing_what_the_newest_version_holds_is_that_version(journal: Journal) -> None:
    first = publish(journal)
    assert publish(journal).key == first.key
    assert publish(journal, metadata='{"a":1}').version == "2"
    assert publish(journal, metadata='{"a":1}', kind="model").version == "3"


def test_the_newest_version_is_what_was_published_last(journal: Journal) -> None:
    for content in "aba":
        publish(journal, content)
    newest = journal.find_artifact(Wanted("flights"))
    assert newest is not None
    assert (newest.version, newest.digest) == ("3", b"a" * 16)


def test_partitions_have_newest_versions_of_their_own(journal: Journal) -> None:
    monday, tuesday = {"day": "mon", "zone": "eu"}, {"day": "tue", "zone": "eu"}
    publish(journal, "a", partitions=monday)
    publish(journal, "b", partitions=tuesday)
    assert publish(journal, "a", partitions=monday).version == "1"
    assert find(journal, day="mon") == "1"
    assert find(journal, zone="eu") == "2"
    assert find(journal, "1", day="tue") is None


def test_a_version_never_changes(journal: Journal) -> None:
    publish(journal, version="1.0")
    assert publish(journal, version="1.0").version == "1.0"
    with pytest.raises(ArtifactConflictError, match="another content"):
        publish(journal, "b", version="1.0")
    with pytest.raises(ArtifactConflictError, match="latest"):
        publish(journal, version="latest")


def test_a_tag_points_to_one_version_and_moves(journal: Journal) -> None:
    first = publish(journal, "a", tags=("best", "old"))
    second = publish(journal, "b", tags=("best",))
    assert (find(journal, "best"), find(journal, "old")) == ("2", "1")
    journal.tag(first, ("best",), ("old",))
    assert (find(journal, "best"), find(journal, "old")) == ("1", None)
    publish(journal, "b", tags=("best",))
    assert find(journal, "best") == second.version
    with pytest.raises(ArtifactNotFoundError, match="no tag 'old'"):
        journal.tag(first, (), ("old",))


@pytest.mark.parametrize("tag", ["2", "latest"])
def test_a_tag_is_no_version(journal: Journal, tag: str) -> None:
    row, _ = publish(journal, "a"), publish(journal, "b")
    with pytest.raises(ArtifactConflictError):
        journal.tag(row, (tag,), ())


def test_a_version_is_no_tag(journal: Journal) -> None:
    publish(journal, "a", tags=("beta",))
    with pytest.raises(ArtifactConflictError, match="tag"):
        publish(journal, "b", version="beta")


def test_a_refused_publication_leaves_nothing_behind(journal: Journal) -> None:
    publish(journal, "a")
    with pytest.raises(ArtifactConflictError):
        publish(journal, "b", tags=("fine", "1"))
    assert find(journal) == "1"
    assert find(journal, "fine") is None


# --- in a run -------------------------------------------------------------------------------------


def publisher(journal: Journal, step: str = "s", name: str = "run") -> Publisher:
    row = journal.load_run(name)
    if row is None:
        spec = TaskSpec("t", Loader("main", qualname="t"))
        key = journal.create_run(RunRow(name=name, spec=spec))
        journal.acquire(key, "me", lambda _: True)
        row = journal.load_run(name)
    assert row is not None
    return Publisher(row.key, row.epoch, name, 3, b"a" * 16, step.encode() * 16)


def test_the_first_publisher_is_remembered(journal: Journal) -> None:
    made = journal.publish(publication(), publisher(journal), 1.0)
    again = journal.publish(publication(), publisher(journal, name="other"), 2.0)
    assert (made.run, made.seq, made.action) == ("run", 3, b"a" * 16)
    assert again == made


def test_a_step_publishes_once(journal: Journal) -> None:
    first = journal.publish(publication("a"), publisher(journal), 1.0)
    journal.publish(publication("b"), None, 2.0)
    assert journal.publish(publication("a"), publisher(journal), 3.0) == first
    assert journal.publish(publication("a"), publisher(journal, "t"), 4.0).version == "3"


def test_a_run_that_somebody_else_drives_publishes_nothing(journal: Journal) -> None:
    stale = publisher(journal)
    journal.acquire(stale.run, "me", lambda _: True)
    with pytest.raises(LeaseLostError):
        journal.publish(publication(), stale, 1.0)
    assert find(journal) is None


# --- the index of large values --------------------------------------------------------------------


def test_actions_with_blobs_are_indexed_and_no_others(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", "process")
    run = journal.create_run(RunRow(name="r", spec=TaskSpec("t", Loader("main", qualname="t"))))
    epochs = {run: journal.acquire(run, "me", lambda _: True)}

    def action(seq: int, **fields: Any) -> ActionRow:
        return ActionRow(
            run=run, seq=seq, id=b"%016d" % seq, parent=int(seq > 1), task=f"t{seq}", created=1.0,
            **fields,
        )  # fmt: skip

    done = {"phase": Phase.SUCCEEDED, "ended": 2.0}
    journal.commit(
        [
            action(1, blobs=(b"i" * 32,)),
            action(2, outcome=Outcome(b"v"), **done),
            action(
                3, blobs=(b"i" * 32, b"o" * 32, b"p" * 32),
                outcome=Outcome(b"v", None, (b"o" * 32, b"p" * 32)), **done,
            ),
        ],
        epochs,
    )  # fmt: skip
    root = action(
        1, blobs=(b"i" * 32, b"p" * 32), outcome=Outcome(b"v", None, (b"p" * 32,)), **done
    )
    root.fresh = False
    journal.commit([root], epochs)
    journal.close()
    views = SqliteViews(tmp_path / "journal.db")
    assert set(views.lineage.links(run)) == {
        Link(b"i" * 32, False, "t1", "", 1, 1),
        Link(b"i" * 32, False, "t3", "t1", 3, 1),
        Link(b"o" * 32, True, "t3", "t1", 3, 1),
        Link(b"p" * 32, True, "t3", "t1", 3, 1),
        Link(b"p" * 32, True, "t1", "", 1, 1),
    }
    views.close()
