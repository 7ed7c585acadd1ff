from concurrent.futures import ProcessPoolExecutor


def hello(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    with ProcessPoolExecutor() as executor:
        print(executor.submit(hello, "you").result())
