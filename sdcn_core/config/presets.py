"""Named experiments: a docstring says what one shows, what to expect and what it costs.

A preset is a function without arguments. Its first sentence is what `GET /v1/presets` and `sdcn presets` show.
"""

from collections.abc import Callable

from pydantic import JsonValue

from sdcn_core.config.data import DataConfig, ScenesSource, SelectiveSearchConfig, VocSource
from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.methods import oicr
from sdcn_core.config.model import (
    DetectionConfig,
    ModelConfig,
    ResNet101Classifier,
    SegmentationConfig,
    SmallResNetClassifier,
    SmallVggBackbone,
    SqueezeNetBackbone,
    SqueezeNetClassifier,
    Vgg16Backbone,
    WeightsFile,
)
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.config.schedule import LabelTrainingConfig, ScheduleConfig


def voc2007_vgg16() -> ExperimentConfig:
    """SDCN as published, on VOC 2007: VGG16-D8 and ResNet-101, 10k + 70k steps.

    The paper reports 48.3 mAP on test and 66.8 CorLoc on trainval (tables 3 and 4). The folder VOC2007 must lie below
    the data root, torchvision's vgg16.pth and resnet101.pth below the weights root (docs/weights.md tells of others).
    It was never run whole with this code. On one GPU 9 h where it sustains 30 TFLOP/s, computed, not measured
    (docs/paper.md).

        sdcn submit voc2007_vgg16 --gpus 1
    """
    return ExperimentConfig(
        data=DataConfig(
            source=VocSource(path="VOC2007", train_split="trainval", test_split="test"),
            proposals=SelectiveSearchConfig(mode="fast"),
        ),
        model=ModelConfig(
            backbone=Vgg16Backbone(weights=WeightsFile(path="vgg16.pth")),
            classifier=ResNet101Classifier(weights=WeightsFile(path="resnet101.pth")),
        ),
    )


def voc2007_oicr() -> ExperimentConfig:
    """OICR as published, on VOC 2007: VGG16-D8, the detection branch alone, 70k steps. The baseline of every table.

    The paper quotes 41.2 mAP on test and 60.6 CorLoc on trainval (tables 2 to 4). Files as for `voc2007_vgg16`, without
    resnet101.pth. It was never run whole with this code. On one GPU 6 h where it sustains 30 TFLOP/s, computed, not
    measured (docs/paper.md).

        sdcn submit voc2007_oicr --gpus 1
    """
    # OICR has no stage in which branches are apart: its 40k + 30k steps are those of stage loop.
    return voc2007_vgg16().with_overrides(oicr() | {"schedule.apart_steps": 0})


def voc2012_vgg16() -> ExperimentConfig:
    """SDCN as published, on VOC 2012, table 5: as `voc2007_vgg16`, with AP as the area under the curve.

    The paper reports 43.5 mAP on test and 67.9 CorLoc on trainval. Nobody but VOC's server has the boxes of test, for
    which evaluation.comp4 writes the files, so AP is counted on val here: a part of trainval, whose labels the training
    has seen and whose boxes it has not. CorLoc is the paper's, this AP is not; with data.source.train_split=train it is
    a fair one. The folder VOC2012 must lie below the data root. It was never run whole with this code. On one GPU 10 h
    where it sustains 30 TFLOP/s, computed, not measured (docs/paper.md).

        sdcn submit voc2012_vgg16 --gpus 1
    """
    return voc2007_vgg16().with_overrides(
        {
            "data.source": {"kind": "voc", "path": "VOC2012", "train_split": "trainval", "test_split": "val"},
            "evaluation.ap": "area",
        }
    )


def scenes() -> ExperimentConfig:
    """SDCN on the generated benchmark, from scratch, in minutes on two CPU cores.

    Each object carries a part that tells its class by itself, so that labels alone need not teach the whole. Expect
    about 79 mAP and 83 CorLoc, with a standard deviation of 7 over seeds. See the README.
    """
    return ExperimentConfig(
        data=DataConfig(source=ScenesSource(), sampled_proposals=96, train_scales_px=None, dedup_px=None),
        model=ModelConfig(
            backbone=SmallVggBackbone(),
            detection=DetectionConfig(roi_grid=3, hidden=192, dropout=0.0),
            segmentation=SegmentationConfig(levels=3, channels=32, bottleneck=16, groups=8),
            classifier=SmallResNetClassifier(),
        ),
        schedule=ScheduleConfig(
            backbone=LabelTrainingConfig(
                steps=220, images_per_step=16, optimizer="adam", learning_rate=1e-3, decay="cosine", image_size_px=96
            ),
            classifier=LabelTrainingConfig(
                steps=260, images_per_step=16, optimizer="adam", learning_rate=1e-3, decay="cosine", image_size_px=96
            ),
            apart_steps=300,
            loop_steps=300,
            images_per_step=4,
            optimizer="adam",
            learning_rate=5e-4,
            bias_factor=1.0,
            refinement_factor=1.0,
            classifier_learning_rate=3e-4,
            decay_at_steps=(210,),
            warmup_steps=50,
            clip_norm=10.0,
            report_every_steps=10,
            gradient_norms_every_steps=50,
            checkpoint_every_steps=100,
        ),
        evaluation=EvaluationConfig(test_scales_px=None),
    )


