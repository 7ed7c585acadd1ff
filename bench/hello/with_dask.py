from distributed import Client, LocalCluster


def hello(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        print(client.submit(hello, "you").result())
