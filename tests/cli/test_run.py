"""``perdure run`` and what looks at its results, as users start them."""

import re
import subprocess
import sys

import pytest


def test_runs_a_task_and_says_how_it_ended(cli, pipeline):
    done = cli("run", pipeline, "main", "--n", "4", "--name", "first")
    assert "first succeeded" in done.stdout
    assert "[0, 1, 4, 9]" in done.stdout
    assert "perdure show first" in done.stdout


def test_without_a_name_it_runs_main_or_what_is_marked_as_the_entry(cli, pipeline, tmp_path):
    assert cli.json("run", pipeline, "--n", "1")["result"]["squares"] == [0]
    marked = tmp_path / "marked.py"
    marked.write_text(
        "import perdure\n"
        "env = perdure.TaskEnvironment('marked')\n"
        "@env.task\ndef one() -> int:\n    return 1\n"
        "@env.task(entrypoint=True)\ndef two(x: int = 2) -> int:\n    return x + one()\n"
    )
    assert cli.json("run", str(marked), "--x", "4")["result"] == 5
    assert cli.json("run", str(marked), "one")["result"] == 1


def test_json_is_one_document_with_result_and_inputs(cli, pipeline):
    data = cli.json("run", f"{pipeline}:main", "--kind", "fancy", "--name", "first")
    assert data["phase"] == "succeeded"
    assert data["result"] == {"squares": [0, 1, 4], "kind": "fancy"}
    assert data["inputs"]["n"] == 3


def test_a_failed_run_shows_the_remote_traceback_and_exits_with_1(cli, pipeline):
    done = cli("run", pipeline, "main", "--fail", "--name", "bad", code=1)
    assert "KeyError" in done.stderr
    assert "raise KeyError" in done.stderr
    assert "bad failed" in done.stdout
    assert "perdure resume bad" in done.stdout


def test_same_name_and_inputs_give_the_result_again(cli, pipeline):
    first = cli.json("run", pipeline, "main", "--name", "one")
    assert cli.json("run", pipeline, "main", "--name", "one") == first
    done = cli("run", pipeline, "main", "--n", "5", "--name", "one", code=2)
    assert "other inputs" in done.stderr
    done = cli("run", pipeline, "square", "--x", "5", "--name", "one", code=2)
    assert "demo.main, not demo.square" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.py"], "there is no file 'nowhere.py'"),
        (["no.such.module"], "neither a file nor a module"),
        (["--image", "a=b", "{pipeline}"], "no option --image before FILE"),
        (["{pipeline}", "mian"], "did you mean 'main'"),
        (["{pipeline}", "main", "--m", "3"], "No such option"),
        (["{pipeline}", "main", "--n", "three"], "'three' is not a whole number"),
        (["{pipeline}", "main", "--kind", "dull"], "choose one of"),
        (["{pipeline}", "square"], "Missing option '--x'"),
        (["{pipeline}", "main", "--engine", "ray"], "ray"),
        (["{pipeline}", "main", "--name", "a b"], "'a b'"),
        (["{pipeline}", "main", "--env", "A"], "NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(cli, pipeline, arguments, complaint, home):
    done = cli("run", *(each.format(pipeline=pipeline) for each in arguments), code=2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "journal.db").exists()


def test_help_of_a_task_shows_its_parameters(cli, pipeline):
    text = " ".join(cli("run", pipeline, "main", "--help").stdout.split())
    assert "Square a few numbers." in text
    assert "--n INTEGER How many. [default: 3]" in text
    assert "--kind PLAIN|FANCY Which kind." in text
    assert "--name TEXT" in text


def test_a_file_that_does_not_load_shows_the_users_own_lines(cli, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import perdure\nx = 1 / 0\n")
    done = cli("run", path, code=1)
    assert "ZeroDivisionError" in done.stderr
    assert "x = 1 / 0" in done.stderr
    assert "perdure/cli" not in done.stderr


def test_show_ls_and_logs_tell_of_a_run(cli, pipeline):
    cli("run", pipeline, "main", "--name", "r")
    listed = cli.json("ls")
    assert [(each["name"], each["phase"]) for each in listed] == [("r", "succeeded")]
    assert "r" in cli("ls").stdout
    shown = cli.json("show", "r")
    assert shown["counts"] == {"demo.main": {"succeeded": 1}, "demo.square": {"succeeded": 3}}
    tree = cli("show", "r").stdout
    assert "demo.square" in tree
    action = re.search(r"#(\d+) .*'x': 1", tree)[1]
    one = cli.json("show", "r", action)
    assert (one["phase"], one["inputs"], one["result"]) == ("succeeded", {"x": 1}, 1)
    assert one["log"] == ["squaring 1"]
    assert cli.json("show", "r", one["id"][:8]) == one
    assert "squaring 1" in cli("show", "r", action).stdout
    written = [line.partition(" | ")[2] for line in cli("logs", "r").stdout.splitlines()]
    assert sorted(written) == [f"squaring {n}" for n in range(3)]


def test_names_that_do_not_exist_exit_with_3(cli, pipeline):
    cli("run", pipeline, "main", "--name", "nightly")
    for verb in ("show", "logs", "resume", "rerun", "abort", "watch"):
        done = cli(verb, "nigthly", code=3)
        assert "did you mean nightly" in done.stderr
    assert cli.json("show", "nigthly", code=3)["code"] == "run_not_found"
    cli("show", "nightly", "ffff", code=3)


def test_a_failed_run_is_resumed_and_rerun(cli, pipeline):
    cli("run", pipeline, "main", "--fail", "--name", "r", code=1)
    cli("resume", "r", code=1)
    again = cli.json("rerun", "r", "--no-fail", "--n", "2")
    assert again["parent"] == "r"
    assert again["result"]["squares"] == [0, 1]
    done = cli("rerun", "r", "--months", "3", code=2)
    assert "No such option" in done.stderr


def test_doctor_tells_whether_storage_can_be_reached(cli, monkeypatch, bucket, faults):
    monkeypatch.setenv("PERDURE_STORAGE", f"{bucket}/path")
    found = {each["check"]: each for each in cli.json("doctor")["checks"]}
    assert found["storage"]["text"] == f"{bucket}/path, reached"
    faults.always = {"HEAD": "403"}
    found = {each["check"]: each for each in cli.json("doctor", code=1)["checks"]}
    assert found["storage"]["state"] == "error"
    assert "AWS_ACCESS_KEY_ID" in found["storage"]["hint"]


def test_doctor_finds_an_empty_home_healthy_and_a_file_in_its_place_not(cli, home, monkeypatch):
    assert cli.json("doctor")["ok"] is True
    home.parent.joinpath("file").write_text("")
    monkeypatch.setenv("PERDURE_HOME", str(home.parent / "file"))
    checks = {each["check"]: each for each in cli.json("doctor", code=1)["checks"]}
    assert checks["home"]["state"] == "error"


UNGUARDED = """
import perdure
env = perdure.TaskEnvironment("demo")
@env.task
def one() -> int: return 1
print(perdure.run(one).result())
"""


def test_a_script_that_starts_runs_while_it_is_loaded_is_told_to_guard_them(cli, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    done = cli("run", script, code=2)
    assert "unguarded.py calls perdure.run while it is loaded" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.json("ls") == []
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "unguarded.py calls perdure.run while it is loaded" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr
