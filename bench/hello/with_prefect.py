from prefect import flow, task


@task
def hello(name: str) -> str:
    return f"hello {name}"


@flow
def main() -> str:
    return hello("you")


if __name__ == "__main__":
    print(main())
