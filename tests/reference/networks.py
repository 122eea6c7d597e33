"""Appendix A: the extractor, and ResNet's block as the classifier has it, in plain loops over output cells."""

import math
from collections.abc import Mapping

import numpy as np

from tests.reference.arithmetic import Array

BATCH_NORM_EPSILON = 1e-5


def convolution(
    x: Array, weight: Array, bias: Array | None, *, stride: int = 1, padding: int, dilation: int = 1
) -> Array:
    """(D, h, w) and (E, D, k, k) -> (E, h', w'); what lies outside the map is 0."""
    _, height, width = x.shape
    outs, _, kernel, _ = weight.shape
    reach = dilation * (kernel - 1)
    rows, columns = ((side + 2 * padding - reach - 1) // stride + 1 for side in (height, width))
    y = np.zeros((outs, rows, columns))
    for p in range(rows):
        for q in range(columns):
            for i in range(kernel):
                for j in range(kernel):
                    row, column = p * stride - padding + i * dilation, q * stride - padding + j * dilation
                    if 0 <= row < height and 0 <= column < width:
                        y[:, p, q] += weight[:, :, i, j] @ x[:, row, column]
    return y if bias is None else y + bias[:, None, None]


def max_pool(x: Array, kernel: int, *, stride: int, padding: int = 0, count_cut_off: bool = False) -> Array:
    """The largest of each window; with `count_cut_off`, as in Caffe, a window that is cut off at the end counts too."""
    _, height, width = x.shape
    whole = math.ceil if count_cut_off else math.floor
    rows, columns = (whole((side + 2 * padding - kernel) / stride) + 1 for side in (height, width))
    y = np.zeros((len(x), rows, columns))
    for p in range(rows):
        for q in range(columns):
            top, left = p * stride - padding, q * stride - padding
            window = x[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            y[:, p, q] = window.max(axis=(1, 2))
    return y


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def batch_norm(x: Array, statistics: Mapping[str, Array]) -> Array:
    """By fixed statistics: `weight`, `bias`, `running_mean`, `running_var`."""
    deviation = np.sqrt(statistics["running_var"] + BATCH_NORM_EPSILON)
    normed = (x - statistics["running_mean"][:, None, None]) / deviation[:, None, None]
    return normed * statistics["weight"][:, None, None] + statistics["bias"][:, None, None]


def vgg16_d8(pixels: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of conv2_2, conv3_3, conv4_3 and conv5_3, after their ReLUs.

    VGG16's convolutions with pools of 2x2 after conv1, conv2 and conv3, sizes rounded up; none after conv4, so conv5
    takes every second cell instead.
    """
    x, outputs = pixels, {}
    for block, layers in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        apart = 2 if block == 5 else 1
        for layer in range(1, layers + 1):
            name = f"conv{block}_{layer}"
            x = relu(convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=apart, dilation=apart))
        outputs[name] = x
        if block <= 3:
            x = max_pool(x, 2, stride=2, count_cut_off=True)
    return {name: outputs[name] for name in ("conv2_2", "conv3_3", "conv4_3", "conv5_3")}


def bottleneck(x: Array, weights: Mapping[str, Array], *, stride: int, is_caffes: bool) -> Array:
    """1x1, 3x3, 1x1, each with batch norm, beside a shortcut; Caffe strides in the 1x1, torchvision in the 3x3."""
    first, second = (stride, 1) if is_caffes else (1, stride)

    def unit(x: Array, name: str, *, stride: int, padding: int) -> Array:
        y = convolution(x, weights[f"{name}.conv.weight"], None, stride=stride, padding=padding)
        kinds = ("weight", "bias", "running_mean", "running_var")
        return batch_norm(y, {kind: weights[f"{name}.norm.{kind}"] for kind in kinds})

    branch = relu(unit(x, "unit1", stride=first, padding=0))
    branch = relu(unit(branch, "unit2", stride=second, padding=1))
    branch = unit(branch, "unit3", stride=1, padding=0)
    is_projected = "shortcut.conv.weight" in weights
    return relu(branch + (unit(x, "shortcut", stride=stride, padding=0) if is_projected else x))


def resized(mask: Array, height: int, width: int) -> Array:
    """Bilinear, (h, w) -> (height, width); corners of the two rectangles lie on each other, centres of cells do not."""
    y = np.zeros((height, width))
    for p in range(height):
        for q in range(width):
            row = min(max((p + 0.5) * mask.shape[0] / height - 0.5, 0), mask.shape[0] - 1)
            column = min(max((q + 0.5) * mask.shape[1] / width - 0.5, 0), mask.shape[1] - 1)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, mask.shape[0] - 1), min(left + 1, mask.shape[1] - 1)
            above = mask[top, left] * (1 - (column - left)) + mask[top, right] * (column - left)
            below = mask[bottom, left] * (1 - (column - left)) + mask[bottom, right] * (column - left)
            y[p, q] = above * (1 - (row - top)) + below * (row - top)
    return y
