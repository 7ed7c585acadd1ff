from pathlib import Path

from dbos import DBOS


@DBOS.step()
def hello(name: str) -> str:
    return f"hello {name}"


@DBOS.workflow()
def main() -> str:
    return hello("you")


if __name__ == "__main__":
    url = f"sqlite:///{Path.home()}/hello.sqlite"
    DBOS(config={"name": "hello", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    print(main())
    DBOS.destroy()
