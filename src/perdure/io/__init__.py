"""Files, folders and tables as values: passed by reference, known by their content.

A :class:`File` or :class:`Dir` is copied into storage when it is made, so that where it came from
may be changed or removed; what travels from task to task is the digest of its content. Methods that
move bytes are awaitable, and have a blocking form whose name ends in ``_sync``, as in Flyte 2. A
:class:`DataFrame` is a table of any library, read as any library's, column by column.
"""

from perdure.io import _codec  # noqa: F401  # it registers
from perdure.io._dataframe import DataFrame, OpenDataFrame
from perdure.io._dir import Dir
from perdure.io._file import File
from perdure.io._hashing_io import HashFunction
from perdure.io._stored import ARROW, PARQUET

EmptyDir = Dir.empty
"""What Flyte 2 calls :meth:`Dir.empty`."""

__all__ = [
    "ARROW",
    "PARQUET",
    "DataFrame",
    "Dir",
    "EmptyDir",
    "File",
    "HashFunction",
    "OpenDataFrame",
]
