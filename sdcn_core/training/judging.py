"""Judging a network: ranks share the images, the first rank writes down what was found."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.data.proposals import ProposalStore
from sdcn_core.evaluation.average_precision import ClassAP
from sdcn_core.evaluation.coco import image_info, require_coco_tools, save_coco_results
from sdcn_core.evaluation.comp4 import save_comp4
from sdcn_core.evaluation.error_modes import ClassErrorModes, shares_by_mode
from sdcn_core.evaluation.evaluator import ScoredSplit, chance_scores, judge, score_images
from sdcn_core.evaluation.figures_data import error_modes_json, precision_recall_json
from sdcn_core.evaluation.gallery import draw_gallery
from sdcn_core.evaluation.pictures import detections_picture
from sdcn_core.evaluation.pixel_evaluation import PixelFindings, find_pixels
from sdcn_core.evaluation.predictions import ClassMap, Predictions, save_predictions, shown_images
from sdcn_core.evaluation.report import EvaluationReport
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.evaluation.trivial_boxes import TRIVIAL_BOXES, TrivialBoxScores
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.structures.annotation import Detections
from sdcn_core.structures.outputs import ScoredProposals
from sdcn_core.training.inputs import RunInputs, ignore_progress
from sdcn_core.training.ranks import Ranks

CHUNK_IMAGES = 64
"""images that the ranks score together between two reports"""

DETECTIONS_FILE = "detections.png"
GALLERY_FILE = "gallery.jpg"
CURVES_FILE = "precision_recall.json"
ERROR_MODES_FILE = "error_modes.json"
PREDICTIONS_FILE = "predictions.npz"
COMP4_FILE = "comp4.tar.gz"
COCO_FILE = "detections.coco.json"
COCO_INFO_FILE = "image_info.coco.json"

JUDGED_MEANS = (
    "mean_ap",
    "mean_corloc",
    "mean_classification_ap",
    "mean_iou",
    "pixel_recall",
    "pixel_precision",
    "heatmap_recall",
    "heatmap_precision",
)
"""of a judgement, what becomes a metric whatever the number of classes"""

Found = dict[int, ScoredBoxes]
"""position of an image in its split -> what was found there"""


@dataclass(frozen=True)
class Verdict:
    report: EvaluationReport
    detections: tuple[Detections, ...]
    """of the test split, in its order"""
    class_aps: tuple[ClassAP, ...] | None
    """(C,) with precision and recall along the ranking; None where the test split's boxes are unknown"""
    error_modes: tuple[ClassErrorModes, ...] | None
    """(C,) on the training split; None where CorLoc was not asked for, or the split's boxes are unknown"""
    maps: Mapping[int, ClassMap]
    """position in the test split -> the segmentation branch's strongest class in each cell; of at most SHOWN_IMAGES
    images, of none where there is no branch or pixels were not asked for"""


