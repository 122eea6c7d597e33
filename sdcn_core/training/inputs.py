"""The data of a run, opened: batches without boxes for training, annotated splits for judging."""

from dataclasses import dataclass, replace

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set
from sdcn_core.data.image_set import AnnotatedSet, ImageSet
from sdcn_core.data.loaders import TrainingBatches
from sdcn_core.data.proposals import ProposalStore, compute_proposals
from sdcn_core.errors import BadInput
from sdcn_core.pseudo_labels.labels import PseudoLabels, check_pseudo_labels
from sdcn_core.training.plan import StagePlan
from sdcn_core.training.progress import Stage
from sdcn_core.training.ranks import Ranks


def ignore_progress(done: int, total: int) -> None:
    """For callers that have nobody to tell."""


@dataclass(frozen=True)
class RunInputs:
    train: ImageSet
    """what training sees: pixels and image labels"""
    judged_train: AnnotatedSet
    """the same images with boxes, for CorLoc alone"""
    test: AnnotatedSet
    train_proposals: ProposalStore
    test_proposals: ProposalStore
    pseudo_labels: PseudoLabels | None = None
    """what a second stage learns from; None: another run"""

    @classmethod
    def open(
        cls, experiment: ExperimentConfig, roots: DataRoots, *, pseudo_labels: PseudoLabels | None = None
    ) -> "RunInputs":
        """Open data that stage `data` has prepared; proposals not in the cache are computed here, one image after
        another.

        Raises:
            DatasetError: a file is missing or broken; the message names it.
            BadInput: pseudo labels are missing, or of other images or classes.
        """
        data = experiment.data
        train = open_train_set(data.source, roots, labels_from_difficult=data.labels_from_difficult)
        test = open_annotated_set(data.source, roots, role="test")

        def proposals_of(image_set: ImageSet) -> ProposalStore:
            return compute_proposals(image_set, data.proposals, roots=roots, processes=1, progress=ignore_progress)

        return cls(
            train=train,
            judged_train=open_annotated_set(data.source, roots, role="train"),
            test=test,
            train_proposals=proposals_of(train),
            test_proposals=proposals_of(test.image_set),
            pseudo_labels=None if experiment.second_stage is None else _fitting(pseudo_labels, train),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def batches(self, experiment: ExperimentConfig, plan: StagePlan, ranks: Ranks) -> TrainingBatches:
        """The batches of a stage; those that learn image labels alone come without proposals."""
        is_of_labels = plan.stage in (Stage.BACKBONE, Stage.CLASSIFIER)
        taught = self.pseudo_labels if plan.stage is Stage.FAST_RCNN else None
        return TrainingBatches(
            self.train if taught is None else _with_boxes(self.train, taught),
            None if is_of_labels else self.train_proposals,
            experiment.data,
            images_per_step=plan.images_per_step,
            seed=experiment.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
            pseudo_boxes=None if taught is None else taught.images,
        )


def _fitting(labels: PseudoLabels | None, train: ImageSet) -> PseudoLabels:
    if labels is None:
        raise BadInput("a second stage learns from the boxes of a trained detector: find them first, and give them")
    if labels.classes != train.classes:
        raise BadInput(
            f"the pseudo labels are of the classes {', '.join(labels.classes)}, the data set has"
            f" {', '.join(train.classes)}: find them on this data set"
        )
    if missing := [record.image_id for record in train.records if record.image_id not in labels.images]:
        raise BadInput(
            f"there are no pseudo labels of image {missing[0]}, {len(missing)} missing in all: find them on this split"
        )
    check_pseudo_labels(labels)
    return labels


def _with_boxes(train: ImageSet, labels: PseudoLabels) -> ImageSet:
    """The images that say something: Fast R-CNN would learn nothing from the others."""
    return replace(train, records=tuple(r for r in train.records if len(labels.images[r.image_id])))
