"""Weights as Caffe writes them: `.caffemodel`, a protocol buffer `NetParameter` of BVLC's caffe.proto."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

INNER_PRODUCT = ("InnerProduct", "14")
"""a layer's type, in the newer format and in the older one, whose weights are a matrix"""

_MESSAGES = {
    "BlobShape": (("dim", 1, "repeated int64"),),
    "BlobProto": (
        *((name, number, "int32") for number, name in enumerate(("num", "channels", "height", "width"), start=1)),
        ("data", 5, "bytes"),  # packed floats lie in a file as octets do, and need not become Python's floats
        ("shape", 7, "BlobShape"),
    ),
    "LayerParameter": (("name", 1, "string"), ("type", 2, "string"), ("blobs", 7, "repeated BlobProto")),
    "V1LayerParameter": (("name", 4, "string"), ("type", 5, "int32"), ("blobs", 6, "repeated BlobProto")),
    "NetParameter": (("layers", 2, "repeated V1LayerParameter"), ("layer", 100, "repeated LayerParameter")),
}
"""message -> (name, number, type) of the fields that are read; what else a file holds is passed over"""


def tensors_of(content: bytes) -> dict[str, Tensor]:
    """The first two blobs of each layer by `<layer>.weight` and `<layer>.bias`, in float32.

    Raises:
        ImportError: protobuf is not installed.
        ValueError: these are no such weights.
    """
    from google.protobuf.message import DecodeError

    net = _net_parameter()()
    try:
        net.ParseFromString(content)
    except DecodeError:
        raise ValueError("no protocol buffer") from None
    layers = [*net.layers, *net.layer]
    found = {f"{layer.name}.{kind}": tensor for layer in layers for kind, tensor in _named(layer)}
    if not found:
        raise ValueError("no layer with weights")
    return found


def _named(layer: Any) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401 - a message that is made at run time
    for kind, blob in zip(("weight", "bias"), layer.blobs, strict=False):
        shape = tuple(blob.shape.dim)
        if not blob.HasField("shape"):
            four = (blob.num, blob.channels, blob.height, blob.width)
            shape = four[3:] if kind == "bias" else four[2:] if str(layer.type) in INNER_PRODUCT else four
        numbers = np.frombuffer(blob.data, dtype="<f4") if len(blob.data) % 4 == 0 else None
        if numbers is None or min(shape, default=0) < 1 or numbers.size != np.prod(shape, dtype=object):
            raise ValueError(f"{kind} of layer {layer.name!r} are not the numbers that its shape {shape} says")
        yield kind, torch.from_numpy(numbers.reshape(shape).copy())


@cache
def _net_parameter() -> type[Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package="caffe", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, said in fields:
            kind = said.removeprefix("repeated ")
            made = described.field.add(
                name=name, number=number, label=field.LABEL_REPEATED if kind != said else field.LABEL_OPTIONAL
            )
            if kind in _MESSAGES:
                made.type, made.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                made.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made_class: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
    return made_class
