"""The numbers behind two figures as plain JSON: precision over recall, and the error modes of figure 6."""

from typing import Any

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import ImageSet
from sdcn_core.evaluation.average_precision import ClassAP
from sdcn_core.evaluation.curves import thinned_curve
from sdcn_core.evaluation.error_modes import MODES, ClassErrorModes, mean_shares, shares_by_mode


def precision_recall_json(
    image_set: ImageSet, results: tuple[ClassAP, ...], config: EvaluationConfig
) -> dict[str, Any]:
    """Of each class AP, number of objects, and a curve of at most MOST_POINTS points, empty where AP is null."""
    classes = {}
    for name, result in zip(image_set.classes, results, strict=True):
        recall, precision = thinned_curve(result)
        classes[name] = {
            "ap": result.ap,
            "num_objects": result.num_objects,
            "recall": recall,
            "precision": precision,
        }
    return {"split": image_set.name, "flavour": config.ap, "match_iou": config.match_iou, "classes": classes}


def error_modes_json(
    image_set: ImageSet, results: tuple[ClassErrorModes, ...], config: EvaluationConfig
) -> dict[str, Any]:
    """Of each class the number of its images and the share of each mode (null: no image), and the mean over classes."""
    classes = {
        name: {"num_images": result.num_images, "shares": shares_by_mode(result.shares)}
        for name, result in zip(image_set.classes, results, strict=True)
    }
    return {
        "split": image_set.name,
        "match_iou": config.match_iou,
        "modes": [mode.value for mode in MODES],
        "classes": classes,
        "mean": shares_by_mode(mean_shares([result.shares for result in results])),
    }
