import perdure

env = perdure.TaskEnvironment("callpkg")


@env.task
def triple(x: int) -> int:
    return 3 * x
