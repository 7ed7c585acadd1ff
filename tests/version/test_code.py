"""A code version changes with what the function reaches, and with nothing else."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._version.code import code_version

FLOW = '''"""A pipeline."""

import functools
from dataclasses import dataclass, field

import perdure
from perdure import trace

import helpers
from helpers import LIMIT, Model, twice as double
from pack import shapes

env = perdure.TaskEnvironment("flow")
UNUSED = 1
_cache = {}
_model = None


def local(x):
    """Docstring."""
    return x + 1


@dataclass
class Config:
    """Docstring."""

    rate: float = 0.1
    names: list[str] = field(default_factory=helpers.names)

    def total(self):
        # a comment
        return self.rate * helpers.factor()


@env.task
def child(x):
    return helpers.for_child(x)


@trace
def step(x):
    return x * 11


@functools.lru_cache(maxsize=3)
def cached(x):
    return x + 12


add_five = functools.partial(helpers.add, 5)


def model():
    global _model
    if _model is None:
        _model = helpers.load()
    return _model


@env.task(retries=2)
def main(config: Config, x: int = 1, *, y=(1, 2)):
    """Docstring."""
    import by_name
    import pack.paths
    from lazy import late

    total = pack.paths.used(x) + pick(by_name) + local(x) + LIMIT + double(x)
    total += sum(handler(x) for handler in helpers.HANDLERS.values())
    total += Model().fit() + shapes.area(x) + helpers.decorated(x)
    inner = lambda z: helpers.in_lambda(z)
    model()
    _cache[x] = total
    return child(inner(total)) + step(1) + cached(2) + add_five(3) + late() + helpers.even(4)


def pick(module):
    return getattr(module, "picked")()


def unrelated():
    return 21
'''

HELPERS = '''"""Helpers."""

import functools

LIMIT = 3
OTHER = 4
MOST = 6
FACTOR = {"a": [1, 2], "b": (3, {4})}


def names():
    return ["n"]


def factor():
    return FACTOR["a"][0]


def for_child(x):
    return x + 5


def twice(x):
    return 2 * x


def handle_a(x):
    return x - 6


def handle_b(x):
    return x - 7


HANDLERS = {"a": handle_a}
HANDLERS["b"] = handle_b


def retry(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            for _ in range(times):
                result = function(*args)
            return result

        return wrapper

    return decorate


@retry(8)
def decorated(x):
    return x + 9


def in_lambda(z):
    return z + 10


def add(x, y):
    return x + y + 13


def load():
    return object()


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


class Base:
    depth = 14

    def go(self):
        return self.depth + 15


class Model(Base):
    def fit(self):
        return self.go() + self.size

    @property
    def size(self):
        return 16

    @staticmethod
    def scale():
        return 17


def unrelated():
    return 22
'''

FILES = {
    "flow.py": FLOW,
    "helpers.py": HELPERS,
    "by_name.py": "def picked():\n    return 20\n",
    "lazy.py": "def late():\n    return 18\n\ndef unrelated():\n    return 23\n",
    "pack/__init__.py": "",
    "pack/paths.py": "def used(x):\n    return 21\n\ndef unused():\n    return 24\n",
    "pack/shapes.py": "from .units import UNIT\n\ndef area(x):\n    return x * UNIT\n",
    "pack/units.py": "UNIT = 19\nOTHER_UNIT = 20\n",
}

HARMLESS = [
    ("flow.py", "import functools\n", "import functools  # why\n"),
    ("flow.py", "\n\ndef local", "\n\n\n\n# moved down\ndef local"),
    ("flow.py", '    """Docstring."""\n    return x + 1', "    return (\n        x + 1\n    )"),
    ("flow.py", "        # a comment\n", ""),
    ("flow.py", "    from lazy import late\n", "\n    # late\n    from lazy import late\n"),
    ("flow.py", "UNUSED = 1", "UNUSED = 2"),
    ("flow.py", "return 21", "return 210"),
    ("flow.py", "@env.task(retries=2)", "@env.task(retries=3, timeout=5)"),
    ("flow.py", "def local(x):", "def local(x: int) -> int:"),
    ("helpers.py", "OTHER = 4", "OTHER = 5"),
    ("helpers.py", "return 22", "return 220"),
    ("helpers.py", "def twice(x):\n", 'def twice(x):\n    """Doubles."""\n'),
    ("helpers.py", '"a": [1, 2], "b": (3, {4})', '"b": (3, {4}), "a": [1, 2]'),
    ("helpers.py", "class Model(Base):\n", 'class Model(Base):\n    """A model."""\n\n'),
    ("lazy.py", "return 23", "return 230"),
    ("pack/paths.py", "return 24", "return 240"),
    ("pack/units.py", "OTHER_UNIT = 20", "OTHER_UNIT = 200"),
]  # fmt: skip

HARMFUL = [
    ("flow.py", "x + 1\n", "x - 1\n", "flow.local"),
    ("flow.py", "rate: float = 0.1", "rate: float = 0.2", "flow.Config"),
    ("flow.py", "self.rate *", "self.rate +", "flow.Config.total"),
    ("flow.py", "x * 11", "x * 110", "flow.step"),
    ("flow.py", "x + 12", "x + 120", "flow.cached"),
    ("flow.py", "helpers.add, 5", "helpers.add, 50", "flow.add_five"),
    ("flow.py", "y=(1, 2)", "y=(1, 3)", "flow.main"),
    ("flow.py", "x: int = 1,", "x: int = 2,", "flow.main"),
    ("flow.py", "helpers.for_child(x)", "helpers.for_child(-x)", "flow.child"),
    ("flow.py", "from helpers import LIMIT", "from helpers import MOST as LIMIT", "helpers.MOST"),
    ("helpers.py", "LIMIT = 3", "LIMIT = 30", "helpers.LIMIT"),
    ("helpers.py", '"a": [1, 2]', '"a": [1, 3]', "helpers.FACTOR"),
    ("helpers.py", '["n"]', '["m"]', "helpers.names"),
    ("helpers.py", "x + 5", "x + 50", "helpers.for_child"),
    ("helpers.py", "2 * x", "3 * x", "helpers.twice"),
    ("helpers.py", "x - 6", "x - 60", "helpers.handle_a"),
    ("helpers.py", "x - 7", "x - 70", "helpers.handle_b"),
    ("helpers.py", '{"a": handle_a}', '{"c": handle_a}', "helpers.HANDLERS"),
    ("helpers.py", "result = function(*args)", "result = -function(*args)",
     "helpers.retry.<locals>.decorate.<locals>.wrapper"),
    ("helpers.py", "        return wrapper", "        wrapper.mark = 1\n        return wrapper",
     "helpers.retry"),
    ("helpers.py", "@retry(8)", "@retry(9)", "helpers.decorated"),
    ("helpers.py", "x + 9", "x + 90", "helpers.decorated"),
    ("helpers.py", "z + 10", "z + 100", "helpers.in_lambda"),
    ("helpers.py", "x + y + 13", "x + y + 130", "helpers.add"),
    ("helpers.py", "return object()", "return list()", "helpers.load"),
    ("helpers.py", "n != 0 and", "n > 0 and", "helpers.odd"),
    ("helpers.py", "depth = 14", "depth = 140", "helpers.Base"),
    ("helpers.py", "self.depth + 15", "self.depth + 150", "helpers.Base.go"),
    ("helpers.py", "return 16", "return 160", "helpers.Model.size"),
    ("helpers.py", "return 17", "return 170", "helpers.Model.scale"),
    ("helpers.py", "class Model(Base):", "class Model(Base, dict):", "helpers.Model"),
    ("lazy.py", "return 18", "return 180", "lazy.late"),
    ("by_name.py", "return 20", "return 200", "by_name.picked"),
    ("pack/paths.py", "return 21", "return 210", "pack.paths.used"),
    ("pack/shapes.py", "x * UNIT", "x - UNIT", "pack.shapes.area"),
    ("pack/units.py", "UNIT = 19", "UNIT = 190", "pack.units.UNIT"),
]  # fmt: skip


def edited(*edits):
    files = dict(FILES)
    for file, old, new, *_ in edits:
        assert files[file].count(old) >= 1, (file, old)
        files[file] = files[file].replace(old, new, 1)
    return files


@pytest.mark.parametrize("edit", HARMFUL, ids=lambda edit: f"{edit[3]}: {edit[2]}"[:60])
def test_an_edit_of_what_is_reached_changes_the_version_and_is_named(project, edit):
    before, after = project.version(FILES), project.version(edited(edit))
    assert before.digest != after.digest
    assert edit[3] in differing(before, after)


@pytest.mark.parametrize("edit", HARMLESS, ids=lambda edit: f"{edit[0]}: {edit[2]}"[:60])
def test_an_edit_that_changes_nothing_leaves_the_version_alone(project, edit):
    before, after = project.version(FILES), project.version(edited(edit))
    assert differing(before, after) == set()
    assert before.digest == after.digest


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    harmless=st.lists(st.sampled_from(HARMLESS), unique=True),
    harmful=st.lists(st.sampled_from(HARMFUL), unique_by=lambda e: e[1], max_size=3),
)
def test_edits_in_company_do_as_they_do_alone(project, harmless, harmful):
    version = project.version(edited(*harmless, *harmful))
    assert version.digest == project.version(edited(*harmful)).digest
    assert (version.digest != project.version(FILES).digest) == bool(harmful)


def differing(before, after):
    """Return the names of the parts that are not in both."""
    return {name for name, _ in {p[:2] for p in before.parts} ^ {p[:2] for p in after.parts}}


def test_the_function_itself_comes_first_then_the_rest_by_name(project):
    names = [part.name for part in project.version(FILES).parts]
    assert names[0] == "flow.main"
    assert names[1:] == sorted(names[1:])
    assert not [name for name in names if "unrelated" in name or "OTHER" in name]


def test_every_part_has_its_text(project):
    sources = {part.name: part.source for part in project.version(FILES).parts}
    assert sources["helpers.twice"] == "def twice(x):\n    return 2 * x\n"
    assert sources["helpers.LIMIT"] == "LIMIT = 3\n"
    assert sources["helpers.Model"].startswith("class Model(Base):\n    def fit(self):")
    assert sources["flow.main"].startswith("@env.task(retries=2)\ndef main(")
    assert [name for name, text in sources.items() if not text] == []


def test_what_runs_meanwhile_does_not_change_the_version(project):
    module = project.load(FILES)
    before = code_version(module.main)
    module.main(module.Config(), 1)
    assert module._cache
    assert module._model is not None
    assert code_version(module.main) == before


def test_what_is_bound_anew_or_changed_in_place_is_noticed(project):
    module = project.load(FILES)
    helpers = sys.modules["helpers"]
    seen = {code_version(module.main).digest}

    def is_new():
        digest = code_version(module.main).digest
        new = digest not in seen
        seen.add(digest)
        assert code_version(module.main).digest == digest
        return new

    module.LIMIT = 4
    assert is_new()
    helpers.FACTOR["a"].append(5)
    assert is_new()
    helpers.HANDLERS["c"] = helpers.twice
    assert is_new()
    helpers.Base.depth = 1
    assert is_new()
    helpers.even.__defaults__ = (2,)
    assert is_new()
    helpers.twice = lambda x: x
    assert not is_new()  # flow has its own name for the old one
    module.double = helpers.twice
    assert is_new()
    assert not is_new()


@pytest.mark.parametrize(
    ("template", "one", "other"),
    [
        ("def main(x):\n    def inner(y=%s): return y\n    return inner", "1", "2"),
        ("import re\nP = re.compile(%s)\ndef main(): return P", "'a'", "'b'"),
        ("import enum\nclass E(enum.Enum):\n    A = %s\ndef main(): return E.A", "1", "2"),
        (("class M(type):\n    def f(cls): return %s\nclass C(metaclass=M): ...\n"
         "def main(): return C.f()"), "1", "2"),
        (("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int = %s\n"
         "def main(): return P()"), "1", "2"),
        ("class C:\n    def __init__(self): self.x = %s\nONE = C()\ndef main(): return ONE.x",
         "1", "2"),
        ("class C:\n    def __init__(self, x): self.x = x\nONE = C(%s)\ndef main(): return ONE.x",
         "1", "2"),
        (("N = %s\nclass C:\n    def __init__(self, x): self.x = x\nONE = C(N)\n"
         "def main(): return ONE.x"), "1", "2"),
        (("import functools\n@functools.singledispatch\ndef f(x): return 0\n"
         "@f.register\ndef _(x: int): return %s\ndef main(): return f(1)"), "1", "2"),
        (("import contextlib\n@contextlib.contextmanager\ndef f(): yield %s\n"
         "def main():\n    with f() as x: return x"), "1", "2"),
        ("def make(n):\n    def f(): return n\n    return f\nf = make(%s)\ndef main(): return f()",
         "1", "2"),
        ("import pydantic\nclass C(pydantic.BaseModel):\n    x: int = %s\ndef main(): return C()",
         "1", "2"),
        ("import numpy as np\nA = np.array([%s])\ndef main(): return A", "1", "2"),
        ("import math as m\nimport cmath\nm = %s\ndef main(): return m.sqrt(2)", "m", "cmath"),
        (("import functools\nclass C:\n    @functools.cached_property\n    def x(self): return %s\n"
         "def main(): return C().x"), "1", "2"),
        (("class D:\n    def __get__(self, o, t): return %s\nclass C:\n    x = D()\n"
         "def main(): return C().x"), "1", "2"),
        (("R = []\ndef register(f):\n    R.append(f)\n    return f\n@register\ndef f(): return %s\n"
         "def main(): return R[0]()"), "1", "2"),
        ("def clean(x): return %s\ndef main(x): return [clean(y) for y in x]", "1", "2"),
        ("class C:\n    def run(self): return %s\ndef main(c: 'C'): return c.run()", "1", "2"),
        ("class C:\n    def run(self): return %s\ndef main(c: list[C]): return c[0].run()",
         "1", "2"),
        ("async def f(): return %s\nasync def main(): return await f()", "1", "2"),
    ],
)  # fmt: skip
def test_every_way_to_reach_something_counts(project, template, one, other):
    first = project.version(template % one + "\n")
    assert first.digest == project.version("# moved\n\n" + template % one + "\n").digest
    assert first.digest != project.version(template % other + "\n").digest


@pytest.mark.parametrize(
    "source",
    [
        "def main(): return nowhere()\n",
        "def main():\n    import nowhere\n    from nowhere import f\n    return f()\n",
        "import os\ndef main(): return os.path.join('a', 'b')\n",
        "class C: ...\nC.itself = C\ndef main(): return C\n",
        "LOOP = []\nLOOP.append(LOOP)\ndef main(): return LOOP\n",
        (
            "class Odd:\n    def __getattr__(self, name): raise RuntimeError(name)\n"
            "ODD = Odd()\ndef main(): return ODD\n"
        ),
        "from unittest.mock import MagicMock\nM = MagicMock()\ndef main(): return M.x\n",
        "import threading\nLOCK = threading.Lock()\ndef main():\n    with LOCK: pass\n",
    ],
)
def test_whatever_is_there_has_a_version_that_stays(project, source):
    assert project.version(source).digest == project.version(source).digest


PRINT = """
import json
from perdure._version.code import code_version
version = code_version({function})
print(json.dumps([version.digest.hex(), [part.name for part in version.parts]]))
"""


def printed(folder, *arguments, seed="1"):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_script_module_and_loaded_script_have_the_same_version(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    guard = 'if __name__ == "__main__":\n'
    flow = FLOW + guard + textwrap.indent(PRINT.format(function="main"), "    ")
    (tmp_path / "flow.py").write_text(flow)
    loading = "from perdure._worker.loader import load_main\nflow = load_main({!r})\n"
    imported = "import flow\n" + PRINT.format(function="flow.main")
    ways = [
        printed(tmp_path, "flow.py", seed="2"),
        printed(tmp_path, "-m", "flow", seed="3"),
        printed(tmp_path, "-c", "import sys; sys.path.insert(0, '')\n" + imported, seed="4"),
        printed(
            tmp_path,
            "-c",
            loading.format(str(tmp_path / "flow.py")) + PRINT.format(function="flow.main"),
            seed="5",
        ),
    ]
    assert ways[1:] == ways[:1] * 3


def test_the_same_name_in_two_modules_is_told_apart(project):
    files = {"a.py": "def f(): return 1\n", "b.py": "def f(): return 2\n"}
    first = "import a, b\ndef main(): return a.f(), b.f()\n"
    other = "import a as b, b as a\ndef main(): return a.f(), b.f()\n"
    assert (
        project.version(files | {"flow.py": first}).digest
        != project.version(files | {"flow.py": other}).digest
    )


def test_a_helper_may_move_to_another_module(project):
    helper = "def f(): return 1\n"
    first = project.version(
        {"a.py": helper, "flow.py": "from a import f\ndef main(): return f()\n"}
    )
    other = project.version(
        {"b.py": helper, "flow.py": "from b import f\ndef main(): return f()\n"}
    )
    assert first.digest == other.digest


def test_partials_and_callable_objects_have_versions(project):
    source = (
        "import functools\ndef f(x): return x\nmain = functools.partial(f, {})\n"
        "class C:\n    def __call__(self): return {}\nobj = C()\n"
    )
    assert (
        project.version(source.format(1, 1)).digest != project.version(source.format(2, 1)).digest
    )
    assert (
        project.version(source.format(1, 1), "obj").digest
        != project.version(source.format(1, 2), "obj").digest
    )


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    """An installed package that nobody has imported."""
    package = tmp_path / "site-packages" / "heavy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("def f(): ...\ndef g(): ...\n")
    monkeypatch.syspath_prepend(str(package.parent))
    yield
    sys.modules.pop("heavy", None)
    sys.modules.pop("heavy.inner", None)


@pytest.mark.parametrize(
    "statement",
    [
        "import heavy",
        "import heavy.inner as inner",
        "from heavy import inner",
        "from heavy.inner import f, g",
    ],
)
def test_what_is_installed_counts_by_name_whether_it_has_been_imported_or_not(
    project, heavy, statement
):
    source = f"def main():\n    {statement}\n"
    before = project.version(source)
    assert "heavy" not in sys.modules
    exec(statement, {})
    assert project.version(source).digest == before.digest
    other = project.version(source.replace("heavy", "light"))
    assert other.digest != before.digest
