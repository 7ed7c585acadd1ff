"""Whether what is installed satisfies a recipe already."""

from collections.abc import Mapping, Sequence

from perdure._environments.recipe import Install, Recipe

EDITABLE = "editable"
"""Stands for the version of what is installed from a working tree."""


def fits(recipe: Recipe, python: str, packages: Sequence[tuple[str, str]]) -> bool:
    """Whether an interpreter has what a recipe asks for, so that nothing need be built.

    Only requirements of an index can be compared with what is installed. Locked projects, local
    packages, URLs and extras are always installed anew.

    Args:
        recipe: The recipe.
        python: Implementation and version, e.g. ``cpython-3.11.7``.
        packages: Normalized names and versions of what is installed.
    """
    version = python.partition("-")[2]
    if recipe.python and not f"{version}.".startswith(f"{recipe.python}."):
        return False
    if recipe.requires_python and not satisfies(version, recipe.requires_python):
        return False
    installed, known = dict(packages), marker_environment(version)
    return all(
        isinstance(step, Install)
        and not (step.constraints or step.sources)
        and all(_is_there(line, installed, known) for line in step.requirements)
        for step in recipe.steps
    )


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version is one that is wanted, as in ``>=3.12``."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def marker_environment(version: str) -> dict[str, str]:
    """Return what markers such as ``python_version < "3.12"`` are about, for a Python version."""
    minor = ".".join(version.split(".")[:2])
    return {"python_version": minor, "python_full_version": version}


def _is_there(line: str, installed: Mapping[str, str], known: dict[str, str]) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        wanted = Requirement(line)
    except InvalidRequirement:  # an option, a path, a hash
        return False
    if wanted.marker is not None and not wanted.marker.evaluate(known):
        return True
    if wanted.url or wanted.extras:
        return False
    version = installed.get(canonicalize_name(wanted.name))
    if version is None:
        return False
    if version == EDITABLE:  # its version is what its working tree says
        return not wanted.specifier
    return wanted.specifier.contains(version, prereleases=True)
