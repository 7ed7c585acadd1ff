"""What the controller asks about encoded values, which it does not read itself."""

from collections.abc import Collection, Mapping, Sequence

from perdure._core.model import InputMark
from perdure._ports import Blobs
from perdure._serde.marks import input_marks
from perdure.errors import PerdureError


class StoredValues:
    """The :class:`~perdure._ports.Values` port over a blob store.

    Args:
        blobs: Where the large parts of values are.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def marks(
        self, inputs: bytes, values: Mapping[bytes, bytes], ignored: Collection[str]
    ) -> dict[str, InputMark] | None:
        """Return what a cache key says of each input; None if that cannot be known."""
        try:
            return input_marks(inputs, self._blobs, ignored=ignored, values=values)
        except PerdureError:
            return None  # a part is gone: whoever executes the call will say so

    def are_whole(self, blobs: Sequence[bytes]) -> bool:
        """Whether all these blobs are there and are what was stored."""
        try:
            return all(map(self._blobs.is_whole, blobs))
        except PerdureError:  # they cannot be looked at
            return False
