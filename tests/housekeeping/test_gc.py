"""What is collected, and what is not."""

import dataclasses
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from homes import DAY, FAILED, INTERRUPTED, Controller, Home, dangling, strays

from perdure import errors
from perdure._blobs.local import LocalBlobs
from perdure._core.model import Phase
from perdure._housekeeping import marks, runs
from perdure._housekeeping.collector import Collected, collect
from perdure._housekeeping.roots import OWNED, ROOTS
from perdure._journal.schema import open_journal
from perdure._ports import RunEnd
from perdure.config import folder_name

ALL = [f"content {n}" for n in range(10)]


def gc(home: Home, days: float = 30.0, *, dry_run: bool = False) -> Collected:
    found = collect(home.config, days * DAY, dry_run=dry_run)
    assert dangling(home.config) == []
    return found


def gone(found: Collected) -> list[str]:
    return [each.name for each in found.runs]


def test_an_old_run_goes_with_all_that_only_it_needed(home: Home) -> None:
    home.run("old", 40, contents=[*ALL, "shared"])
    home.run("new", 20, contents=["shared", "own"])
    home.grow_old()
    found = gc(home)
    assert gone(found) == ["old"]
    assert home.names() == {"new"}
    assert home.contents() == {"shared", "own"}
    assert strays(home.config) == []
    assert home.files(home.config.checkpoints) == {"new"}
    assert home.files(home.config.reports) == {"new"}
    assert len(home.files(home.config.logs)) == 2
    counts = [found.blobs.count, found.logs.count, found.checkpoints.count, found.reports.count]
    assert counts == [10, 2, 1, 1]
    assert found.bytes > 0
    assert gone(gc(home)) == []


def test_a_dry_run_tells_the_same_and_removes_nothing(home: Home) -> None:
    home.run("old", 40, contents=ALL)
    home.run("new", 20, contents=ALL[:3])
    home.grow_old()
    told = gc(home, dry_run=True)
    assert home.names() == {"old", "new"}
    assert home.contents() == set(ALL)
    assert gc(home) == told


@pytest.mark.parametrize("phase", [FAILED, Phase.ABORTED, INTERRUPTED])
def test_runs_that_did_not_succeed_go_at_the_same_age(home: Home, phase: Phase) -> None:
    home.run("old", 40, phase=phase)
    home.run("new", 20, phase=phase)
    found = gc(home)
    assert [(each.name, each.phase) for each in found.runs] == [("old", phase)]
    assert home.names() == {"new"}


def test_an_interrupted_run_is_as_old_as_its_last_work(home: Home) -> None:
    key = home.run("run", 40, phase=INTERRUPTED)
    with closing(sqlite3.connect(home.config.journal)) as db, db:
        db.execute("UPDATE actions SET started = ? WHERE run = ?", (time.time() - DAY, key))
    assert gone(gc(home)) == []


@pytest.mark.parametrize("phase", [Phase.RUNNING, FAILED])
def test_a_run_that_a_live_controller_holds_stays_however_old(home: Home, phase: Phase) -> None:
    with Controller(home.config) as owner:
        home.run("held", 400, phase=phase, owner=owner, contents=ALL)
        home.grow_old()
        assert gone(gc(home)) == []
        assert home.contents() == set(ALL)
    assert gone(gc(home)) == ["held"]


def test_runs_that_a_kept_one_takes_results_over_from_stay(home: Home) -> None:
    home.run("first", 50)
    home.run("second", 45, recover_from="first")
    home.run("other", 45)
    home.run("third", 10, recover_from="second")
    found = gc(home)
    assert gone(found) == ["other"]
    assert {each.name for each in found.needed} == {"first", "second"}
    assert sorted(gone(gc(home, days=5))) == ["first", "second", "third"]


def test_a_run_that_goes_on_after_it_was_chosen_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = home.run("run", 40, phase=FAILED, contents=ALL)
    home.grow_old()
    choose = runs.choose

    def choose_then_resume(*arguments):
        chosen = choose(*arguments)
        home.journal.acquire(key, "somebody", lambda _: False)
        return chosen

    monkeypatch.setattr(runs, "choose", choose_then_resume)
    assert gone(gc(home)) == []
    assert home.contents() == set(ALL)
    assert home.files(home.config.checkpoints) == {"run"}


