"""Tables between workers: by reference, read in place, as what the reader wants."""

import sys

import pytest

import perdure
from perdure._embedded import Runtime
from perdure.errors import TypeCheckError
from perdure.io import DataFrame
from real.programs import tables

ROWS = 5_000_000


def test_tables_are_passed_on_as_what_is_wanted(runtime: Runtime) -> None:
    found = perdure.run(tables.totals, 100_000).result(timeout=60)
    assert found == [sum(range(100_000))] * 8


def test_a_result_is_a_reference_that_can_be_read_here(runtime: Runtime) -> None:
    table = perdure.run(tables.make, 50_000).result(timeout=60)
    assert isinstance(table, DataFrame)
    assert table.num_rows == 50_000
    assert perdure.run(tables.total, table).result(timeout=60) == sum(range(50_000))


def test_a_column_that_is_missing_is_an_error_at_the_call(runtime: Runtime) -> None:
    with pytest.raises(TypeCheckError, match=r"parameter table.*it has no column 'nope'"):
        perdure.run(tables.wrong, 10).result(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_no_process_holds_a_copy_of_a_table_it_reads(runtime: Runtime) -> None:
    assert perdure.run(tables.copied, ROWS).result(timeout=60) < ROWS * 8 / 10
