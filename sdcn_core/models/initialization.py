"""How weights begin where nothing is loaded."""

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

HEAD_DEVIATION = 0.01
"""spread of the first weights of every output layer, as in WSDDN, OICR and CPN"""


BOX_HEAD_DEVIATION = 0.001
"""of layers that say how boxes move, as in Fast R-CNN: at first they hardly do"""


def init_he(module: nn.Module) -> None:
    """Normal weights that keep a ReLU network's variance (He et al. 2015), biases 0, in convolutions and linears."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def init_head(layer: Layer) -> Layer:
    """The layer itself, an output layer: small normal weights, bias 0, so that first scores are near uniform."""
    return _init_normal(layer, HEAD_DEVIATION)


def init_box_head(layer: Layer) -> Layer:
    """The layer itself, which says how boxes move: smaller normal weights, bias 0."""
    return _init_normal(layer, BOX_HEAD_DEVIATION)


def _init_normal(layer: Layer, deviation: float) -> Layer:
    nn.init.normal_(layer.weight, std=deviation)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