def test_a_run_that_is_rerun_after_it_was_chosen_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.run("run", 40, contents=ALL)
    choose = runs.choose

    def choose_then_rerun(*arguments):
        chosen = choose(*arguments)
        home.run("again", 0, recover_from="run")
        return chosen

    monkeypatch.setattr(runs, "choose", choose_then_rerun)
    assert gone(gc(home)) == []


def test_what_a_rerun_takes_over_stays_if_that_goes_on_after_it_was_chosen(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, origin in (("first", ""), ("second", "first"), ("other", ""), ("third", "second")):
        key = home.run(name, 40, phase=INTERRUPTED, recover_from=origin)
    choose = runs.choose

    def choose_then_go_on(*arguments):
        chosen = choose(*arguments)
        home.journal.acquire(key, "somebody", lambda _: False)
        return chosen

    monkeypatch.setattr(runs, "choose", choose_then_go_on)
    assert gone(gc(home)) == ["other"]


def test_a_run_that_is_gone_can_be_neither_taken_nor_written(home: Home) -> None:
    key = home.run("run", 40, actions=3000)
    home.run("new", 0)
    stale = home.journal.load_run("run")
    assert stale is not None
    gc(home)
    assert home.journal.load_run("run") is None
    with pytest.raises(errors.RunNotFoundError):
        home.journal.acquire(key, "somebody", lambda _: False)
    end = RunEnd(run=key, phase=Phase.RUNNING, at=0.0)
    assert home.journal.commit([end], {key: stale.epoch}) == {key}


def test_a_key_is_not_given_away_again(home: Home) -> None:
    key = home.run("run", 40)
    gc(home)
    assert home.names() == set()
    with pytest.raises(errors.RunNotFoundError):
        home.journal.acquire(key, "somebody", lambda _: False)
    assert home.run("another", 0) > key
    gc(home)
    with closing(sqlite3.connect(home.config.journal)) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_name_is_free_again_and_finds_nothing_of_the_run_before(home: Home) -> None:
    home.run("nightly", 40)
    gc(home)
    assert home.files(home.config.checkpoints) == set()
    home.run("nightly", 0)
    gc(home)
    assert home.names() == {"nightly"}
    assert home.files(home.config.checkpoints) == {"nightly"}


def test_blobs_that_nothing_refers_to_go_when_they_are_no_longer_fresh(home: Home) -> None:
    home.put("old")
    home.grow_old(days=1)
    home.put("new")
    found = gc(home)
    assert (found.blobs.count, found.fresh.count) == (1, 1)
    assert home.contents() == {"new"}


def test_a_blob_that_is_wanted_again_is_fresh(home: Home) -> None:
    put, asked = home.put("put"), home.put("asked")
    home.grow_old()
    assert home.put("put") == put
    assert home.blobs.has(asked)
    assert gc(home).blobs.count == 0


def test_a_blob_that_is_wanted_while_it_is_being_collected_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put("wanted")
    home.put("not wanted")
    home.grow_old()
    unmarked = marks.unmarked

    def unmarked_then_put(*arguments):
        left = unmarked(*arguments)
        home.put("wanted")
        return left

    monkeypatch.setattr(marks, "unmarked", unmarked_then_put)
    assert gc(home).blobs.count == 1
    assert home.contents() == {"wanted"}


def test_what_a_live_run_may_have_stored_stays_until_it_ends(home: Home) -> None:
    with Controller(home.config) as owner:
        home.run("live", 3, phase=Phase.RUNNING, owner=owner)
        before, during = home.put("before"), home.put("during")
        now = time.time()
        for digest, age in ((before, DAY), (during, -60.0)):
            os.utime(home.blobs.path(digest), (now - age, now - age))
        assert gc(home).blobs.count == 1
        assert home.contents() == {"during"}
    home.grow_old()
    assert gc(home).blobs.count == 1


def test_a_blob_that_a_value_refers_to_is_kept_when_it_is_recorded_again(home: Home) -> None:
    digest = home.put("a file")
    home.grow_old()
    home.blobs.keep(digest)
    assert gc(home).blobs.count == 0
    home.blobs.path(digest).unlink()
    LocalBlobs(home.config.blobs).put([b"other"])
    with pytest.raises(errors.BlobMissingError, match=digest.hex()):
        LocalBlobs(home.config.blobs).keep(digest)


def test_blobs_outside_of_the_home_stay(home: Home, tmp_path: Path) -> None:
    elsewhere = LocalBlobs(tmp_path / "shared")
    path = elsewhere.path(elsewhere.put([b"of another home"]))
    os.utime(path, (0, 0))
    config = dataclasses.replace(home.config, storage=(tmp_path / "shared").as_uri())
    assert collect(config, 0.0).elsewhere == config.storage
    assert path.exists()


def test_logs_of_live_controllers_stay(home: Home) -> None:
    with Controller(home.config):
        mine = time.time_ns() // 1_000_000 << 12
        for number in (mine, mine + 5000, 7):
            path = home.config.logs / f"{number:012x}.log"
            path.parent.mkdir(exist_ok=True)
            path.touch()
        (home.config.logs / "gone.out").touch()
        home.run("kept", 0)
        (home.config.logs / "kept.out").touch()
        home.grow_old()
        assert gc(home).logs.count == 2
    assert gc(home).logs.count == 2
    assert (home.config.logs / "kept.out").exists()


def test_folders_without_a_run_go(home: Home) -> None:
    home.run("Nightly", 0)
    for folder in ("checkpoints", "reports"):
        (home.config.home / folder / "left-behind").mkdir()
        (home.config.home / folder / f"{runs.ASIDE}7-1").mkdir()
    gc(home)
    for folder in ("checkpoints", "reports"):
        assert home.files(home.config.home / folder) == {folder_name("Nightly")}


def test_two_collections_do_not_meet(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.run("run", 40)
    choose = runs.choose

    def choose_and_collect(*arguments):
        with pytest.raises(errors.StorageError, match="another collection"):
            collect(home.config, 0.0)
        return choose(*arguments)

    monkeypatch.setattr(runs, "choose", choose_and_collect)
    assert gone(gc(home)) == ["run"]


def test_a_home_that_does_not_exist_is_clean(tmp_path: Path, home: Home) -> None:
    config = type(home.config)(home=tmp_path / "nowhere")
    assert collect(config, 0.0) == Collected()
    assert not (tmp_path / "nowhere").exists()


# --- what the lists must know ---------------------------------------------------------------------

NO_DIGESTS = {
    "runs": {"inputs_digest", "inputs", "context", "options"},
    "tasks": {"code"},
    "actions": {"id", "log", "inputs", "value", "origin"},
    "attempts": {"log"},
    "artifacts": {"action", "digest", "value"},
    "publications": {"step"},
    "cache": {"key", "origin", "inputs", "value"},
    "claims": {"key"},
    "queues": {"limits", "log"},
    "stakes": {"stake"},
    "lineage": {"blob"},  # an index of those in actions
}
"""Columns of bytes that refer to no blobs, or say in another column to which."""


def test_every_column_that_may_hold_digests_is_a_root(home: Home) -> None:
    with closing(open_journal(home.config.journal, "process")) as db:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        columns = {
            (table, name)
            for (table,) in db.execute(query).fetchall()
            for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})")
            if kind == "BLOB" and name not in NO_DIGESTS.get(table, ())
        }
    assert columns == {(root.table, root.column) for root in ROOTS}


def test_every_table_with_rows_of_runs_is_cleared(home: Home) -> None:
    with closing(open_journal(home.config.journal, "process")) as db:
        query = (
            "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' AND c.name = 'run' AND c.type = 'INTEGER'"
        )
        assert {name for (name,) in db.execute(query)} == set(OWNED)
