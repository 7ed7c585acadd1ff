"""The code of a run: what it was when the run started, and what has changed since.

Three questions, three answers of increasing cost:

- :func:`fingerprint`: is this *function* still the same? A digest of its compiled body.
- :func:`capture`: which *files* is the run made of? Stored as blobs, so that they can be compared
  and looked at after they have changed on disk.
- :func:`changed`: *what* has changed? Names of functions and classes, found by comparing syntax
  trees: comments, formatting and docstrings are no changes.
"""

import ast
import functools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from opcode import hasconst, opmap
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

from perdure._core.ids import DIGEST_BYTES
from perdure._core.model import Bundle, SourceFile
from perdure._modules import MAIN, canonical, main_module
from perdure._ports import Blobs
from perdure.errors import BlobMissingError

# --- fingerprint ----------------------------------------------------------------------------------

_NOP, _EXTENDED_ARG = opmap["NOP"], opmap["EXTENDED_ARG"]
_HAS_CONST = frozenset(hasconst)
_STORES_LINES = sys.version_info >= (3, 13)
_IS_FUNCTION = 0x02  # CO_NEWLOCALS: set for functions, not for class bodies
_SALT = b"%d.%d" % sys.version_info[:2]  # bytecode means something else in every minor version


def fingerprint(function: object) -> bytes:
    """Return a digest (16 bytes) of what ``function`` does by itself.

    It covers the compiled body with everything defined inside it, and the defaults of parameters;
    not comments, docstring, position, file, annotations or the functions it calls. Decorators that
    keep ``__wrapped__`` are looked through.
    """
    while True:
        if isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    function = getattr(function, "__func__", function)  # a bound method
    parts: list[bytes] = [_SALT]
    if isinstance(function, FunctionType):
        _add_code(parts, function.__code__)
        _add_const(parts, function.__defaults__)
        _add_const(parts, tuple(sorted((function.__kwdefaults__ or {}).items())))
    else:
        _add_const(parts, function)
    return blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).digest()


def body_digest(code: CodeType) -> bytes:
    """Return a digest (16 bytes) of a compiled body with everything defined inside it."""
    parts = [_SALT]
    _add_code(parts, code)
    return blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).digest()


def _add_code(parts: list[bytes], code: CodeType) -> None:
    consts = code.co_consts
    unnamed: set[int] = set()
    if not code.co_flags & _IS_FUNCTION:
        # A class body stores its qualified name and (3.13) its line number: both are position.
        noise = (code.co_qualname, code.co_firstlineno if _STORES_LINES else None)
        unnamed = {i for i, c in enumerate(consts) if type(c) in (str, int) and c in noise}
    bytecode, operations, used = code.co_code, bytearray(), []
    extended = 0
    for at in range(0, len(bytecode), 2):
        operation, argument = bytecode[at], extended | bytecode[at + 1]
        extended = 0
        if operation == _EXTENDED_ARG:
            extended = argument << 8
        elif operation in _HAS_CONST:
            # By value: where a constant is in the table depends on whether there is a docstring,
            # which is in the table, too, but which no instruction loads.
            operations.append(operation)
            if argument not in unnamed:
                used.append(consts[argument])
        elif operation != _NOP:  # left over where a line of source does nothing
            operations.append(operation)
            operations += argument.to_bytes(4, "big")
    parts.append(bytes(operations))
    parts.append(
        repr(
            (
                code.co_argcount,
                code.co_posonlyargcount,
                code.co_kwonlyargcount,
                code.co_flags,
                code.co_names,
                code.co_varnames,
                code.co_freevars,
                code.co_cellvars,
                code.co_exceptiontable,
            )
        ).encode()
    )
    for const in used:
        _add_const(parts, const)


