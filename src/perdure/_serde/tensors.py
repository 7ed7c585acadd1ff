"""torch: tensors in the memory of the host, through numpy.

They are copied when they are read: torch would let a program write to the read-only original.
"""

from typing import TYPE_CHECKING, Any

import torch

from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import decodes, encodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


@encodes(torch.Tensor)
def _tensor(writer: "Writer", value: Any) -> Ext:
    plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.requires_grad:
        return encode_pickle(writer, value)
    name = str(value.dtype).removeprefix("torch.")
    raw = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return writer.node(f.TENSOR, (name, tuple(value.shape), writer.buffer(raw.data)))


@decodes(f.TENSOR)
def _to_tensor(reader: "Reader", payload: memoryview) -> Any:
    name, shape, buffer = reader.decode(payload)
    dtype = getattr(torch, name)
    if not len(buffer):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(buffer), dtype=dtype).reshape(shape)
