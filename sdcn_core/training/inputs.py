"""The data of a run, opened: batches without boxes for training, annotated splits for judging."""

from dataclasses import dataclass

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set
from sdcn_core.data.image_set import AnnotatedSet, ImageSet
from sdcn_core.data.loaders import TrainingBatches
from sdcn_core.data.proposals import ProposalStore, compute_proposals
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

    @classmethod
    def open(cls, experiment: ExperimentConfig, roots: DataRoots) -> "RunInputs":
        """Open data that stage `data` has prepared; proposals not in the cache are computed here, one image after
        another.

        Raises:
            DatasetError: a file is missing or broken; the message names it.
        """
        data = experiment.data
        train = open_train_set(data.source, roots, labels_from_difficult=data.labels_from_difficult)
        test = open_annotated_set(data.source, roots, role="test")

        def proposals_of(image_set: ImageSet) -> ProposalStore:
            return compute_proposals(
                image_set, data.proposals, cache=roots.cache, processes=1, progress=ignore_progress
            )

        return cls(
            train=train,
            judged_train=open_annotated_set(data.source, roots, role="train"),
            test=test,
            train_proposals=proposals_of(train),
            test_proposals=proposals_of(test.image_set),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def batches(self, experiment: ExperimentConfig, plan: StagePlan, ranks: Ranks) -> TrainingBatches:
        """The batches of a stage; those that learn image labels alone come without proposals."""
        needs_proposals = plan.stage in (Stage.APART, Stage.LOOP)
        return TrainingBatches(
            self.train,
            self.train_proposals if needs_proposals else None,
            experiment.data,
            images_per_step=plan.images_per_step,
            seed=experiment.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
