"""What files and folders have in common: they are known by what is in them."""

import os
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from perdure._ports import Blobs
from perdure._storage.location import Location
from perdure.errors import NotSupportedError, SerializationError
from perdure.io import _surroundings

if TYPE_CHECKING:
    from typing import Self

    from pydantic_core import CoreSchema
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")


class Reference(Generic[T]):
    """A file or a folder: either stored, or still to be copied from its source.

    Attributes:
        name: What it is called; a label, and no part of what it is.
        format: What its maker says about its format; a label, too.
        hash: What stands for its content, if its maker said so; else None.
    """

    _perdure_advice = ""

    def __init__(self, name: str, format: str, hash: str | None) -> None:  # noqa: A002  # Flyte's
        self.name = name
        self.format = format
        self.hash = hash
        self._source: Location | None = None
        self._home: Blobs | None = None

    @property
    def _blobs(self) -> Blobs:
        """Where it is stored: unpickled by others than us, where this process stores."""
        if self._home is None:
            self._home = _surroundings.blobs()
        return self._home

    def _identity(self) -> object:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference) or type(other) is not type(self):
            return NotImplemented
        return self is other or self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getstate__(self) -> dict[str, Any]:
        self._identity()  # what is still to be copied may not be there for whoever unpickles this
        return self.__dict__ | {"_home": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> "CoreSchema":
        """Let it be a field: given as such, or as its path or URL; in JSON as that."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._validated,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.path, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def _validated(cls, value: object) -> "Self":
        if isinstance(value, cls):
            return value
        if isinstance(value, str | os.PathLike):
            return cls._at(value)
        raise ValueError(f"expected {cls.__name__} or its path, got {type(value).__name__}")

    @classmethod
    def _at(cls, path: str | os.PathLike[str]) -> "Self":
        raise NotImplementedError


def unwritten(reference: Reference[Any]) -> NoReturn:
    """Refuse to use what has no content yet."""
    raise SerializationError(
        f"nothing has been written to the file {reference.name!r} so far",
        hint='write it first: with file.open_sync("wb") as f: ...',
    )


def refuse(method: str, options: dict[str, Any]) -> None:
    """Refuse the options of Flyte 2 that have no meaning here.

    Raises:
        NotSupportedError: One was given.
    """
    if given := [name for name, value in options.items() if value is not None]:
        raise NotSupportedError(
            f"{method}({', '.join(given)}=...) is not supported",
            hint="leave it out: transfers choose for themselves how much they move at once",
        )
