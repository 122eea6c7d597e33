"""How long, how fast, in which stages. A step is one optimizer step, never a forward."""

from typing import Annotated, Literal

from pydantic import Field

from sdcn_core.config.base import FrozenConfig

Steps = Annotated[int, Field(ge=0, le=10_000_000)]
Rate = Annotated[float, Field(gt=0, le=10)]
Precision = Literal["fp32", "tf32", "bf16"]


class LabelTrainingConfig(FrozenConfig):
    """Training of one network on image labels alone, with Adam or SGD: step 1 of the paper, and the
    stand-in for ImageNet weights where a backbone starts from scratch.
    """

    steps: Steps = 0
    images_per_step: int = Field(default=16, ge=1, le=4096)
    """over all workers"""
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Rate = 5e-4
    decay: Literal["constant", "cosine"] = "constant"
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    image_size_px: int | None = Field(default=None, ge=16, le=2048)
    """images are squeezed to squares of this side, so that one batch holds them all; null: the detector's own scales,
    size by size"""


class ScheduleConfig(FrozenConfig):
    backbone: LabelTrainingConfig = LabelTrainingConfig()
    """f^E on image labels; 0 steps where pretrained weights are loaded"""
    classifier: LabelTrainingConfig = LabelTrainingConfig(steps=6000)
    """step 1: f^C on image labels"""
    apart_steps: Steps = 10_000
    """step 2: both branches without collaboration"""
    loop_steps: Steps = 70_000
    """step 3: the collaboration loop closed"""

    images_per_step: int = Field(default=2, ge=1, le=1024)
    """over all workers, in stages apart and loop"""
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Rate = 1e-3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """of SGD"""
    caffe_momentum: bool = False
    """where the rate of f^E, f^S and f^D changes, SGD's momentum keeps the old rate for the steps under way, as Caffe's
    does; false: the new rate applies to all of it, as torch's does. They agree where the rate is constant"""
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    """on weights; biases and norms have none"""
    bias_factor: Rate = 2.0
    """biases learn this much faster"""
    refinement_factor: Rate = 10.0
    """the refinement heads learn this much faster"""
    segmentation_factor: Rate = 1.0
    """f^S learns this much faster"""
    classifier_learning_rate: Rate = 5e-4
    """f^C in stages apart and loop, fixed"""
    decay_at_steps: tuple[Steps, ...] = (40_000,)
    """steps of stage loop at which the rates of f^E, f^S, f^D are multiplied by decay_factor"""
    decay_factor: float = Field(default=0.1, gt=0, le=1)
    warmup_steps: Steps = 0
    """steps over which the rate rises from 0 at the start of stage apart"""
    clip_norm: float | None = Field(default=None, gt=0)
    """gradient norm of f^E, f^S, f^D is clipped here; null: never"""
    precision: Precision = "fp32"
    """of convolutions and hidden layers in every stage: float32; float32 on a GPU's TF32 units; bfloat16 (autocast, GPU
    and CPU). RoI pooling, all that ends in scores, targets, both arrows, losses and weights are float32 in any case,
    and networks are judged in fp32"""

    report_every_steps: int = Field(default=20, ge=1, le=100_000)
    """steps between two progress reports; cancel is noticed there"""
    checkpoint_every_steps: int = Field(default=1000, ge=1, le=1_000_000)
    """at most this many steps are lost when a machine dies; rounded up to a report"""
    gradient_norms_every_steps: int | None = Field(default=None, ge=1)
    """every so many steps of stages apart and loop the norm of each loss term's gradient is measured, over each
    rank's first batch, and averaged over ranks. One more backward a term: such a step takes about three times as long.
    null: never"""