def _add_const(parts: list[bytes], const: object) -> None:
    """Add a constant such that equal ones, and only those, look the same in every process."""
    kind = type(const)
    if kind is CodeType:
        _add_code(parts, const)  # type: ignore[arg-type]
    elif kind in (tuple, list):
        parts.append(b"%s %d" % (kind.__name__.encode(), len(const)))  # type: ignore[arg-type]
        for item in const:  # type: ignore[attr-defined]
            _add_const(parts, item)
    elif kind in (frozenset, set):
        # The order of a set depends on the hash seed of the process.
        parts.append(f"{kind.__name__} {sorted(map(repr, const))}".encode())  # type: ignore[call-overload]
    elif const is None or const is ... or kind in (bool, int, float, complex, str, bytes):
        parts.append(f"{kind.__name__} {const!r}".encode(errors="surrogatepass"))
    else:
        # A default of some other type: its repr may hold an address.
        parts.append(f"{kind.__module__}.{kind.__qualname__}".encode())


# --- capture --------------------------------------------------------------------------------------

_OWN = str(Path(__file__).parent) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_SCRIPTS = str(Path(sys.executable).parent) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_LATER = re.compile(
    rb"^[ \t]+(?:from +([.\w]+) +import +([^#\n]+)|import +([^#\n]+))", re.MULTILINE
)
_stored: "dict[tuple[str, int, int], _Stored]" = {}  # by path, mtime, size


class _Stored(NamedTuple):
    """A file's text: the blob that holds it, and the modules it imports when functions are called.

    The latter are ``..package.module``, or what may be one.
    """

    blob: bytes
    later: tuple[str, ...]


def capture(blobs: Blobs) -> Bundle:
    """Return the code of this process, for a new run; stores the text of its project files.

    Project files are the main script and the loaded modules that are neither installed packages,
    nor the standard library, nor Perdure; and the files that import statements inside of their
    functions name, which have not been executed yet.
    """
    name = canonical(MAIN)
    main = _main_script() if name == MAIN else ""
    paths = {path for module in list(sys.modules.values()) if (path := _project_file(module))}
    if main:
        paths.add(main)
    import_path = tuple(dict.fromkeys(_absolute(p) for p in sys.path if isinstance(p, str)))
    return Bundle(
        main=main,
        main_module="" if name == MAIN else name,
        sys_path=import_path,
        cwd=str(Path.cwd()),
        argv=tuple(sys.argv),
        files=_files(paths, import_path, blobs),
        python=f"{sys.implementation.name}-{'.'.join(map(str, sys.version_info[:3]))}",
    )


def _main_script() -> str:
    """Return the absolute path of the user's script; "" in a notebook, REPL or ``python -c``."""
    path = getattr(main_module(), "__file__", None)
    if not path:
        return ""
    path = _absolute(path)
    # Programs such as pytest, which live next to the interpreter, are not the user's code.
    return path if not path.startswith(_SCRIPTS) and Path(path).is_file() else ""


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _project_file(module: ModuleType) -> str:
    """Return the source file of a module of the user's project, "" for any other module."""
    path = module.__dict__.get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(path, str) or not path.endswith(".py"):
        return ""
    return _absolute(path) if is_project_path(path) else ""


def is_project_module(module: ModuleType) -> bool:
    """Whether a loaded module is one of the files of a bundle."""
    return bool(_project_file(module))


@functools.lru_cache(maxsize=8192)  # every run asks it of every module
def is_project_path(path: str) -> bool:
    """Whether what is at ``path`` is neither installed, nor the standard library, nor Perdure."""
    # A virtual environment may be inside the standard library's folder or the project's own.
    if any(folder in path for folder in _INSTALLED):
        return False
    return not path.startswith((_STDLIB, _OWN))


def _files(paths: set[str], import_path: tuple[str, ...], blobs: Blobs) -> tuple[SourceFile, ...]:
    """Store these files and those that they may import later."""
    folders = [folder for folder in import_path if is_project_path(folder + os.sep)]
    found: dict[str, bytes] = {}
    ahead = sorted(paths)
    while ahead:
        path = ahead.pop()
        stored = None if path in found else _store(path, blobs)
        if stored is not None:
            found[path] = stored.blob
            for name in stored.later:
                ahead += _modules_named(name, path, folders)
    return tuple(SourceFile(path, found[path]) for path in sorted(found))


