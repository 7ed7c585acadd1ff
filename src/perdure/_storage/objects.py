"""Buckets as stores, through ``obstore``: S3, Google Cloud Storage, Azure.

Objects come in parallel ranges and go in parallel parts, so that one of them uses the whole line.
Every request is tried again when the server fails, the connection is cut or nothing comes for a
while; what cannot be had then is told in our words. Credentials, region and endpoint are taken from
the environment variables that the providers document (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME``, ...).
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure._storage.location import Location
from perdure.errors import (
    ConfigurationError,
    FileMissingError,
    StorageAccessError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

PART_BYTES = 8 << 20
PARALLEL = 6
"""Parts on their way at once: with the above, what one transfer may take up in memory."""

_process = 0  # the one whose threads work for obstore: in its forked children there are none

_MOST_PARTS = 9_000  # S3 allows 10,000
_PATIENCE = timedelta(seconds=60)
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


class Objects:
    """The store of one bucket.

    Args:
        scheme: ``s3``, ``gs`` or ``az``.
        bucket: Its name.
        patience: For how long a request is tried again.
    """

    def __init__(self, scheme: str, bucket: str, *, patience: timedelta = _PATIENCE) -> None:
        self._scheme = scheme
        self._bucket = bucket
        self._refuse_fork("")
        try:
            self._store = _opened(scheme, bucket, patience)
        except ConfigurationError:
            raise
        except ImportError as error:
            raise ConfigurationError(
                f"{scheme}://{bucket} needs the package obstore", hint="pip install 'perdure[s3]'"
            ) from error
        except Exception as error:
            raise ConfigurationError(
                f"{scheme}://{bucket} cannot be used: {_first_line(error)}",
                hint=f"check {_VARIABLES[scheme]}",
            ) from error

    def size(self, key: str) -> int | None:
        """Return the size of an object; None if there is none."""
        try:
            with self._explained(key, "read"):
                return int(self._store.head(key)["size"])
        except FileMissingError:
            return None

    def read(self, key: str) -> Iterator[memoryview]:
        """Yield the bytes of an object; one larger than a part comes in parallel."""
        with self._explained(key, "read"):
            found = self._store.get(key)
            size, version = found.meta["size"], found.meta["e_tag"]
            if size <= PART_BYTES:
                yield memoryview(found.bytes())
                return
            del found  # its body is left where it is
            for window in range(0, size, PART_BYTES * PARALLEL):
                end = min(window + PART_BYTES * PARALLEL, size)
                starts = range(window, end, PART_BYTES)
                lengths = [min(PART_BYTES, end - start) for start in starts]
                parts = self._store.get_ranges(key, starts=starts, lengths=lengths, coalesce=0)
                yield from (memoryview(part) for part in parts)
            if self._store.head(key)["e_tag"] != version:
                raise StorageUnavailableError(
                    f"{self._url(key)} was replaced while it was read", hint="read it again"
                )

    def write(self, key: str, content: Path | bytes) -> None:
        """Store an object; a file larger than a part goes in parallel."""
        part = PART_BYTES
        if isinstance(content, Path):
            part = max(part, content.stat().st_size // _MOST_PARTS + 1)
        with self._explained(key, "written"):
            self._store.put(key, content, chunk_size=part, max_concurrency=PARALLEL)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys of the objects below a folder."""
        with self._explained(prefix, "listed"):
            for page in self._store.list(prefix=prefix or None):
                yield from (each["path"] for each in page if each["path"] != prefix)

    def _url(self, key: str) -> str:
        return Location(self._scheme, self._bucket, key).url

    def _refuse_fork(self, key: str) -> None:
        """Refuse what would wait for ever."""
        global _process
        _process = _process or os.getpid()
        if _process != os.getpid():
            raise StorageUnavailableError(
                f"{self._url(key)} cannot be used in a process that was forked by one that uses it",
                hint='start it with multiprocessing.get_context("spawn"), or let it use what its '
                "parent has downloaded",
            )

    @contextlib.contextmanager
    def _explained(self, key: str, verb: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        self._refuse_fork(key)
        try:
            yield
        except FileNotFoundError as error:
            raise FileMissingError(
                f"there is no {self._url(key)}"
                if verb == "read"
                else f"{self._url(key)} cannot be {verb}: there is no bucket {self._bucket}",
                hint="check the URL; the names of buckets and keys are case-sensitive",
            ) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StorageAccessError(
                f"{self._url(key)} may not be {verb} with these credentials: {_first_line(error)}",
                hint=f"check {_VARIABLES[self._scheme]}, and what they allow",
            ) from error
        except BaseError as error:
            raise self._unavailable(key, verb, error) from error

    def _unavailable(
        self, key: str, verb: str, error: Exception
    ) -> StorageAccessError | StorageUnavailableError:
        if _asked_the_machine(error):
            return StorageAccessError(
                f"{self._url(key)} cannot be {verb}: no credentials were found",
                hint=f"set {_VARIABLES[self._scheme]}",
            )
        return StorageUnavailableError(
            f"{self._url(key)} cannot be {verb}: {_first_line(error)}",
            hint="tried for a while; check the network, the region and the endpoint, then resume",
        )


def _opened(scheme: str, bucket: str, patience: timedelta) -> "S3Store | GCSStore | AzureStore":
    from obstore import store

    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=20),
        "timeout": timedelta(minutes=10),  # of a part: as long as something comes, it goes on
    }
    retries: RetryConfig = {"max_retries": 10, "retry_timeout": patience}
    options: dict[str, Any] = {"client_options": client, "retry_config": retries}
    if scheme == "gs":
        return store.GCSStore(bucket, **options)
    if scheme == "az":
        return store.AzureStore(bucket, **options)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    client["allow_http"] = endpoint.startswith("http://")  # who asks for it has reasons
    if provider := _profile_credentials():
        options["credential_provider"] = provider
    return store.S3Store(bucket, **options)


def _profile_credentials() -> Any:
    """Return what reads ``~/.aws``, if that is where credentials are; obstore itself does not."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or not (
        os.environ.get("AWS_PROFILE") or Path("~/.aws/credentials").expanduser().exists()
    ):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise ConfigurationError(
            "credentials of an AWS profile need the package boto3", hint="pip install boto3"
        ) from error
    return Boto3CredentialProvider()


def _asked_the_machine(error: Exception) -> bool:
    """Whether it went as far as asking the cloud's machine for credentials, and there was none."""
    text = str(error)
    return "169.254.169.254" in text or "metadata.google.internal" in text


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
