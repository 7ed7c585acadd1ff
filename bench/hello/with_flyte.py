import flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
async def hello(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    print(flyte.with_runcontext(mode="local").run(hello, "you").outputs())
