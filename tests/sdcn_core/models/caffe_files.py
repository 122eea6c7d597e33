"""Files as Caffe writes them, by the protocol buffers' own encoding."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

Layer = tuple[str, str, Sequence[Tensor]]
"""name, type, blobs"""


def caffemodel(layers: Iterable[Layer]) -> bytes:
    """In the newer format: NetParameter.layer, shapes of any length."""
    return field(1, b"net") + b"".join(field(100, _layer(*layer)) for layer in layers)


def old_caffemodel(layers: Iterable[tuple[str, int, Sequence[Tensor]]]) -> bytes:
    """In the older one: NetParameter.layers, types by number, four sides to each shape."""
    net = b""
    for name, number, blobs in layers:
        content = field(4, name.encode()) + varint(5 << 3) + varint(number)
        net += field(2, content + b"".join(field(6, _blob(blob, old=True)) for blob in blobs))
    return net


def field(number: int, content: bytes) -> bytes:
    """A field of some length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    septets = []
    while True:
        value, septet = value >> 7, value & 0x7F
        septets.append(septet | (0x80 if value else 0))
        if not value:
            return bytes(septets)


def _layer(name: str, kind: str, blobs: Sequence[Tensor]) -> bytes:
    bottom = field(3, b"data")  # what a network has besides and no weights need
    return (
        field(1, name.encode()) + field(2, kind.encode()) + bottom + b"".join(field(7, _blob(blob)) for blob in blobs)
    )


def _blob(blob: Tensor, *, old: bool = False) -> bytes:
    numbers = field(5, blob.numpy().astype("<f4").tobytes())
    if not old:
        return numbers + field(7, field(1, b"".join(varint(side) for side in blob.shape)))
    four = (*torch.ones(4 - blob.dim(), dtype=torch.int).tolist(), *blob.shape)
    return b"".join(varint(number << 3) + varint(side) for number, side in enumerate(four, start=1)) + numbers
