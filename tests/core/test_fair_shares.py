"""Whatever is asked for, and whatever dies or is cancelled: nothing is over-committed, all end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from core.driver import Driver, spec
from perdure._core.model import TaskSpec
from perdure._core.state import Action, Attempt

CPU, MEMORY, LICENCES = 3.0, 9, 3.0
ROUNDS = 500
"""Many more than any program takes to end."""

requests = st.builds(
    lambda is_async, cpu, memory, gpu, licences: spec(
        f"{is_async} {cpu} {memory} {gpu} {licences}",
        is_async=is_async,
        cpu=cpu,
        memory=memory,
        gpu=gpu,
        custom=(("licence", licences),) if licences else (),
    ),
    is_async=st.booleans(),
    cpu=st.sampled_from((0.0, 0.5, 1.0, 2.0, 3.0)),
    memory=st.sampled_from((0, 1, 2, 4)),
    gpu=st.sampled_from((0.0, 0.0, 0.5, 1.0)),
    licences=st.sampled_from((0.0, 0.0, 0.5, 1.0)),
)
steps = st.tuples(
    st.sampled_from(("start", "call", "call", "call", "wait", "end", "fail", "kill", "cancel")),
    st.integers(0, 100),
    requests,
)


class Programs:
    """Several programs at once; every step of theirs checks the invariants."""

    def __init__(self) -> None:
        self.driver = Driver(
            cpu=CPU, memory=MEMORY, gpus=("T4", "T4"), custom=(("licence", LICENCES),)
        )
        self.count = 0

    def computing(self) -> list[Attempt]:
        """Return the attempts that run."""
        return [a for a in self.driver.machine.scheduler.attempts.values() if not a.blocked]

    def take(self, kind: str, which: int, request: TaskSpec) -> None:
        """Take a step, if there is anybody to take it."""
        self.count += 1
        if kind == "start":
            self.driver.start(request, f"run {self.count}")
        elif running := self.computing():
            action = running[which % len(running)].action
            self.act(kind, action, request)

    def act(self, kind: str, action: Action, request: TaskSpec) -> None:
        """Do something with an action that runs, or let it do something."""
        driver = self.driver
        if kind == "call":
            parent = action.attempt
            assert parent is not None
            id_ = driver.id(action, request.name, self.count)
            driver.machine.call(parent.handle, request, id_, b"inputs")
            driver.settle()
        elif kind == "wait" and action.children and not driver.worker(action).pool.is_async:
            driver.block(action)
        elif kind == "end":
            driver.end(action)
        elif kind == "fail":
            driver.fail(action)
        elif kind == "kill":
            driver.kill(action)
        elif kind == "cancel":
            driver.machine.abort(action.run, None, "enough")
            driver.settle()

    def come_to_an_end(self) -> bool:
        """Let what runs end, and what is to die die, until nothing is left to do."""
        scheduler = self.driver.machine.scheduler
        for _ in range(ROUNDS):
            dying = [w.number for w in scheduler.staff.workers.values() if w.stopping]
            if dying:
                self.driver.kill(dying[0])
            elif running := self.computing():
                self.driver.end(running[0].action)
            elif any(run.actions for run in self.driver.machine.runs.values()):
                self.driver.after(1.0)
            else:
                return True
        return False


@settings(max_examples=80, deadline=None)
@given(st.lists(steps, min_size=5, max_size=60))
def test_nothing_is_over_committed_and_nobody_starves(
    taken: list[tuple[str, int, TaskSpec]],
) -> None:
    programs = Programs()
    programs.take("start", 0, taken[0][2])
    for kind, which, request in taken:
        programs.take(kind, which, request)
    assert programs.come_to_an_end()
    ledger = programs.driver.machine.scheduler.ledger
    assert ledger.cpu == CPU * 10_000
    assert ledger.space == {"memory": MEMORY, "licence": LICENCES * 10_000}