class Judge:
    """Scores and judges both splits of a run.

    Raises:
        BadInput: COCO's figures are asked for and cannot be counted here.
    """

    def __init__(self, experiment: ExperimentConfig, inputs: RunInputs, ranks: Ranks) -> None:
        if experiment.evaluation.coco:
            require_coco_tools()
        self._experiment = experiment
        self._inputs = inputs
        self._ranks = ranks

    @property
    def num_images(self) -> int:
        return len(self._inputs.test.image_set.records) + len(self._inputs.judged_train.image_set.records)

    def trained(
        self, network: DetectionNetwork, *, corloc: bool, tick: Callable[[int], bool], pixels: bool = True
    ) -> Verdict | None:
        """The verdict on the network, or None where `tick` said to stop. A collective of all ranks.

        Args:
            network: unwrapped; put in evaluation mode here and left so.
            corloc: False judges the test split only, and by AP alone: COCO's figures take longer.
            tick: called on every rank after each chunk with the images done by all; True stops.
            pixels: whether to judge pixels and keep maps, which takes one more forward without detection and at one
                scale for each test image that has a mask or is kept.
        """
        network.eval()
        splits = [(self._inputs.test, self._inputs.test_proposals)]
        if corloc:
            splits.append((self._inputs.judged_train, self._inputs.train_proposals))
        started = time.perf_counter()
        scored: list[Found] = []
        done = 0
        for annotated, proposals in splits:
            found: Found = {}
            for chunk in _chunks(len(annotated.image_set.records)):
                found |= self._score(network, annotated, proposals, chunk)
                done += len(chunk)
                if tick(done):
                    return None
            scored.append(found)
        seconds = (time.perf_counter() - started) * self._ranks.world_size / max(1, done)
        seen = PixelFindings.none(len(self._inputs.classes), segmentation=network.segmentation is not None)
        for chunk in _chunks(len(self._inputs.test.image_set.records)) if pixels else ():
            seen += self._find_pixels(network, scored[0], chunk)
            if tick(done):
                return None
        verdict = self._judge(scored[0], scored[1] if corloc else None, seconds, seen)
        if not corloc:
            return verdict
        return replace(verdict, report=replace(verdict.report, trivial=self._trivial(scored[0], scored[1])))

    def chance(self) -> EvaluationReport:
        """The verdict on random scores; of pixels it says nothing."""
        test = _by_chance(self._inputs.test, self._inputs.test_proposals, seed=self._experiment.seed)
        train = _by_chance(self._inputs.judged_train, self._inputs.train_proposals, seed=self._experiment.seed + 1)
        nothing = PixelFindings.none(len(self._inputs.classes), segmentation=False)
        return self._judge(test, train, None, nothing).report

    def keep(self, verdict: Verdict, folder: Path) -> dict[str, Path]:
        """Write what a person looks at, or what is drawn later, into the folder. One rank does it.

        Returns:
            name -> file: the pictures DETECTIONS_FILE (images evenly spread over the test split) and GALLERY_FILE
            (the best and the worst of those shown), PREDICTIONS_FILE (`load_predictions` reads it), CURVES_FILE where
            AP was counted, ERROR_MODES_FILE where CorLoc was, and where they are asked for COMP4_FILE, COCO_FILE and
            COCO_INFO_FILE.
        """
        test = self._inputs.test
        ids = [record.image_id for record in test.image_set.records]
        maps = {ids[index]: grid for index, grid in sorted(verdict.maps.items())}
        predictions = Predictions(test.image_set.classes, verdict.detections, maps)
        files = {name: folder / name for name in (DETECTIONS_FILE, GALLERY_FILE, PREDICTIONS_FILE)}
        self._draw_detections(verdict.detections, files[DETECTIONS_FILE])
        draw_gallery(predictions, test, files[GALLERY_FILE])
        save_predictions(predictions, files[PREDICTIONS_FILE])
        config = self._experiment.evaluation
        if verdict.class_aps is not None:
            files[CURVES_FILE] = folder / CURVES_FILE
            _write_json(precision_recall_json(test.image_set, verdict.class_aps, config), files[CURVES_FILE])
        if verdict.error_modes is not None:
            files[ERROR_MODES_FILE] = folder / ERROR_MODES_FILE
            judged = self._inputs.judged_train.image_set
            _write_json(error_modes_json(judged, verdict.error_modes, config), files[ERROR_MODES_FILE])
        if config.comp4 is not None:
            files[COMP4_FILE] = folder / COMP4_FILE
            where = {"data_set": config.comp4, "split": test.image_set.name}
            save_comp4(verdict.detections, test.image_set.classes, files[COMP4_FILE], **where)
        if config.coco:
            files |= {name: folder / name for name in (COCO_FILE, COCO_INFO_FILE)}
            save_coco_results(test, verdict.detections, files[COCO_FILE])
            _write_json(image_info(test), files[COCO_INFO_FILE])
        return files

    def _draw_detections(self, detections: tuple[Detections, ...], path: Path) -> None:
        test = self._inputs.test
        chosen = shown_images(len(test.truths), self._experiment.evaluation.pictured_images)
        detections_picture(
            [read_image(test.image_set.records[i].path) for i in chosen],
            [test.truths[i] for i in chosen],
            [detections[i] for i in chosen],
            test.image_set.classes,
            path,
        )

    def _score(
        self, network: DetectionNetwork, annotated: AnnotatedSet, proposals: ProposalStore, chunk: range
    ) -> Found:
        def scorer(images: Tensor, boxes: Tensor) -> ScoredProposals:
            device = self._ranks.device
            return network.detect(images.to(device), (boxes.to(device),))[0]

        own = score_images(
            scorer,
            annotated,
            proposals,
            config=self._experiment.evaluation,
            max_side_px=self._experiment.data.max_side_px,
            indices=chunk[self._ranks.rank :: self._ranks.world_size],
            progress=ignore_progress,
        )
        kept = {index: self._kept(found, annotated, index) for index, found in own.items()}
        return {index: found for shard in self._ranks.gather(kept) for index, found in shard.items()}

    def _kept(self, found: ScoredBoxes, annotated: AnnotatedSet, index: int) -> ScoredBoxes:
        """What judging needs of an image: of a network that regresses, boxes of each class take most of the memory."""
        config = self._experiment.evaluation
        image_id = annotated.image_set.records[index].image_id
        has_mask = annotated.masks is not None and image_id in annotated.masks  # then all boxes make its heat map
        return found if has_mask or config.protocol != "oicr" else found.shortlisted(config.boxes_per_class)

    def _find_pixels(self, network: DetectionNetwork, found: Found, chunk: range) -> PixelFindings:
        branch = network.segmentation

        def segmenter(images: Tensor) -> Tensor:
            assert branch is not None  # not called where there is none
            return branch(network.backbone(images.to(self._ranks.device)))[0].softmax(dim=0)

        own = find_pixels(
            None if branch is None else segmenter,
            self._inputs.test,
            _scores(found),
            _boxes(self._inputs.test, found),
            config=self._experiment.evaluation,
            max_side_px=self._experiment.data.max_side_px,
            indices=chunk[self._ranks.rank :: self._ranks.world_size],
            shown=set(shown_images(len(self._inputs.test.image_set.records))),
        )
        nothing = PixelFindings.none(len(self._inputs.classes), segmentation=branch is not None)
        return sum(self._ranks.gather(own), start=nothing)

    def _judge(
        self, test_found: Found, train_found: Found | None, seconds: float | None, pixels: PixelFindings
    ) -> Verdict:
        inputs, config = self._inputs, self._experiment.evaluation
        train = None
        if train_found is not None:
            train = ScoredSplit(inputs.judged_train, _scores(train_found), _boxes(inputs.judged_train, train_found))
        judged = judge(
            ScoredSplit(inputs.test, _scores(test_found), _boxes(inputs.test, test_found)),
            train,
            config if train_found is not None else config.model_copy(update={"coco": False}),
            seconds_per_image=seconds,
            pixels=pixels.counts,
        )
        return Verdict(judged.report, judged.detections, judged.class_aps, judged.error_modes, pixels.maps)

    def _trivial(self, test_found: Found, train_found: Found) -> tuple[TrivialBoxScores, ...]:
        """What boxes that look at nothing reach with the scores that the network gives to whole images."""
        inputs = self._inputs
        splits = (
            (inputs.test, inputs.test_proposals, test_found),
            (inputs.judged_train, inputs.train_proposals, train_found),
        )
        config = self._experiment.evaluation.model_copy(update={"coco": False})
        reached = []
        for name, make in TRIVIAL_BOXES.items():
            test, train = (
                ScoredSplit(
                    annotated,
                    {index: image.scores.max(axis=0, keepdims=True) for index, image in found.items()},
                    {
                        record.image_id: make(record.height, record.width, proposals[record.image_id])
                        for record in annotated.image_set.records
                    },
                )
                for annotated, proposals, found in splits
            )
            report = judge(test, train, config).report
            reached.append(TrivialBoxScores(name, report.mean_ap, report.mean_corloc))
        return tuple(reached)


