"""A worker's secrets: into its environment, and out of everything it shows."""

import atexit
import os
from collections.abc import Sequence
from pathlib import Path

from perdure._secrets import masking
from perdure._secrets.masking import Mask
from perdure._wire.messages import SecretValue


def adopt(secrets: Sequence[SecretValue]) -> Mask:
    """Set the environment variables; return the mask that this process uses from now on."""
    for each in secrets:
        value = _file(each.value) if each.is_file else each.value
        os.environb[each.variable.encode()] = value
    mask = Mask({each.variable: each.value for each in secrets})
    masking.install(mask)
    return mask


def _file(value: bytes) -> bytes:
    """Return the path of a file with the value that ends with this process."""
    if not hasattr(os, "memfd_create"):  # not Linux
        import shutil
        import tempfile

        folder = tempfile.mkdtemp(prefix="perdure-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "secret"
        path.touch(0o600)
        path.write_bytes(value)
        return bytes(path)
    descriptor = os.memfd_create("secret")
    os.fchmod(descriptor, 0o600)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(value)
    return f"/proc/{os.getpid()}/fd/{descriptor}".encode()
