"""Which networks: the shared extractor f^E, both branches, and the adversarial classifier f^C."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import RelativePath

Width = Annotated[int, Field(ge=1, le=8192)]


class WeightsFile(FrozenConfig):
    """Pretrained weights, below the weights root."""

    path: RelativePath
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """checked before the file is used; null: not checked"""


Convention = Literal["torchvision", "caffe", "fast_rcnn"]
"""How a file's weights were trained, which its tensors do not tell: `torchvision`, on RGB over mean and deviation;
`caffe`, on BGR in [0, 255] less the means of VGG's authors (103.939, 116.779, 123.68); `fast_rcnn`, the same less Fast
R-CNN's means (102.9801, 115.9465, 122.7717), as OICR does. In Caffe's ResNets a block's stride is in its first 1x1
convolution, in torchvision's in the 3x3. It is part of the network, also where no weights are named."""


class Vgg16Backbone(FrozenConfig):
    """VGG16 with pool4 removed and conv5 dilated: stride 8, 512 channels (paper, appendix A)."""

    kind: Literal["vgg16_d8"] = "vgg16_d8"
    weights: WeightsFile | None = None
    convention: Convention = "torchvision"
    frozen: Literal["none", "conv1", "conv2", "conv3", "conv4"] = "conv2"
    """everything up to and with this block keeps its weights"""
    stride: Literal[8, 16] = 8
    """pixels a cell of x; 16 keeps pool4 and dilates nothing, as VGG16 was published and Fast R-CNN uses it"""
    recompute_blocks: bool = False
    """a block's inner maps are computed again in the backward instead of kept: less memory, one more forward"""


class SmallVggBackbone(FrozenConfig):
    """A narrow VGG at stride 8 for a CPU: four blocks, batch norm while it learns image labels, frozen after."""

    kind: Literal["small_vgg"] = "small_vgg"
    widths: tuple[Width, Width, Width, Width] = (24, 32, 64, 80)


class SqueezeNetBackbone(FrozenConfig):
    """SqueezeNet 1.1 to fire9 at stride 8 (pool3 at stride 1, fires 6-9 dilated), 512 channels."""

    kind: Literal["squeezenet1_1"] = "squeezenet1_1"
    weights: WeightsFile | None = None
    frozen: Literal["none", "fire3", "fire5", "fire7", "fire9"] = "fire5"
    """everything up to and with this module keeps its weights"""


class MobileNetBackbone(FrozenConfig):
    """MobileNetV2 1.0: layers that would stride further are dilated instead; weights with batch norm folded in."""

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"
    weights: WeightsFile | None = None
    frozen: Literal["none", "block3", "block6", "block13", "block17", "all"] = "block13"
    """everything up to and with this block keeps its weights"""
    stride: Literal[8, 16] = 8
    """pixels a cell of the last map"""
    features: Literal["block17", "head"] = "head"
    """the last map: the last block, 320 channels, or the convolution that ImageNet's classes are read from, 1280"""


BackboneConfig = Annotated[
    Vgg16Backbone | SmallVggBackbone | SqueezeNetBackbone | MobileNetBackbone, Field(discriminator="kind")
]


class ResNet101Classifier(FrozenConfig):
    """ResNet-101, masked after layer3 (res4b22), batch norm frozen (paper, section 4.1)."""

    kind: Literal["resnet101"] = "resnet101"
    weights: WeightsFile | None = None
    convention: Convention = "torchvision"
    recompute_blocks: bool = False
    """before the masks, maps between every third block are computed again in the backward instead of kept"""
    mask_chunk: int | None = Field(default=None, ge=1)
    """in training, at most so many masked maps pass layer4 together, and pass it again in the backward; null: all at
    once, kept"""


class SmallResNetClassifier(FrozenConfig):
    """A narrow residual network for a CPU, masked in the middle at stride 8."""

    kind: Literal["small_resnet"] = "small_resnet"
    widths: tuple[Width, Width, Width, Width, Width] = (16, 32, 48, 64, 64)
    """the mask is applied after the second"""


class SqueezeNetClassifier(FrozenConfig):
    """SqueezeNet 1.1 masked after fire5 (stride 8); fires 6-9 and the classifier learn."""

    kind: Literal["squeezenet1_1"] = "squeezenet1_1"
    weights: WeightsFile | None = None


class MobileNetClassifier(FrozenConfig):
    """MobileNetV2 masked after block 6 (stride 8); blocks 7-17, the head and the classifier learn."""

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"
    weights: WeightsFile | None = None


ClassifierConfig = Annotated[
    ResNet101Classifier | SmallResNetClassifier | SqueezeNetClassifier | MobileNetClassifier,
    Field(discriminator="kind"),
]


class DetectionConfig(FrozenConfig):
    """f^D: RoI pooling, two hidden layers, MIDN and the refinements."""

    roi_grid: int = Field(default=7, ge=1, le=14)
    """bins a side of the RoI max pooling"""
    hidden: Width = 4096
    """width of the two fully connected layers"""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    proposal_chunk: int | None = Field(default=None, ge=1)
    """in training, at most so many proposals are pooled and pass the hidden layers together, and once more in the
    backward: less memory, one more forward; null: all at once, kept"""
    refinements: int = Field(default=3, ge=0, le=8)
    """K online instance classifiers; 0 is WSDDN, which detects with its MIDN scores"""
    box_regression: bool = False
    """whether each refinement also learns to move proposals onto their seed, for each class by itself, and detects with
    the moved boxes; false: boxes are the proposals, as in the paper. MIST (Ren et al. CVPR 2020) has it and reports
    54.9 mAP on VOC 2007 with its other parts"""

    @model_validator(mode="after")
    def _a_refinement_regresses(self) -> Self:
        if self.box_regression and self.refinements == 0:
            raise ValueError(
                "box_regression is the refinements': set refinements to 1 or more, or box_regression to false"
            )
        return self


class SegmentationConfig(FrozenConfig):
    """f^S: laterals, top-down sums and the RefineNet of CPN, with group norm."""

    levels: int = Field(default=3, ge=1, le=4)
    """how many of the backbone's last feature maps it reads, the finest gets no bottleneck; 1 reads x alone"""
    channels: Width = 256
    bottleneck: Width = 128
    groups: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> Self:
        for field in ("channels", "bottleneck"):
            if getattr(self, field) % self.groups:
                raise ValueError(f"{field} ({getattr(self, field)}) must be a multiple of groups ({self.groups})")
        return self


class ModelConfig(FrozenConfig):
    backbone: BackboneConfig = Vgg16Backbone()
    detection: DetectionConfig = DetectionConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    classifier: ClassifierConfig = ResNet101Classifier()
