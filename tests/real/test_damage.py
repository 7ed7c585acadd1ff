"""A flipped bit on disk is noticed, and the error says which blob, which file and whose it is."""

from pathlib import Path

import pytest

import perdure
from perdure import artifacts, errors
from perdure._blobs.local import LocalBlobs
from perdure._core.ids import root_id
from perdure._embedded import Runtime
from perdure.io import File
from real.programs import harmed

SECONDS = 60


def damage(runtime: Runtime, digest: bytes) -> None:
    assert isinstance(runtime.blobs, LocalBlobs)
    harmed.flip(runtime.blobs.path(digest))


def blob_of(runtime: Runtime, run: perdure.Run) -> bytes:
    outcome = runtime.load(run.name).outcome
    assert outcome is not None
    (digest,) = outcome.blobs
    return digest


def check(runtime: Runtime, error: errors.PerdureError, digest: bytes, run: perdure.Run) -> None:
    """See whether the error names the blob, its file, the run and the action."""
    assert digest.hex() in error.message
    assert runtime.blobs.where(digest) in error.message
    assert (error.run, error.action) == (run.name, root_id(run.name).hex())
    assert "perdure rerun RUN --no-recover" in error.hint


def test_of_a_result(runtime: Runtime) -> None:
    run = perdure.run(harmed.make, 1)
    run.wait(SECONDS)
    digest = blob_of(runtime, run)
    damage(runtime, digest)
    with pytest.raises(errors.BlobCorruptError) as caught:
        run.result(SECONDS)
    check(runtime, caught.value, digest, run)
    assert caught.value.task == "harmed.make"


def test_of_a_result_that_is_made_again(runtime: Runtime) -> None:
    run = perdure.run(harmed.make, 2)
    run.wait(SECONDS)
    damage(runtime, blob_of(runtime, run))
    assert perdure.run(harmed.make, 2).result(SECONDS) == b"\2" * harmed.SIZE
    assert run.result(SECONDS) == b"\2" * harmed.SIZE  # the same blob, stored anew


def test_of_a_file_when_a_task_reads_it(runtime: Runtime, tmp_path: Path) -> None:
    file = perdure.run(harmed.make_file, 3, tmp_path / "file").result(SECONDS)
    assert isinstance(file, File)
    digest = bytes.fromhex(file.digest)
    damage(runtime, digest)
    run = perdure.run(harmed.read, file)
    with pytest.raises(errors.BlobCorruptError) as caught:
        run.result(SECONDS)
    check(runtime, caught.value, digest, run)
    with pytest.raises(errors.BlobCorruptError, match=file.digest):
        file.download_sync(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_of_an_artifact(runtime: Runtime) -> None:
    run = perdure.run(harmed.publish, 4)
    artifact = artifacts.get(run.result(SECONDS))
    digest = artifact.stored.blobs[0]
    damage(runtime, digest)
    with pytest.raises(errors.BlobCorruptError) as caught:
        artifact.value()
    check(runtime, caught.value, digest, run)
    assert any(artifact.label in note for note in caught.value.__notes__)


def test_of_a_checkpoint(runtime: Runtime) -> None:
    run = perdure.run(harmed.go_on)
    with pytest.raises(errors.BlobCorruptError, match=r"checkpoint .*/1 is damaged") as caught:
        run.result(SECONDS)
    assert str(runtime.config.checkpoints / run.name) in caught.value.message
    assert (caught.value.run, caught.value.action) == (run.name, root_id(run.name).hex())
    assert "rm -rf" in caught.value.hint
