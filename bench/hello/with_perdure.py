import perdure

env = perdure.TaskEnvironment("hello")


@env.task
def hello(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    print(perdure.run(hello, name="you").result())