def scenes_oicr() -> ExperimentConfig:
    """OICR on the generated benchmark: the detection branch alone, the first row of the paper's table 2."""
    return scenes().with_overrides(oicr())


def tiny() -> ExperimentConfig:
    """The whole method in seconds: a few small images, a few steps of every stage. Learns nothing; shows that
    everything runs.
    """
    base = scenes()
    return base.with_overrides(
        {
            "data.source": {
                "kind": "scenes",
                "train_images": 12,
                "val_images": 6,
                "test_images": 8,
                "image_size_px": 64,
            },
            "data.sampled_proposals": 24,
            "model.backbone.widths": [8, 8, 12, 16],
            "model.classifier.widths": [8, 8, 12, 12, 12],
            "model.detection.hidden": 24,
            "model.segmentation": {"levels": 2, "channels": 16, "bottleneck": 8, "groups": 4},
            "schedule.backbone.steps": 4,
            "schedule.backbone.images_per_step": 4,
            "schedule.backbone.image_size_px": 64,
            "schedule.classifier.steps": 4,
            "schedule.classifier.images_per_step": 4,
            "schedule.classifier.image_size_px": 64,
            "schedule.apart_steps": 6,
            "schedule.loop_steps": 6,
            "schedule.images_per_step": 2,
            "schedule.decay_at_steps": [4],
            "schedule.warmup_steps": 2,
            "schedule.report_every_steps": 2,
            "schedule.gradient_norms_every_steps": 4,
            "schedule.checkpoint_every_steps": 4,
            "evaluation.flip": False,
        }
    )


def voc_squeezenet() -> ExperimentConfig:
    """SDCN on a folder of photographs in VOC layout, with a SqueezeNet 1.1 pretrained on ImageNet: real images on a
    CPU.

    Needs a folder `voc` below the data root and squeezenet_v1.1.caffemodel, its authors' file (docs/weights.md), below
    the weights root; `data.source.path` and `model.*.weights.path` point elsewhere.
    """
    weights = WeightsFile(path="squeezenet_v1.1.caffemodel")
    return ExperimentConfig(
        data=DataConfig(
            source=VocSource(path="voc"),
            proposals=SelectiveSearchConfig(max_image_side_px=320, limit=500),
            sampled_proposals=256,
            train_scales_px=(384,),
            train_side="longest",
            max_side_px=1000,
        ),
        model=ModelConfig(
            backbone=SqueezeNetBackbone(weights=weights, frozen="fire9"),
            detection=DetectionConfig(roi_grid=3, hidden=256),
            segmentation=SegmentationConfig(levels=2, channels=64, bottleneck=32, groups=8),
            classifier=SqueezeNetClassifier(weights=weights),
        ),
        objective=ObjectiveConfig(),
        schedule=ScheduleConfig(
            classifier=LabelTrainingConfig(
                steps=400, images_per_step=4, optimizer="adam", learning_rate=3e-4, decay="cosine"
            ),
            apart_steps=300,
            loop_steps=450,
            images_per_step=4,
            optimizer="adam",
            learning_rate=3e-4,
            bias_factor=1.0,
            refinement_factor=1.0,
            classifier_learning_rate=1e-4,
            decay_at_steps=(300,),
            clip_norm=10.0,
            report_every_steps=10,
            gradient_norms_every_steps=50,
            checkpoint_every_steps=100,
        ),
        evaluation=EvaluationConfig(test_scales_px=(384,)),
    )


def voc_mobilenet() -> ExperimentConfig:
    """`voc_squeezenet` with a MobileNetV2 pretrained on ImageNet, whose features tell classes apart better, in two to
    three times the time.

    Needs mobilenet_v2_1.0_224.npz below the weights root instead. `model.backbone.stride` 16 makes the maps coarser
    and the backbone as fast as SqueezeNet.
    """
    weights: JsonValue = {"path": "mobilenet_v2_1.0_224.npz"}
    return voc_squeezenet().with_overrides(
        {
            "model.backbone": {"kind": "mobilenet_v2", "weights": weights, "frozen": "all"},
            "model.classifier": {"kind": "mobilenet_v2", "weights": weights},
        }
    )


PRESETS: dict[str, Callable[[], ExperimentConfig]] = {
    maker.__name__: maker
    for maker in (
        scenes,
        scenes_oicr,
        tiny,
        voc_squeezenet,
        voc_mobilenet,
        voc2007_vgg16,
        voc2007_oicr,
        voc2012_vgg16,
    )
}


def preset(name: str) -> ExperimentConfig:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]()
