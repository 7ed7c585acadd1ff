import sys

import perdure

from . import steps


@steps.env.task
def main(x: int) -> int:
    return steps.triple(x) + 1


if __name__ == "__main__":
    print(perdure.run(main, int(sys.argv[1])).result(60))
