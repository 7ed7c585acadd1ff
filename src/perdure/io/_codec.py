"""Files and folders to bytes and back: their digests and labels; the content is in blobs."""

from typing import Any

from perdure._serde import format as f
from perdure._serde.decode import Reader
from perdure._serde.encode import Writer
from perdure._serde.format import Ext
from perdure._serde.registry import BY_REFERENCE, decodes, encodes
from perdure.io._dir import Dir
from perdure.io._file import File

BY_REFERENCE.update((File, Dir))


@encodes(File)
def _file(writer: Writer, value: File[Any]) -> Ext:
    digest, size = value._stored_in(writer.blobs)
    writer.refer(digest)
    return writer.node(f.FILE, (digest, size, value.name, value.format, value.hash))


@decodes(f.FILE)
def _to_file(reader: Reader, payload: memoryview) -> File[Any]:
    digest, size, *labels = reader.decode(payload)
    return File._restored((digest, size), tuple(labels), reader.blobs)


@encodes(Dir)
def _folder(writer: Writer, value: Dir[Any]) -> Ext:
    entries = value._stored_in(writer.blobs)
    for _, digest, _ in entries:
        writer.refer(digest)
    flat = [part for entry in entries for part in entry]
    return writer.node(f.DIR, (value.name, value.format, value.hash, flat))


@decodes(f.DIR)
def _to_folder(reader: Reader, payload: memoryview) -> Dir[Any]:
    *labels, flat = reader.decode(payload)
    entries = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    return Dir._restored(entries, tuple(labels), reader.blobs)