def results_by_class(report: EvaluationReport) -> dict[str, Any]:
    """The report as results show it, plain JSON: measures by class name, shares of modes by mode."""
    classes = report.classes
    segmentation, heatmap = report.segmentation, report.heatmap
    return {
        "ap": dict(zip(classes, report.ap, strict=True)),
        "mean_ap": report.mean_ap,
        "corloc": dict(zip(classes, report.corloc, strict=True)),
        "mean_corloc": report.mean_corloc,
        "classification_ap": report.classification_ap and dict(zip(classes, report.classification_ap, strict=True)),
        "mean_classification_ap": report.mean_classification_ap,
        "without_boxes": list(report.without_boxes),
        "num_test_images": report.num_test_images,
        "num_train_images": report.num_train_images,
        "seconds_per_image": report.seconds_per_image,
        "error_modes": report.error_modes and dict(zip(classes, map(shares_by_mode, report.error_modes), strict=True)),
        "mean_error_modes": shares_by_mode(report.mean_error_modes),
        "iou": segmentation and dict(zip((*classes, "background"), segmentation.iou, strict=True)),
        "mean_iou": segmentation and segmentation.mean_iou,
        "pixel_recall": segmentation and segmentation.mean_recall,
        "pixel_precision": segmentation and segmentation.mean_precision,
        "pixel_recall_micro": segmentation and segmentation.recall_micro,
        "pixel_precision_micro": segmentation and segmentation.precision_micro,
        "heatmap_recall": heatmap and heatmap.mean_recall,
        "heatmap_precision": heatmap and heatmap.mean_precision,
        "heatmap_recall_micro": heatmap and heatmap.recall_micro,
        "heatmap_precision_micro": heatmap and heatmap.precision_micro,
        "num_masks": report.num_masks,
        "coco": report.coco and report.coco.by_name(),
        "trivial": {box.name: {"mean_ap": box.mean_ap, "mean_corloc": box.mean_corloc} for box in report.trivial},
    }


