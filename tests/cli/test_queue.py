"""``perdure queue``: declaring, changing, listing and forgetting queues."""


def test_the_life_of_a_queue(cli):
    assert "no queue was declared" in cli("queue", "ls").stderr
    said = cli("queue", "set", "api", "--concurrency", "3", "--rate", "100/m").stdout
    assert said == 'api has concurrency=3, rate="100/m"\n'
    limits = cli.json("queue", "set", "api", "--depth", "9", "--rate", "0")
    assert limits == {
        "name": "api", "concurrency": 3, "starts": 0, "period": 0.0, "depth": 9, "priority": 0,
    }  # fmt: skip
    (listed,) = cli.json("queue", "ls")
    assert (listed["limits"], listed["held"], listed["users"]) == (limits, 0, [])
    assert "api" in cli("queue", "ls").stdout
    cli("queue", "rm", "api")
    assert "there is no queue 'api'" in cli("queue", "rm", "api", code=3).stderr


def test_a_run_of_a_queue_and_with_a_priority(cli, pipeline):
    square = "run", f"{pipeline}:square", "--x", "3", "--queue", "api", "--priority", "7"
    assert "perdure queue set api" in cli(*square, code=3).stderr
    cli("queue", "set", "api", "--concurrency", "1")
    assert cli.json(*square)["result"] == 9
