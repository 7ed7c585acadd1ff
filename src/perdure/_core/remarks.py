"""What is remarked, once each, of the images of a run's tasks: what is installed, what left out."""

from perdure._core.effects import Effects
from perdure._core.lifecycle import Lifecycle
from perdure._core.model import TaskSpec
from perdure._core.state import Run


class Remarks:
    """Remembers what was said.

    Args:
        lifecycle: Records what is told.
        effects: Takes what the user is told at once, in this process.
    """

    def __init__(self, lifecycle: Lifecycle, effects: Effects) -> None:
        self._lifecycle = lifecycle
        self._effects = effects
        self._warned: set[str] = set()

    def of(self, run: Run, spec: TaskSpec) -> None:
        """A task of that spec is about to be executed in the run."""
        image = spec.image
        if image.recipe:
            text = f"{spec.name}: {image.label} [{image.recipe.hex()[:12]}]"
            self._once(run, "image", text)
        if image.unapplied and not run.strict:
            self._once(run, "notice", image.unapplied)
            if image.unapplied not in self._warned:
                self._warned.add(image.unapplied)
                self._effects.warnings.append(image.unapplied)

    def _once(self, run: Run, kind: str, text: str) -> None:
        if text not in run.remarks:
            run.remarks += (text,)
            self._lifecycle.notice(run, None, kind, text)
