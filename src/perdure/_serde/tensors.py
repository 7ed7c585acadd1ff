"""torch: tensors, parameters and whatever holds them.

The bytes of a tensor are stored as a safetensors file that holds this one tensor: written from
where they lie, and mapped by whoever reads them. A tensor may be written to, so a reader's mapping
is private: the system copies the pages that are changed, and nobody else sees it. Tensors arrive on
the CPU, whatever device they were on.
"""

import json
from typing import TYPE_CHECKING

import torch

from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import BY_REFERENCE, RESOLVERS, EncodeHandler, decodes, encodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_NAME = "tensor"
_ALIGNMENT = 64
_CLASSES = {cls.__name__: cls for cls in (torch.Tensor, torch.nn.Parameter)}
_MARKS = {"_is_buffer", "_is_param", "persistent"}  # of parts of a module, which knows them anyway
_SAFETENSORS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32",
    "int32": "I32", "uint64": "U64", "int64": "I64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
    "float64": "F64", "complex64": "C64",
}  # fmt: skip
"""Types by torch's names and the file format's; what the format lacks is stored as bytes."""


@encodes(*_CLASSES.values())
def _tensor(writer: "Writer", value: torch.Tensor) -> Ext:
    if not _is_plain(value):
        return encode_pickle(writer, value)
    dtype = str(value.dtype).removeprefix("torch.")
    # What is pending, such as a conjugation, is carried out; what is scattered becomes contiguous.
    data = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    raw = data.reshape(-1).view(torch.uint8).numpy().data if data.numel() else b""
    buffer = writer.buffer(_header(dtype, data.shape, len(raw)), raw)
    kind = type(value).__name__
    return writer.node(f.TENSOR, (dtype, tuple(data.shape), buffer, kind, value.requires_grad))


BY_REFERENCE.update(_CLASSES.values())


def _is_plain(value: torch.Tensor) -> bool:
    """Whether bytes, type and shape are all there is to it."""
    return (
        value.layout is torch.strided
        and not value.is_quantized
        and not value.is_meta
        and not value.is_nested
        and not (set(vars(value)) - _MARKS)
    )


def _header(dtype: str, shape: tuple[int, ...], size: int) -> bytes:
    """Return what precedes the bytes in the file: its own length, then JSON; aligned."""
    stored = _SAFETENSORS.get(dtype)
    content = {
        "dtype": stored or "U8",
        "shape": [*shape] if stored else [size],
        "data_offsets": [0, size],
    }
    text = json.dumps({_NAME: content}, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


@decodes(f.TENSOR)
def _to_tensor(reader: "Reader", payload: memoryview) -> torch.Tensor:
    dtype, shape, file, kind, requires_grad = reader.decode_private(payload)
    start = 8 + int.from_bytes(file[:8], "little")
    kind_of_number = getattr(torch, dtype)
    if len(file) > start:
        flat = torch.frombuffer(file[start:], dtype=torch.uint8).view(kind_of_number)
    else:
        flat = torch.empty(0, dtype=kind_of_number)
    data = flat.reshape(shape)
    if kind == "Parameter":
        return torch.nn.Parameter(data, requires_grad)
    return data.requires_grad_(requires_grad)


@encodes(torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout)
def _constant(writer: "Writer", value: object) -> Ext:
    return encode_pickle(writer, value, warn=False)


def _resolve(cls: type) -> EncodeHandler | None:
    return _module if issubclass(cls, torch.nn.Module) else None


def _module(writer: "Writer", value: torch.nn.Module) -> Ext:
    return encode_pickle(writer, value)


RESOLVERS.append(_resolve)
