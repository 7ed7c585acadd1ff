import collections
import dataclasses
import datetime as dt
import enum
import math
import pathlib
import re
import subprocess
import sys
import threading
import types
import uuid
import warnings
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import Deferred, PickledValueWarning, dumps, loads, pickles
from perdure._serde.format import INLINE_BYTES, PLAIN
from perdure.errors import SerializationError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),
    st.binary(max_size=20),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones()),
    st.timedeltas(),
)
HASHABLE = SCALARS | st.tuples(SCALARS, SCALARS)


def containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(items, max_size=4),
        st.lists(items, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5), items, max_size=4),
        st.dictionaries(HASHABLE, items, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
        st.sets(HASHABLE, max_size=4),
        st.lists(items, max_size=4).map(collections.deque),
    )


VALUES = st.recursive(SCALARS, containers, max_leaves=12)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types throughout, entries of dicts in the same order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, list | tuple | collections.deque):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dt.datetime | dt.time):
        return a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.tzinfo == b.tzinfo
    return bool(a == b)


def round_trip(value: Any, blobs: MemoryBlobs) -> Any:
    encoded = dumps(value, blobs)
    result = loads(encoded.data, blobs)
    assert dumps(result, blobs).digest == encoded.digest
    return result


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_what_is_loaded_is_what_was_dumped(value: Any) -> None:
    assert same(round_trip(value, MemoryBlobs()), value)


class Colour(enum.Enum):
    RED = "red"
    GREEN = (0, 255, 0)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: tuple[int, ...]


