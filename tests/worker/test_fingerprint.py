"""A function's fingerprint changes with what the function does, and with nothing else."""

import functools
import subprocess
import sys

import pytest

from perdure._bundle import fingerprint


def define(source):
    space = {}
    exec(source, space)
    return space["f"]


BASE = "def f(x, y=1):\n    total = x + y\n    return total\n"


@pytest.mark.parametrize(
    "source",
    [
        "\n\n# moved\n" + BASE,
        'def f(x, y=1):\n    """Docstring."""\n    total = x + y\n    return total\n',
        "def f(x, y=1):\n    # why\n    total = (\n        x + y\n    )\n    return total\n",
        "def f(x: int, y: int = 1) -> int:\n    total = x + y\n    return total\n",
    ],
    ids=["position", "docstring", "formatting", "annotations"],
)
def test_what_does_not_matter_leaves_the_fingerprint_alone(source):
    assert fingerprint(define(source)) == fingerprint(define(BASE))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x, y=1):\n    total = x - y\n    return total\n",
        "def f(x, y=2):\n    total = x + y\n    return total\n",
        "def f(x, *, y=1):\n    total = x + y\n    return total\n",
        "def f(x, y=1):\n    total = x + y\n    return total + 1\n",
        "def f(x, y=1):\n    total = x + y\n    return g(total)\n",
    ],
    ids=["operator", "default", "signature", "constant", "call"],
)
def test_what_matters_changes_the_fingerprint(source):
    assert fingerprint(define(source)) != fingerprint(define(BASE))


def pair(template, one, other):
    return fingerprint(define(template % one)), fingerprint(define(template % other))


@pytest.mark.parametrize(
    ("template", "one", "other"),
    [
        ("def f():\n    return %s\n", "1", "True"),
        ("def f():\n    return %s\n", "0.0", "-0.0"),
        ("def f():\n    return %s\n", "'a'", "b'a'"),
        ("def f():\n    return (%s for _ in x)\n", "'a'", "'b'"),
        ("def f():\n    return lambda: %s\n", "1", "2"),
        ("def f(x):\n    return x in {%s}\n", "'a', 'b'", "'a', 'c'"),
        ("def f(x):\n    class C:\n        y = %s\n    return C\n", "1", "2"),
        ("def f(*, k=%s): ...\n", "1", "2"),
    ],
)
def test_constants_are_compared_by_type_and_value_at_any_depth(template, one, other):
    first, second = pair(template, one, other)
    assert first != second


def test_a_docstring_beside_many_constants_changes_nothing():
    body = "    x = None\n    y = 'text'\n    return [x, y, 1, 2.5, (1, 2)]\n"
    assert fingerprint(define(f"def f():\n{body}")) == fingerprint(
        define(f"def f():\n    'doc'\n{body}")
    )


def test_a_nested_class_may_move_down_the_file():
    source = "def f():\n    class C:\n        def m(self):\n            self.x = 1\n    return C\n"
    assert fingerprint(define(source)) == fingerprint(define("\n\n" + source))


def test_decorators_and_partials_are_looked_through():
    plain = define(BASE)

    @functools.wraps(plain)
    def wrapper(*args):
        return plain(*args)

    assert fingerprint(wrapper) == fingerprint(plain)
    assert fingerprint(functools.partial(plain, 1)) == fingerprint(plain)


def test_a_callable_object_has_one_too():
    assert len(fingerprint(print)) == 16


def test_every_process_computes_the_same():
    script = (
        "from perdure._bundle import fingerprint\n"
        "def f(x, y=frozenset({'a', 'b', 'c'})):\n"
        "    return x in {'a', 'b', 'c', 'd', 1, None}\n"
        "print(fingerprint(f).hex())\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1
