"""torch: stored as safetensors, read in place."""

import copy
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from perdure._blobs.local import LocalBlobs
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import checker, dumps, loads, preview

ROWS = 20_000

TENSORS = {
    "float": torch.arange(6.0).reshape(2, 3),
    "number": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "large": torch.arange(float(ROWS)),
    "bfloat16": torch.arange(9.0).to(torch.bfloat16),
    "large bfloat16": torch.arange(float(4 * ROWS)).to(torch.bfloat16).reshape(4, -1),
    "float8": torch.arange(9.0).to(torch.float8_e4m3fn),
    "half": torch.arange(9.0).half(),
    "double": torch.arange(9.0).double(),
    "bool": torch.tensor([True, False]),
    "int8": torch.arange(9, dtype=torch.int8),
    "uint16": torch.arange(9).to(torch.uint16),
    "int64": torch.arange(9),
    "complex": torch.tensor([1 + 2j]),
    "complex128": torch.tensor([1 + 2j], dtype=torch.complex128),
    "conjugate": torch.tensor([1 + 2j]).conj(),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "strided": torch.arange(20.0)[::3],
    "expanded": torch.zeros(1).expand(5, 5),
    "gradient": torch.arange(3.0, requires_grad=True),
    "computed": torch.arange(3.0, requires_grad=True) * 2,
    "parameter": torch.nn.Parameter(torch.arange(3.0)),
    "frozen": torch.nn.Parameter(torch.arange(3.0), requires_grad=False),
}


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def passed_on(value: Any, blobs: Any) -> Any:
    encoded = dumps(value, blobs)
    result = loads(encoded.data, blobs)
    assert dumps(result, blobs).digest == encoded.digest
    return result


def digest(value: Any) -> bytes:
    return dumps(value, MemoryBlobs()).digest


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors_come_back_equal(tensor: torch.Tensor, blobs: MemoryBlobs) -> None:
    found = passed_on({"a": [tensor]}, blobs)["a"][0]
    assert type(found) is type(tensor)
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert found.requires_grad == tensor.requires_grad
    raw = [each.detach().contiguous().resolve_conj() for each in (found, tensor)]
    assert torch.equal(*(each.reshape(-1).view(torch.uint8) for each in raw))


def test_the_bytes_of_a_large_tensor_are_written_and_read_in_place(tmp_path: Path) -> None:
    addresses: list[int] = []

    class Watched(LocalBlobs):
        def put(self, parts: Any) -> bytes:
            addresses.extend(
                np.frombuffer(part, np.uint8).ctypes.data for part in parts if len(part)
            )
            return super().put(parts)

    blobs = Watched(tmp_path)
    tensor = torch.arange(float(ROWS))
    encoded = dumps((tensor,), blobs)
    assert len(encoded.data) < 1000
    assert tensor.data_ptr() in addresses
    (found,) = loads(encoded.data, blobs)
    lines = Path("/proc/self/maps").read_text().splitlines() if Path("/proc").exists() else []
    homes = [line for line in lines if _holds(line, found.data_ptr())]
    assert all(str(tmp_path) in line for line in homes)
    assert torch.equal(found, tensor)


def _holds(line: str, address: int) -> bool:
    first, last = (int(each, 16) for each in line.split(maxsplit=1)[0].split("-"))
    return first <= address < last


def test_a_tensor_that_was_read_may_be_changed_and_nobody_else_sees_it(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    data = dumps(torch.zeros(ROWS), blobs).data
    found = loads(data, blobs)
    found += 1
    assert loads(data, blobs).sum() == 0
    small = loads(dumps(torch.zeros(3), blobs).data, blobs)
    small += 1
    assert small.sum() == 3


def test_what_is_stored_is_a_safetensors_file(blobs: MemoryBlobs) -> None:
    for name in ("large", "large bfloat16"):
        encoded = dumps(TENSORS[name], blobs)
        (content,) = (bytes(blobs.get(each)) for each in encoded.blobs)
        (found,) = safetensors.torch.load(content).values()
        assert torch.equal(found, TENSORS[name])
        assert safetensors.deserialize(content)[0][1]["dtype"] in ("F32", "BF16")


def test_the_digest_of_a_tensor_is_that_of_its_content() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    assert digest(tensor) == digest(tensor.T.contiguous().T) == digest(tensor.clone())
    others = [tensor.double(), tensor.reshape(3, 2), tensor + 1, torch.nn.Parameter(tensor)]
    others += [tensor.clone().requires_grad_(), tensor.to(torch.bfloat16)]
    assert len({digest(tensor), *map(digest, others)}) == len(others) + 1


class Net(torch.nn.Module):
    def __init__(self, width: int = 200) -> None:
        super().__init__()
        self.first = torch.nn.Linear(width, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.last = torch.nn.Linear(width, width)
        self.last.weight = self.first.weight  # tied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x)))  # type: ignore[no-any-return]


def test_a_state_dict_comes_back(blobs: MemoryBlobs) -> None:
    state = Net().state_dict()
    encoded = dumps({"state": state, "step": 3}, blobs)
    assert len(encoded.blobs) == 1  # that of the tied weights; the others are small
    found = loads(encoded.data, blobs)["state"]
    assert isinstance(found, OrderedDict)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    Net().load_state_dict(found)


def test_tensors_in_a_module_that_is_pickled_are_stored_apart(blobs: MemoryBlobs) -> None:
    net = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = dumps({"net": net}, blobs)
    assert len(encoded.data) < 20_000
    found = loads(encoded.data, blobs)["net"]
    x = torch.ones(2, 200)
    assert torch.equal(found(x), net(x))
    assert found.last.weight is found.first.weight
    found.train()(x).sum().backward()
    assert found.first.weight.grad is not None


def test_what_is_more_than_bytes_is_pickled(blobs: MemoryBlobs) -> None:
    sparse = torch.eye(3).to_sparse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = loads(dumps([sparse], blobs).data, blobs)[0]
    assert torch.equal(found.to_dense(), torch.eye(3))


def test_types_of_torch_are_values(blobs: MemoryBlobs) -> None:
    value = [torch.float32, torch.device("cpu"), torch.Size([2, 3]), torch.channels_last]
    assert loads(dumps(value, blobs).data, blobs) == value


def test_a_tensor_is_shown_by_its_type_and_shape(blobs: MemoryBlobs) -> None:
    assert preview(dumps(TENSORS["bfloat16"], blobs).data) == "Tensor bfloat16 (9,)"


def test_a_copy_of_a_tensor_that_was_read_is_its_own(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    found = loads(dumps(torch.zeros(ROWS), blobs).data, blobs)
    assert copy.deepcopy(found).data_ptr() != found.data_ptr()
    assert checker(torch.Tensor)(found) is found
