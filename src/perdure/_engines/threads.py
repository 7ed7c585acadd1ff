"""How many threads numeric libraries start in a worker.

Left alone, each starts as many as there are cores, in every worker: four workers on four cores run
sixteen threads that get in each other's way. So they are told to start as many as the attempts of
the worker have asked for cores. Libraries read this when they are loaded, so it is set before.
"""

from collections.abc import Collection

_MAIN = b"OMP_NUM_THREADS"  # torch, pyarrow and scikit-learn heed it, too
_FOLLOWERS = tuple(
    f"{name}_NUM_THREADS".encode() for name in ("OPENBLAS", "MKL", "BLIS", "NUMEXPR")
)
_OTHERS = (b"POLARS_MAX_THREADS", b"RAYON_NUM_THREADS", b"VECLIB_MAXIMUM_THREADS")


def thread_variables(threads: int, given: Collection[bytes]) -> dict[bytes, bytes]:
    """Return the environment variables that make libraries start so many threads.

    Args:
        threads: How many.
        given: Names of variables that the user has set: they are left alone, and so are those of
            libraries that would follow them.
    """
    names = _OTHERS if _MAIN in given else (_MAIN, *_FOLLOWERS, *_OTHERS)
    return {name: b"%d" % threads for name in names if name not in given}
