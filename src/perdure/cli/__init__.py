"""The command line: ``perdure run``, ``show``, ``logs`` and the other verbs of the daily loop."""


def main() -> None:
    """Entry point of the ``perdure`` script."""
    from perdure.cli.root import root

    root(prog_name="perdure")
