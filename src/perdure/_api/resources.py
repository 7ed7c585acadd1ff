"""What tasks need: cores, memory, GPUs and whatever else there is a limited amount of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perdure._api import growth
from perdure._core.model import Demand
from perdure._quantity import quantity
from perdure.errors import ConfigurationError, NotSupportedError

_OWN = frozenset({"cpu", "memory", "gpu", "disk", "shm", "device"})


def refuse(option: str, *, hint: str = "leave it out") -> NotSupportedError:
    """Return the error for an option that is known but not built yet."""
    return NotSupportedError(f"the option {option} is not supported yet", hint=hint)


@dataclass(frozen=True, slots=True)
class Device:
    """GPUs of a kind; made by :func:`GPU`.

    Attributes:
        quantity: How many.
        device_class: Always ``"GPU"``: NVIDIA's, as NVML knows them.
        device: Their kind: words of the name that ``nvidia-smi`` shows, such as ``"A100"``,
            ``"A100_80G"``, ``"H100"``.
        partition: Not supported: instances of a device that is split are devices of their own.
    """

    quantity: int
    device_class: str
    device: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        if self.device_class != "GPU":
            raise refuse(f"Device(device_class={self.device_class!r})", hint='use "GPU"')
        if self.partition is not None:
            raise refuse(
                f"GPU(partition={self.partition!r})",
                hint="ask for one: instances of a device that is split count as devices",
            )
        if (self.device or "").endswith(" shared"):
            raise refuse(f"GPU({self.device!r})", hint="ask for a share of a device: gpu=0.5")
        if not isinstance(self.quantity, int) or self.quantity < 1:
            raise ConfigurationError(f"quantity={self.quantity!r} is not a number of devices")


def GPU(device: str, quantity: int, partition: str | None = None) -> Device:  # noqa: N802  # Flyte's
    """Return a request for so many GPUs of a kind, for ``Resources(gpu=...)``.

    Raises:
        NotSupportedError: A partition, or a shared device, was asked for.
    """
    return Device(quantity, "GPU", device, partition)


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt of a task needs while it runs.

    Amounts are numbers, or quantities as Kubernetes has them: ``"500m"``, ``"512Mi"``, ``"2Gi"``.

    Attributes:
        cpu: Cores; fractions are fine. ``None``: 1.
        memory: Bytes. ``None``: not declared. An attempt that uses more than it declared is
            stopped.
        gpu: Devices: a whole number, or a share of one (``0.25``); with their kind ``"T4:1"`` or
            ``GPU("T4", 1)``. The worker sees these devices and no others. ``None``: none.
        disk: Bytes of the file system that the home is on. ``None``: not declared.
        shm: Bytes of shared memory; ``"auto"``: not declared.
        custom: Amounts of what the machine was declared to have in ``PERDURE_RESOURCES``, by name:
            ``{"licence": 1}``.
    """

    cpu: float | str | None = 1
    memory: int | str | None = None
    gpu: float | str | Device | None = 0
    disk: int | str | None = None
    shm: int | str | Literal["auto"] | None = None
    custom: Mapping[str, float | str] | None = None

    def __post_init__(self) -> None:
        for option in ("cpu", "memory"):
            if isinstance(getattr(self, option), tuple):
                raise refuse(
                    f"Resources({option}=(min, max))",
                    hint=f"give one number: {option}={_least(self, option)!r}",
                )
        if self.custom is not None:
            object.__setattr__(self, "custom", _frozen(self.custom))
        if isinstance(self.memory, str) and growth.is_relative(self.memory):
            growth.check(self.memory)
        else:
            self.demand()

    def demand(self) -> Demand:
        """Return the request in plain numbers."""
        gpu, device = _gpu(self.gpu)
        shm = None if self.shm == "auto" else self.shm
        custom = self.custom or {}
        return Demand(
            cpu=1.0 if self.cpu is None else quantity("cpu", self.cpu),
            memory=_bytes("memory", self.memory),
            gpu=gpu,
            disk=_bytes("disk", self.disk),
            shm=_bytes("shm", shm),
            custom=tuple(
                (name, amount)
                for name in sorted(custom)
                if (amount := quantity(f"custom: {name}", custom[name]))
            ),
            device=device,
        )

    def __hash__(self) -> int:
        custom = tuple(sorted((self.custom or {}).items()))
        return hash((self.cpu, self.memory, self.gpu, self.disk, self.shm, custom))


def _least(resources: Resources, option: str) -> Any:
    return next(iter(getattr(resources, option)), 1)


def _bytes(option: str, amount: object) -> int:
    return 0 if amount is None else round(quantity(option, amount))


def _frozen(custom: object) -> dict[str, float | str]:
    if not isinstance(custom, Mapping) or not all(isinstance(name, str) for name in custom):
        raise ConfigurationError(
            f"custom={custom!r} must map names to amounts", hint='custom={"licence": 1}'
        )
    if taken := _OWN & set(custom):
        name = min(taken)
        raise ConfigurationError(
            f"custom={{{name!r}: ...}}: {name} is no custom resource",
            hint=f"write Resources({name}=...)",
        )
    return dict(custom)


def _gpu(asked: object) -> tuple[float, str]:
    """Return how many devices are asked for, and of which kind."""
    if isinstance(asked, Device):
        return float(asked.quantity), asked.device or ""
    if isinstance(asked, str) and not asked.replace(".", "", 1).isdigit():
        kind, colon, count = asked.rpartition(":")
        if not colon or not count.isdigit():
            kind, count = asked, "1"
        device = GPU(kind, int(count))
        return float(device.quantity), kind
    gpu = 0.0 if asked is None else quantity("gpu", asked)
    if gpu > 1 and gpu != int(gpu):
        raise ConfigurationError(
            f"gpu={asked!r} is not a number of devices",
            hint="give a whole number, or a share of one device: gpu=0.25",
        )
    return gpu, ""
