import time

import perdure

image = perdure.Image.from_debian_base()
old = perdure.TaskEnvironment("old", image=image.with_pip_packages("attrs==23.1.0"))
middle = perdure.TaskEnvironment("middle", image=image.with_pip_packages("attrs==24.2.0"))
new = perdure.TaskEnvironment("new", image=image.with_pip_packages("attrs==25.3.0"))
env = perdure.TaskEnvironment("hello", depends_on=[old, middle, new])


def version() -> str:
    import attrs

    return attrs.__version__


@old.task
def in_old() -> str:
    return version()


@middle.task
def in_middle() -> str:
    return version()


@new.task
def in_new() -> str:
    return version()


@env.task
def versions() -> list[str]:
    return [each.result() for each in (in_old.submit(), in_middle.submit(), in_new.submit())]


if __name__ == "__main__":
    began = time.perf_counter()
    found = perdure.run(versions).result()
    print(*found, time.perf_counter() - began)
