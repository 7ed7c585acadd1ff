"""Reading what people write: requirements files, PEP 723 headers, projects of uv and Poetry."""

import re
from pathlib import Path
from typing import Any

from perdure._environments.recipe import Install, Options, Project, Source, source
from perdure.errors import ConfigurationError, NotSupportedError

_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)[\s=]+(\S.*)")
_FIND_LINKS = re.compile(r"(-f|--find-links)[\s=]+(\S.*)")
_EDITABLE = re.compile(r"(-e|--editable)[\s=]+(\S.*)")
_EXTRAS = re.compile(r"(?P<path>[^\[\]]+?)(?P<extras>\[[^\]]*\])?(?P<rest>\s*;.*)?")
_PLAIN = re.compile(  # numpy, numpy==2.1, numpy>=2,<3: most requirements, and good ones
    r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*((==|>=|<=|!=|<|>)\d+(\.\d+)*(,(==|>=|<=|!=|<|>)\d+(\.\d+)*)*)?"
)
_FILE_URL = re.compile(r"file:(?://)?(?P<path>/[^\s;]+)")
_HEADER = re.compile(r"(?m)^# /// script\s*$\s(?P<content>(^#(| .*)$\s)+)^# ///\s*$")


class _Lines:
    """Requirements as they are collected from files that include others."""

    def __init__(self) -> None:
        self.requirements: list[str] = []
        self.constraints: list[str] = []
        self.sources: list[Source] = []

    def read(self, file: Path, *, constraints: bool = False) -> None:
        """Add the lines of a file."""
        for line in _logical_lines(text_of(file)):
            include = _INCLUDE.fullmatch(line)
            if include:
                only_limits = constraints or include[1] in ("-c", "--constraint")
                self.read(file.parent / include[2], constraints=only_limits)
            else:
                self.add(line, file.parent, constraints=constraints)

    def add(self, line: str, folder: Path, *, constraints: bool = False) -> None:
        """Add a line that was written in a file of ``folder``; paths in it become absolute."""
        editable = _EDITABLE.fullmatch(line)
        links = _FIND_LINKS.fullmatch(line)
        if links and "://" not in links[2]:
            line = f"--find-links {(folder / links[2]).absolute()}"
        elif editable or _is_path(line):
            line = self._local(editable[2] if editable else line, folder)
        elif url := _FILE_URL.search(line):
            self.sources.append(source(Path(url["path"])))
        (self.constraints if constraints else self.requirements).append(line)

    def _local(self, text: str, folder: Path) -> str:
        match = _EXTRAS.fullmatch(text)
        if match is None:
            raise ConfigurationError(f"{text!r} is neither a requirement nor a path")
        found = source(folder / Path(match["path"].strip()).expanduser())
        self.sources.append(found)
        return f"{found.path}{match['extras'] or ''}{match['rest'] or ''}"

    def install(self, options: Options) -> Install:
        """Return the step that they are."""
        return Install(
            tuple(self.requirements), tuple(self.constraints), options, tuple(self.sources)
        )


def packages(lines: tuple[str, ...], options: Options) -> Install:
    """Return the step that installs these requirements.

    Raises:
        ConfigurationError: One of them is none, or its path does not exist.
    """
    found = _Lines()
    for line in lines:
        found.add(line.strip(), Path.cwd())
        if not (_PLAIN.fullmatch(line) or _is_path(line) or line.startswith("-")):
            # Imported where it is needed: every worker that loads an image comes by here.
            from packaging.requirements import InvalidRequirement, Requirement

            try:
                Requirement(line)
            except InvalidRequirement as error:
                raise ConfigurationError(
                    f"{line!r} is not a requirement: {error}",
                    hint='write "numpy>=2", one string for each package',
                ) from error
    return found.install(options)


def requirements_file(file: Path, options: Options) -> Install:
    """Return the step that a requirements file stands for, with all that it includes.

    Raises:
        ConfigurationError: It cannot be read.
    """
    found = _Lines()
    found.read(file)
    return found.install(options)


