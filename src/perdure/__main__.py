"""``python -m perdure``: the same as the ``perdure`` script."""

from perdure.cli import main

if __name__ == "__main__":
    main()
