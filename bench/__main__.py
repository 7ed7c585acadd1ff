"""``python bench``: every workload, each in a process and a home of its own.

Figures are of this machine, as it is now, and durable (``PERDURE_DURABILITY``, default ``full``).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

ONE_TASK = """
import perdure
env = perdure.TaskEnvironment("cold")
@env.task
def hello(name: str) -> str:
    return f"hello {name}"
if __name__ == "__main__":
    print(perdure.run(hello, name="you").result())
"""


def timed(command: list[str], home: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=os.environ | {"PERDURE_HOME": str(home)}, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - start


def whole_processes(folder: Path) -> None:
    """Cold start of a one-task script, and of the import."""
    script = folder / "one_task.py"
    script.write_text(ONE_TASK)
    for name, command in (
        ("python -c pass", [sys.executable, "-c", "pass"]),
        ("import perdure", [sys.executable, "-c", "import perdure"]),
        ("one-task script", [sys.executable, str(script)]),
    ):
        seconds = sorted(timed(command, folder / "home") for _ in range(5))
        print(json.dumps({"workload": name, "median_s": round(seconds[2], 3)}), flush=True)


def main(names: list[str]) -> None:
    import tempfile

    import workloads

    with tempfile.TemporaryDirectory() as folder:
        if not names:
            whole_processes(Path(folder))
    for name in names or workloads.WORKLOADS:
        subprocess.run([sys.executable, str(HERE / "one.py"), name], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
