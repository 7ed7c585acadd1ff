"""One name for the user's main module, whichever process asks.

The script a user starts is ``__main__`` in that process, yet a worker must not execute its
``if __name__ == "__main__"`` block. Workers (and ``perdure run FILE``) therefore load it under
``LOADED_MAIN``. Names that leave the process (in digests, journals, messages) are *canonical*:
``__main__`` for a script, the real module name for ``python -m package.module``.
"""

import sys
from types import ModuleType

VERSION = "0.1.0"
"""Version of Perdure."""

LOADED_MAIN = "__perdure_main__"
"""``__name__`` of a main script that was loaded rather than started."""

MAIN = "__main__"

PYTHON = "{}.{}".format(*sys.version_info)
"""Version of Python without the last number: bytecode of one means nothing to another."""

RECORDED: set[str] = set()
"""Files of which this process uses the recorded text instead of what is on disk now."""


def main_module() -> ModuleType | None:
    """Return the user's main module: the loaded one if there is one, else ``__main__``."""
    return sys.modules.get(LOADED_MAIN) or sys.modules.get(MAIN)


def canonical(module: str) -> str:
    """Return the name under which every process knows ``module``."""
    if module not in (MAIN, LOADED_MAIN):
        return module
    spec = getattr(main_module(), "__spec__", None)
    return MAIN if spec is None or spec.name in (MAIN, LOADED_MAIN) else str(spec.name)


def find_module(name: str) -> ModuleType | None:
    """Return the module of that canonical name if this process has it, without importing."""
    if name == canonical(MAIN):
        return main_module()
    return sys.modules.get(name)