def judged_metrics(judgement: Mapping[str, Any]) -> dict[str, float]:
    """A judgement, as `results_by_class` gives it, under the names of metrics: means, and by class AP, CorLoc and
    classification AP.
    """
    return judged_means(judgement) | {
        f"eval/{measure}/{name}": value
        for measure in ("ap", "corloc", "classification_ap")
        for name, value in (judgement.get(measure) or {}).items()
        if value is not None
    }


def judged_means(judgement: Mapping[str, Any]) -> dict[str, float]:
    """Of `judged_metrics` the means alone, COCO's among them; those that are not known are left out."""
    means = {f"eval/{name}": judgement.get(name) for name in JUDGED_MEANS}  # a checkpoint of old lacks newer ones
    means |= {f"eval/coco/{name}": value for name, value in (judgement.get("coco") or {}).items()}
    return {name: value for name, value in means.items() if value is not None}


def _by_chance(annotated: AnnotatedSet, proposals: ProposalStore, *, seed: int) -> Found:
    records = annotated.image_set.records
    scores = chance_scores(annotated, proposals, seed=seed)
    return {index: ScoredBoxes(scores[index], proposals[records[index].image_id]) for index in scores}


def _scores(found: Found) -> dict[int, NDArray[np.float32]]:
    return {index: one.scores for index, one in found.items()}


def _boxes(annotated: AnnotatedSet, found: Found) -> dict[str, NDArray[np.floating]]:
    """By image id."""
    return {annotated.image_set.records[index].image_id: one.boxes for index, one in found.items()}


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _chunks(count: int) -> Iterator[range]:
    return (range(start, min(start + CHUNK_IMAGES, count)) for start in range(0, count, CHUNK_IMAGES))
