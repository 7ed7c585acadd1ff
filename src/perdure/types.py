"""Types that Flyte 2's hints name.

``FlytePickle`` is a value of any type: it is pickled if Perdure has no other form for it.
"""

from typing import Any, NoReturn

from perdure import _absent

FlytePickle = Any


def __getattr__(name: str) -> NoReturn:
    _absent.refuse_in(__name__, name)