@dataclasses.dataclass
class Config:
    name: str
    sizes: dict[int, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cached = len(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: object = None


class Record(msgspec.Struct, frozen=True):
    a: int
    b: set[int]


class Plain:
    def __init__(self, x: object) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**64,
        -(2**200),
        "\ud800",
        {"\ud800": [1, {"a": "\udfff"}]},
        bytearray(b"x"),
        range(3, 10, 2),
        slice(None, 5),
        pathlib.Path("/tmp/x"),
        pathlib.PureWindowsPath("c:/x"),
        Decimal("1.00"),
        Fraction(1, 3),
        uuid.UUID(int=5),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST")),
        Colour.RED,
        Colour.GREEN,
        Access.READ | Access.WRITE,
        Level.LOW,
        Point(1, (2, 3)),
        Config("a", {1: "b"}),
        Frozen(1, Frozen(2)),
        Record(1, {2}),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.defaultdict(list, {1: [2]}),
        collections.Counter("abca"),
        collections.deque([1, 2], maxlen=2),
        types.SimpleNamespace(a=1),
        re.compile("a+", re.IGNORECASE),
        int,
        len,
        math.sqrt,
        Config,
        type(None),
        ...,
        NotImplemented,
        [Config("a"), (Config("b"),)],
    ],
    ids=repr,
)
def test_values_that_msgpack_does_not_know_come_back_as_they_were(
    value: Any, blobs: MemoryBlobs
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(round_trip(value, blobs), value)


def test_attributes_that_are_not_fields_survive_but_do_not_count(blobs: MemoryBlobs) -> None:
    value = Config("abc")
    plain = dumps(value, blobs).digest
    value.note = "seen"  # type: ignore[attr-defined]
    assert loads(dumps(value, blobs).data, blobs).note == "seen"
    assert loads(dumps(value, blobs).data, blobs).cached == 3
    assert dumps(value, blobs).digest == plain


def test_a_field_gained_since_gets_its_default(
    blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dumps(Frozen(1), blobs).data

    @dataclasses.dataclass
    class Grown:
        a: int
        b: object = None
        c: list[int] = dataclasses.field(default_factory=lambda: [7])

    monkeypatch.setattr(sys.modules[__name__], "Frozen", Grown)
    assert loads(data, blobs) == Grown(1)


def test_any_other_value_is_pickled_with_one_warning_per_type(
    blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "_warned", set())
    with pytest.warns(PickledValueWarning, match=r"test_values\.Plain .* digests") as caught:
        result = loads(dumps([Plain(1), {"a": Plain((2,))}], blobs).data, blobs)
    assert result == [Plain(1), {"a": Plain((2,))}]
    assert len(caught) == 1
    dumps(Plain(3), blobs)  # warnings are errors here


@pytest.mark.filterwarnings("ignore::perdure._serde.PickledValueWarning")
def test_closures_and_local_classes_travel_by_value(blobs: MemoryBlobs) -> None:
    offset = 5

    @dataclasses.dataclass
    class Local:
        a: int

    result = loads(dumps([lambda x: x + offset, Local(3)], blobs).data, blobs)
    assert result[0](1) == 6
    assert result[1] == Local(3)


def test_a_user_who_says_how_to_pickle_is_respected(blobs: MemoryBlobs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loads(dumps(Stateful(4), blobs).data, blobs).a == "restored 4"


@dataclasses.dataclass
class Stateful:
    a: Any

    def __getstate__(self) -> dict[str, Any]:
        return {"a": f"restored {self.a}"}


def test_small_plain_values_are_one_msgpack_document(blobs: MemoryBlobs) -> None:
    encoded = dumps({"x": 5}, blobs)
    assert encoded.data == bytes([PLAIN]) + b"\x81\xa1x\x05"
    assert encoded.blobs == encoded.needs == ()


def test_large_payloads_and_buffers_go_to_blobs_once(blobs: MemoryBlobs) -> None:
    numbers = [*range(100_000)]
    big = b"x" * (INLINE_BYTES + 1)
    for value, count in ((numbers, 1), (big, 1), ({"a": big, "b": [big, (numbers,)]}, 2)):
        encoded = dumps(value, blobs)
        assert len(encoded.data) < 1000
        assert len(encoded.blobs) == count
        assert all(map(blobs.has, encoded.blobs))
        assert loads(encoded.data, blobs) == value


@pytest.mark.parametrize("size", [INLINE_BYTES - 10, INLINE_BYTES, INLINE_BYTES + 1])
def test_inline_data_is_at_most_64_kib(size: int, blobs: MemoryBlobs) -> None:
    for value in (b"x" * size, "x" * size, (b"x" * size,)):
        encoded = dumps(value, blobs)
        assert len(encoded.data) <= INLINE_BYTES
        assert loads(encoded.data, blobs) == value


class Future(Deferred):
    def __init__(self, action_id: bytes) -> None:
        self.action_id = action_id


@pytest.mark.filterwarnings("ignore::perdure._serde.PickledValueWarning")
def test_futures_are_needs_and_are_replaced_by_their_values(blobs: MemoryBlobs) -> None:
    one, two = Future(b"1" * 16), Future(b"2" * 16)
    value = {"a": one, "b": [two, (one,)], "c": Plain(two)}
    encoded = dumps(value, blobs)
    assert encoded.needs == (one.action_id, two.action_id)
    values = {one.action_id: dumps({7}, blobs).data, two.action_id: dumps("two", blobs).data}
    assert loads(encoded.data, blobs, values) == {
        "a": {7},
        "b": ["two", ({7},)],
        "c": Plain("two"),
    }
    with pytest.raises(SerializationError, match=one.action_id.hex()):
        loads(encoded.data, blobs)


def test_an_unpicklable_value_is_named_with_its_path_and_a_hint(blobs: MemoryBlobs) -> None:
    config = Config("a")
    config.sizes = {1: threading.Lock()}  # type: ignore[dict-item]
    with pytest.raises(SerializationError) as caught:
        dumps({"config": config}, blobs)
    assert "type _thread.lock at config.sizes[1]" in caught.value.message
    assert "inside the task" in caught.value.hint
    with pytest.raises(SerializationError, match="generator") as caught:
        dumps([0, (x for x in "ab")], blobs)
    assert "list of its items" in caught.value.hint


@pytest.mark.filterwarnings("ignore::perdure._serde.PickledValueWarning")
def test_a_culprit_inside_a_pickled_object_is_found(blobs: MemoryBlobs) -> None:
    with pytest.raises(SerializationError, match=r"_thread\.lock at \[0\]\.x\.x "):
        dumps([Plain(Plain(threading.Lock()))], blobs)


@pytest.mark.filterwarnings("ignore::perdure._serde.PickledValueWarning")
def test_cycles_survive_and_endless_depth_is_an_error(blobs: MemoryBlobs) -> None:
    cycle: list[Any] = [1]
    cycle.append((cycle,))
    result = loads(dumps(cycle, blobs).data, blobs)
    assert result[1][0] is result
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply"):
        dumps(deep, blobs)
    with pytest.raises(SerializationError, match="nested too deeply"):
        dumps((deep,), blobs)


def test_damaged_data_is_a_clear_error(blobs: MemoryBlobs) -> None:
    for data in (b"", b"\0", b"\0\xc1", b"\x07abc", b"\1\xc7\x00\x63"):
        with pytest.raises(SerializationError):
            loads(data, blobs)


def test_a_value_whose_class_is_gone_says_which(blobs: MemoryBlobs) -> None:
    module = types.ModuleType("gone_module")
    module.__spec__ = object()  # type: ignore[assignment]
    sys.modules["gone_module"] = module
    exec("import enum\nclass E(enum.Enum): A = 1", vars(module))
    data = dumps(module.E.A, blobs).data
    del module.E
    with pytest.raises(SerializationError, match=r"gone_module has no E") as caught:
        loads(data, blobs)
    assert "renamed" in caught.value.hint
    del sys.modules["gone_module"]
    with pytest.raises(SerializationError, match="gone_module"):
        loads(data, blobs)


def test_importing_serde_imports_no_value_library() -> None:
    code = """
import sys, perdure._serde
libraries = {"numpy", "pandas", "pyarrow", "polars", "pydantic", "torch", "cloudpickle"}
heavy = libraries & {*sys.modules}
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