def _store(path: str, blobs: Blobs) -> _Stored | None:
    """Return what is stored of a file, None if there is no such file (any more)."""
    try:
        info = Path(path).stat()
        key = (path, info.st_mtime_ns, info.st_size)
        known = _stored.get(key)
        if known is not None and blobs.has(known.blob):
            return known
        text = Path(path).read_bytes()
    except OSError:
        return None
    stored = _stored[key] = _Stored(blobs.put([text]), tuple(dict.fromkeys(_imported_later(text))))
    return stored


def _imported_later(text: bytes) -> Iterator[str]:
    """Yield what indented import statements name."""
    for module, names, modules in _LATER.findall(text):
        for each in (names or modules).strip(b"() \t\r\\").split(b","):
            words = each.split()
            if words:
                separator = b"" if not module or module.endswith(b".") else b"."
                yield (module + separator + words[0]).decode(errors="replace")


def _modules_named(name: str, importer: str, folders: list[str]) -> Iterator[str]:
    """Yield the project files of a module, of the packages it is in, and of what it may be in."""
    parts = name.lstrip(".").split(".")
    level = len(name) - len(name.lstrip("."))
    loaded = None if level else sys.modules.get(parts[0])
    if loaded is not None and getattr(loaded, "__file__", None) and not _project_file(loaded):
        return
    above = [str(folder) for folder in Path(importer).parents]
    roots = above[level - 1 : level] if level else folders
    for root in roots:
        for length in range(1, len(parts) + 1):
            stem = os.path.join(root, *parts[:length])  # noqa: PTH118  # many, most lead nowhere
            for path in (f"{stem}.py", os.path.join(stem, "__init__.py")):  # noqa: PTH118
                if os.path.isfile(path) and is_project_path(path):  # noqa: PTH113
                    yield path


# --- changes --------------------------------------------------------------------------------------

_MODULE_LEVEL, _WHOLE = "module level", "whole file"
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def changed(old: Bundle, blobs: Blobs) -> list[str]:
    """Return readable names of what differs on disk now, e.g. ``flights.py: Model.fit``.

    Statements outside of functions and classes are ``module level``, without the block under
    ``if __name__ == "__main__":``, which starts runs but is no part of them.
    """
    return [
        f"{_readable(file.path, old.cwd)}: {name}"
        for file in old.files
        for name in _changed_names(file, blobs)
    ]


def _readable(path: str, cwd: str) -> str:
    inside = cwd and path.startswith(cwd.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, cwd) if inside else Path(path).name


def _changed_names(file: SourceFile, blobs: Blobs) -> Iterable[str]:
    try:
        now = Path(file.path).read_bytes()
    except OSError:
        return ["file is gone"]
    try:
        return differing(bytes(blobs.get(file.blob)), now)
    except BlobMissingError:
        return [_WHOLE]


def differing(then: bytes, now: bytes) -> list[str]:
    """Return names of what two texts of a file have different, see :func:`changed`."""
    if now == then:
        return []
    try:
        before, after = _definitions(then), _definitions(now)
    except (SyntaxError, ValueError):  # ValueError: null bytes
        return [_WHOLE]
    return [name for name in before | after if before.get(name) != after.get(name)]


def _definitions(source: bytes) -> dict[str, str]:
    """Return what each function, class body and the module itself consists of, by name."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _Definition | ast.Module) and ast.get_docstring(node, clean=False):
            del node.body[0]
    found: dict[str, str] = {}
    tree.body = [node for node in tree.body if not _is_main_guard(node)]
    _collect(tree.body, "", _MODULE_LEVEL, found)
    return found


def _collect(body: list[ast.stmt], prefix: str, rest: str, found: dict[str, str]) -> None:
    """Enter the definitions in ``body`` under their names, and what is left under ``rest``."""
    for node in body:
        name = rest
        if isinstance(node, _Definition):
            name = prefix + node.name
            if isinstance(node, ast.ClassDef):
                _collect(node.body, f"{name}.", name, found)
                node.body = []  # what remains is its head: bases and decorators
        # A name may be defined more than once: overloads, properties.
        found[name] = found.get(name, "") + ast.dump(node)


def _is_main_guard(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
    )
