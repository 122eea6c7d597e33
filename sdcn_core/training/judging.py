"""Judging a network in the middle of a run: ranks share the images, the first rank draws the picture."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.data.proposals import ProposalStore
from sdcn_core.evaluation.evaluator import chance_scores, judge, score_images
from sdcn_core.evaluation.pictures import detections_picture
from sdcn_core.evaluation.report import EvaluationReport
from sdcn_core.models.sdcn import SDCN
from sdcn_core.structures.annotation import Detections
from sdcn_core.training.inputs import RunInputs, ignore_progress
from sdcn_core.training.ranks import Ranks

CHUNK_IMAGES = 64
"""images that the ranks score together between two reports"""

Scores = dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Verdict:
    report: EvaluationReport
    detections: tuple[Detections, ...]
    """of the test split, in its order"""


class Judge:
    """Scores and judges both splits of a run."""

    def __init__(self, experiment: ExperimentConfig, inputs: RunInputs, ranks: Ranks) -> None:
        self._experiment = experiment
        self._inputs = inputs
        self._ranks = ranks

    @property
    def num_images(self) -> int:
        return len(self._inputs.test.image_set.records) + len(self._inputs.judged_train.image_set.records)

    def trained(self, network: SDCN, *, corloc: bool, tick: Callable[[int], bool]) -> Verdict | None:
        """The verdict on the network, or None where `tick` said to stop. A collective of all ranks.

        Args:
            network: unwrapped; put in evaluation mode here and left so.
            corloc: False judges the test split only.
            tick: called on every rank after each chunk with the images done by all; True stops.
        """
        network.eval()
        splits = [(self._inputs.test, self._inputs.test_proposals)]
        if corloc:
            splits.append((self._inputs.judged_train, self._inputs.train_proposals))
        started = time.perf_counter()
        scored: list[Scores] = []
        done = 0
        for annotated, proposals in splits:
            scores: Scores = {}
            for chunk in _chunks(len(annotated.image_set.records)):
                scores |= self._score(network, annotated, proposals, chunk)
                done += len(chunk)
                if tick(done):
                    return None
            scored.append(scores)
        seconds = (time.perf_counter() - started) * self._ranks.world_size / max(1, done)
        return self._judge(scored[0], scored[1] if corloc else None, seconds)

    def chance(self) -> EvaluationReport:
        """The verdict on random scores."""
        test = chance_scores(self._inputs.test, self._inputs.test_proposals, seed=self._experiment.seed)
        train = chance_scores(self._inputs.judged_train, self._inputs.train_proposals, seed=self._experiment.seed + 1)
        return self._judge(test, train, None).report

    def picture(self, detections: tuple[Detections, ...], path: Path) -> Path:
        """A page of test images, evenly spread over the split, with ground truth and detections."""
        test = self._inputs.test
        count = min(self._experiment.evaluation.pictured_images, len(test.annotations))
        chosen = [int(i) for i in np.linspace(0, len(test.annotations) - 1, count).round()]
        detections_picture(
            [read_image(test.image_set.records[i].path) for i in chosen],
            [test.annotations[i] for i in chosen],
            [detections[i] for i in chosen],
            test.image_set.classes,
            path,
        )
        return path

    def _score(self, network: SDCN, annotated: AnnotatedSet, proposals: ProposalStore, chunk: range) -> Scores:
        def scorer(images: Tensor, boxes: Tensor) -> Tensor:
            device = self._ranks.device
            return network.detect(images.to(device), (boxes.to(device),))[0].cpu()

        own = score_images(
            scorer,
            annotated,
            proposals,
            config=self._experiment.evaluation,
            max_side_px=self._experiment.data.max_side_px,
            indices=chunk[self._ranks.rank :: self._ranks.world_size],
            progress=ignore_progress,
        )
        return {index: scores for shard in self._ranks.gather(own) for index, scores in shard.items()}

    def _judge(self, test_scores: Scores, train_scores: Scores | None, seconds: float | None) -> Verdict:
        inputs = self._inputs
        train_ids = {record.image_id for record in inputs.train.records}

        def proposals_of(image_id: str) -> NDArray[np.float32]:
            return (inputs.train_proposals if image_id in train_ids else inputs.test_proposals)[image_id]

        report, detections = judge(
            inputs.test,
            test_scores,
            None if train_scores is None else inputs.judged_train,
            train_scores or {},
            proposals_of,
            self._experiment.evaluation,
            seconds_per_image=seconds,
        )
        return Verdict(report, detections)


def results_by_class(report: EvaluationReport) -> dict[str, Any]:
    """The report as results show it: AP and CorLoc by class name."""
    means_and_counts = {name: value for name, value in report.to_json().items() if name != "classes"}
    return means_and_counts | {
        "ap": dict(zip(report.classes, report.ap, strict=True)),
        "corloc": dict(zip(report.classes, report.corloc, strict=True)),
    }


def _chunks(count: int) -> Iterator[range]:
    return (range(start, min(start + CHUNK_IMAGES, count)) for start in range(0, count, CHUNK_IMAGES))
