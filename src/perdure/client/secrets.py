"""Whether the secrets of a run can be had, asked before it starts."""

from perdure._core.records import RunRow
from perdure._secrets.sources import Sources
from perdure.client import link
from perdure.errors import PerdureError


def check_secrets(row: RunRow) -> None:
    """Refuse to start a run whose root task would not find its secrets.

    Those of other tasks are looked for when they are first called.

    Raises:
        SecretNotFoundError: One is nowhere.
        ConfigurationError: Others can read what is kept in the home.
    """
    try:
        Sources(link.config().home).values(row.spec.reuse.secrets, row.bundle)
    except PerdureError as error:
        error.task = row.spec.name
        raise