def script(file: Path, options: Options) -> tuple[Install, str]:
    """Return the step that the PEP 723 header of a script stands for, and its Python versions.

    Raises:
        ConfigurationError: There is no such file, or it has no such header.
        NotSupportedError: The header holds more than is understood.
    """
    match = _HEADER.search(text_of(file))
    if match is None:
        raise ConfigurationError(
            f"{file} has no header with its dependencies",
            hint='begin it with: # /// script, # dependencies = ["numpy"], # ///',
        )
    lines = match["content"].splitlines(keepends=True)
    header = _parsed("".join(line[2:] if line[1:2] == " " else line[1:] for line in lines), file)
    tool = dict(header.get("tool", {}).get("uv", {}))
    newest = str(tool.pop("exclude-newer", ""))
    if tool:
        raise NotSupportedError(
            f"{file}: [tool.uv] {', '.join(tool)} in a script is not supported",
            hint="give indexes to from_uv_script(index_url=..., extra_index_urls=...)",
        )
    found = _Lines()
    for line in header.get("dependencies", ()):
        found.add(str(line), file.parent)
    given = Options(
        options.index_url, options.extra_index_urls, options.pre, options.extra_args, newest
    )
    return found.install(given), str(header.get("requires-python", ""))


def uv_project(pyproject: Path, lock: Path | None, options: Options, *, itself: bool) -> Project:
    """Return the step that a project of uv stands for.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    _parsed(text_of(pyproject), pyproject)
    return Project(
        source(pyproject),
        None if lock is None else source(lock),
        options,
        source(pyproject.absolute().parent) if itself else None,
    )


def poetry_project(pyproject: Path, lock: Path, options: Options, *, itself: bool) -> Install:
    """Return the step that a project of Poetry stands for, in the versions of its lock.

    Raises:
        ConfigurationError: A file cannot be read.
        NotSupportedError: A dependency is not of an index.
    """
    described, locked = _parsed(text_of(pyproject), pyproject), _parsed(text_of(lock), lock)
    project, poetry = described.get("project", {}), described.get("tool", {}).get("poetry", {})
    found = _Lines()
    for line in project.get("dependencies", ()):
        found.add(str(line), pyproject.parent)
    for name, asked in poetry.get("dependencies", {}).items():
        if name != "python" and not (isinstance(asked, dict) and asked.get("optional")):
            found.requirements.append(_poetry_requirement(name, asked, pyproject))
    if itself:
        found.add(f"{pyproject.absolute().parent}", pyproject.parent)
    found.constraints = [f"{each['name']}=={each['version']}" for each in locked.get("package", ())]
    return found.install(options)


def _poetry_requirement(name: str, asked: Any, file: Path) -> str:
    """Return a dependency of Poetry as a requirement; the lock says which version it is."""
    if isinstance(asked, str):
        return name
    if not isinstance(asked, dict) or "version" not in asked:
        raise NotSupportedError(
            f"{file}: the dependency {name} is not of a package index",
            hint="list the requirements in a file: with_requirements(...)",
        )
    extras = f"[{','.join(asked['extras'])}]" if asked.get("extras") else ""
    return f"{name}{extras}" + (f"; {asked['markers']}" if asked.get("markers") else "")


def text_of(file: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {getattr(error, 'strerror', '') or error}",
            hint="paths are meant from the working directory; Path(__file__).parent / ... is safer",
        ) from error


def _parsed(text: str, file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def _logical_lines(text: str) -> list[str]:
    """Return the lines of a requirements file, continued ones as one, without comments."""
    joined = re.sub(r"\\\n", " ", text)
    lines = (_COMMENT.sub("", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _is_path(line: str) -> bool:
    return line.startswith((".", "/", "~")) or (
        line.endswith((".whl", ".tar.gz", ".zip")) and "://" not in line and "@" not in line
    )
