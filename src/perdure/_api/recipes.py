"""What an image means where tasks run: what is to be installed, what is set, what is left out."""

import re
from collections.abc import Iterator

from perdure._api import layers
from perdure._api.aside import Aside
from perdure._api.image import Image
from perdure._core.model import ImageRef
from perdure._environments import reading
from perdure._environments.fitting import fits
from perdure._environments.recipe import Install, Recipe, decode_recipe, encode_recipe
from perdure._ports import Blobs
from perdure._version.environment import environment

_recipes = Aside()
"""Those of this process's images."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?")


def refer(image: Image) -> ImageRef:
    """Return what the core knows of an image; nothing, if what is installed here will do.

    Raises:
        ConfigurationError: A file that it names cannot be read.
    """
    recipe = recipe_of(image)
    here = environment()
    if fits(recipe, here.python, here.packages):
        return ImageRef(unapplied=unapplied(image))
    key = _recipes.put(encode_recipe(recipe))
    return ImageRef(key, unapplied(image), recipe.label)


def store(ref: ImageRef, blobs: Blobs) -> None:
    """See to it that whoever places workers can read the recipe."""
    if ref.recipe:
        _recipes.store(ref.recipe, blobs)


def known(ref: ImageRef) -> Recipe:
    """Return the recipe that this process has referred to."""
    return decode_recipe(_recipes[ref.recipe])


def listed(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield what a recipe asks for, so that two can be compared: name and version, or the digest.

    Args:
        recipe: The recipe.
    """
    for step in recipe.steps:
        for line in step.requirements if isinstance(step, Install) else ():
            name = _NAME.match(line)
            end = name.end() if name else len(line)
            yield line[:end], line[end:].strip() or "any"
        for source in step.sources:
            yield source.path, source.digest.hex()[:12]


def recipe_of(image: Image) -> Recipe:
    """Return what is to be installed for an image, read from its files now.

    Raises:
        ConfigurationError: One of them cannot be read.
    """
    steps = [layer.step() for layer in image.layers if isinstance(layer, layers.Installed)]
    wanted = [
        reading.script(layer.script, layer.options)[1]
        for layer in image.layers
        if isinstance(layer, layers.UvScript)
    ]
    return Recipe(
        python="" if image.python_version is None else ".".join(map(str, image.python_version)),
        requires_python=",".join(filter(None, wanted)),
        steps=tuple(steps),
    )


def variables(image: Image) -> dict[str, str]:
    """Return the environment variables of an image."""
    found: dict[str, str] = {}
    for layer in image.layers:
        if isinstance(layer, layers.EnvVars):
            found.update(layer.variables)
    return found


def unapplied(image: Image) -> str:
    """Return what of an image only containers have, in words; "" if there is nothing."""
    parts = []
    if image.dockerfile is not None:
        parts.append(f"the Dockerfile {image.dockerfile}")
    if image.base_image is not None:
        parts.append(f"the base image {image.base_image}")
    for layer in image.layers:
        match layer:
            case layers.AptPackages(packages):
                parts.append(f"apt packages ({', '.join(packages)})")
            case layers.Commands(commands):
                parts.append(f"commands ({'; '.join(commands)})")
            case layers.WorkDir(folder):
                parts.append(f"the working directory {folder}")
            case layers.Copied(source, destination):
                parts.append(f"the copy of {source} at {destination}")
            case _:
                pass
    if not parts:
        return ""
    name = f" {image.name}" if image.name not in (None, "perdure") else ""
    return f"image{name}: only containers have {', '.join(parts)}; here tasks run without"
