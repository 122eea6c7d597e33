"""What a trained model is called in the registry."""

import hashlib
import json
import re
from collections.abc import Mapping

from sdcn_core.config.data import DataSource, ScenesSource
from sdcn_core.config.experiment import ExperimentConfig

WITHOUT_EFFECT = frozenset(
    {
        "evaluation.coco",
        "evaluation.comp4",
        "evaluation.every_steps",
        "evaluation.baselines",
        "evaluation.pictured_images",
    }
)
"""fields of the evaluation that leave mAP as it is; any other, a later one too, tells names apart"""
FOLDER_LENGTH = 200
"""MLflow keeps 256 characters of a name; the digest tells longer folders apart"""
DIGITS = 6


def registered_name(experiment: ExperimentConfig) -> str:
    """One registered model for the trainings that were judged alike: on the same data, by the same evaluation.

    Its champion is the version with the best mean AP, so nothing that makes mean AP easier to get may share a name: no
    smaller test split, no lower IoU of a match.

    >>> registered_name(ExperimentConfig()).rpartition("-")[0]
    'sdcn-scenes'
    """
    canonical = json.dumps(judged_by(experiment.flat()), sort_keys=True)
    return f"sdcn-{_word(experiment.data.source)}-{hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]}"


def judged_by(parameters: Mapping[str, str]) -> dict[str, str]:
    """Of an experiment's fields by dotted paths those that decide the mean AP of given weights."""
    return {
        path: value
        for path, value in parameters.items()
        if path.startswith(("data.source.", "evaluation.")) and path not in WITHOUT_EFFECT
    }


def _word(source: DataSource) -> str:
    if isinstance(source, ScenesSource):
        return source.kind
    return re.sub(r"[^A-Za-z0-9_.]+", "-", source.path).strip("-.")[:FOLDER_LENGTH]
