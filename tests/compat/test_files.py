"""Files as Flyte 2 has them."""

import flyte_files

import perdure


def test_the_examples_of_the_manual_run(tmp_path):
    (tmp_path / "existing").write_text("was there")
    run = perdure.run(flyte_files.main, str(tmp_path / "existing"))
    assert run.result(timeout=60) == [
        "Hello, World!", "col1,col2\n1,2\n3,4\n", "5,6\n", True, 3,
        ["file0.txt", "file1.txt", "file2.txt"], "2", "was there",
    ]  # fmt: skip
