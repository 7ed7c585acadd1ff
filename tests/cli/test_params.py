"""A task's parameters as options: names, requiredness, defaults, docs."""

import click
import pytest
from click.testing import CliRunner

from perdure.cli import params

DOC = """Train it.

    Longer words about it.

    Args:
        months: Which months,
            counted from 1.
        rate (float): Learning rate.
        verbose: Whether to talk.

    Returns:
        A score.
    """


def train(months: list[int], learning_rate: float = 0.1, *, verbose: bool = False, note=None):
    pass


train.__doc__ = DOC.replace("rate (float)", "learning_rate (float)")


def invoke(function, *arguments):
    seen = {}
    own = params.options(function)

    def callback(**_values):
        seen.update(params.given(click.get_current_context(), own))

    command = click.Command("run", params=list(own), callback=callback)
    return CliRunner().invoke(command, list(arguments)), seen


def test_only_what_was_given_is_passed_on():
    result, seen = invoke(train, "--months", "[1]", "--verbose")
    assert result.exit_code == 0, result.output
    assert seen == {"months": [1], "verbose": True}


def test_a_given_value_equal_to_the_default_counts_as_given():
    _, seen = invoke(train, "--months", "[]", "--no-verbose", "--note", "null")
    assert seen == {"months": [], "verbose": False, "note": None}


def test_missing_unknown_and_ill_typed_parameters_are_usage_errors():
    for arguments, complaint in [
        ((), "Missing option '--months'"),
        (("--months", "[1]", "--verbos"), "--verbose"),
        (("--months", "[1]", "--learning-rate", "fast"), "'fast' is not a number"),
    ]:
        result, seen = invoke(train, *arguments)
        assert (result.exit_code, seen) == (2, {})
        assert complaint in result.output


def test_help_shows_types_defaults_and_the_docstring():
    result, _ = invoke(train, "--help")
    text = " ".join(result.output.split())
    for part in (
        "--months JSON Which months, counted from 1. [required]",
        "--learning-rate NUMBER Learning rate. [default: 0.1]",
        "--verbose / --no-verbose Whether to talk. [default: False]",
    ):
        assert part in text


def test_summary_is_the_docstring_without_its_sections():
    assert params.summary(DOC).startswith("Train it.")
    assert "Which months" not in params.summary(DOC)


def test_positional_only_parameters_are_passed_by_position():
    def f(a: int, b: int, /, c: int): ...

    assert params.call_arguments(f, {"a": 1, "b": 2, "c": 3}) == ([1, 2], {"c": 3})


@pytest.mark.parametrize("doc", ["", "No sections.", "Args:", "Args:\n"])
def test_docstrings_without_parameter_docs_are_fine(doc):
    assert params.described(doc) == {}
