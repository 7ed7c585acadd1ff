"""``perdure.logger``: a logger for tasks, shown from INFO on without any set-up.

It is an ordinary logger (``perdure.user``): once the program configures logging, its records go
where all others go.
"""

import logging
import sys


class _UntilConfigured(logging.Handler):
    """Writes to stderr, which may be replaced meanwhile, unless logging has been configured."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if logging.getLogger().handlers:
            return
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def _make() -> logging.Logger:
    made = logging.getLogger("perdure.user")
    made.setLevel(logging.INFO)
    handler = _UntilConfigured()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    made.addHandler(handler)
    return made


logger = _make()
