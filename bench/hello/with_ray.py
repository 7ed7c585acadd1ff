import ray


@ray.remote
def hello(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    print(ray.get(hello.remote("you")))
    ray.shutdown()
