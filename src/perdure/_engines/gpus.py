"""The GPUs this process may use, as NVML and ``CUDA_VISIBLE_DEVICES`` tell.

A device is known by a name that makes it visible to a worker process when it is put into its
``CUDA_VISIBLE_DEVICES``: if this process has that variable, one of the entries there, otherwise an
index, or the UUID of an instance of a device that is split (MIG).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure._core.model import Device

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def devices_here() -> tuple[Device, ...]:
    """Return the NVIDIA devices this process may use; none if NVML cannot be asked."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return ()
    try:
        import pynvml  # of nvidia-ml-py
    except ImportError:
        return visible((), os.environ.get(_VISIBLE))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return visible(tuple(_found(pynvml)), os.environ.get(_VISIBLE))
    finally:
        pynvml.nvmlShutdown()


def _found(nvml: Any) -> Iterator[tuple[Device, str]]:
    """Yield all devices of the machine with their UUIDs."""
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        instances = list(_instances(nvml, handle))
        yield from instances or [
            (Device(str(index), _text(nvml.nvmlDeviceGetName(handle))), _uuid(nvml, handle))
        ]


def _instances(nvml: Any, handle: Any) -> Iterator[tuple[Device, str]]:
    """Yield the instances of a device that is split."""
    with contextlib.suppress(nvml.NVMLError):  # not split, or it cannot be
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return
        for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(nvml.NVMLError):
                instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
                uuid = _uuid(nvml, instance)
                yield Device(uuid, _text(nvml.nvmlDeviceGetName(instance))), uuid


def _uuid(nvml: Any, handle: Any) -> str:
    return _text(nvml.nvmlDeviceGetUUID(handle))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def visible(found: tuple[tuple[Device, str], ...], setting: str | None) -> tuple[Device, ...]:
    """Return those of the devices that ``CUDA_VISIBLE_DEVICES`` leaves, by its names for them.

    Args:
        found: What the machine has, in order, with UUIDs; empty if that is not known.
        setting: Value of the variable; None: it is not set.
    """
    if setting is None:
        return tuple(device for device, _ in found)
    left = []
    for name in filter(None, (entry.strip() for entry in setting.split(","))):
        device = _named(found, name)
        if device is None and found:
            break  # CUDA, too, stops at the first that is none
        left.append(Device(name, device.kind if device else ""))
    return tuple(left)


def _named(found: tuple[tuple[Device, str], ...], name: str) -> Device | None:
    """Return the device of that index, or with a UUID that begins like that."""
    if name.isdigit():
        return found[int(name)][0] if int(name) < len(found) else None
    return next((device for device, uuid in found if uuid.startswith(name)), None)
