import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdcn_core.config.data import DataConfig
from sdcn_core.data import loaders
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.images import read_image
from sdcn_core.data.loaders import TrainingBatches
from sdcn_core.data.proposals import ProposalStore
from sdcn_core.errors import BadInput, DatasetError
from sdcn_core.structures.sample import Batch
from tests.sdcn_core.data.voc_folders import write_image

PLAIN = DataConfig(train_scales_px=None, dedup_px=None, flip=False)
VARIED = DataConfig(train_scales_px=(24, 36), dedup_px=8, sampled_proposals=5, flip=True)


@pytest.fixture
def image_set(tmp_path: Path) -> ImageSet:
    records = []
    for number in range(7):
        path = tmp_path / f"image{number}.png"
        write_image(path, width=40, height=30, seed=number)
        records.append(ImageRecord(path.stem, path, 30, 40, (0, 2) if number % 2 else ()))
    return ImageSet("train", ("cat", "dog", "cow"), tuple(records))


@pytest.fixture
def store(image_set: ImageSet) -> ProposalStore:
    draw = np.random.default_rng(0)

    def some_boxes() -> NDArray[np.float32]:
        first = draw.integers(0, 20, (12, 2))
        return np.concatenate([first, first + draw.integers(1, 10, (12, 2))], axis=1).astype(np.float32)

    return ProposalStore({record.image_id: some_boxes() for record in image_set.records})


def batches(
    image_set: ImageSet,
    store: ProposalStore | None,
    config: DataConfig = VARIED,
    *,
    images_per_step: int = 4,
    seed: int = 3,
    rank: int = 0,
    world_size: int = 1,
) -> TrainingBatches:
    return TrainingBatches(
        image_set, store, config, images_per_step=images_per_step, seed=seed, rank=rank, world_size=world_size
    )


def samples(step: tuple[Batch, ...]) -> list[tuple[object, ...]]:
    """Each image of a step as plain values, sorted, so that steps compare whatever the order."""
    return sorted(
        (name, tuple(image.shape), image.sum().item(), tuple(map(tuple, boxes.tolist())), tuple(labels.tolist()))
        for batch in step
        for name, image, boxes, labels in zip(
            batch.image_ids, batch.images, batch.proposals, batch.image_labels, strict=True
        )
    )


def ids(batches: TrainingBatches, steps: int) -> list[str]:
    return [name for step in range(steps) for batch in batches.at("loop", step) for name in batch.image_ids]


def test_a_batch_is_rgb_floats_with_boxes_and_multi_hot_labels(image_set: ImageSet, store: ProposalStore) -> None:
    (batch,) = batches(image_set, store, PLAIN).at("loop", 0)
    assert batch.images.shape == (4, 3, 30, 40)
    assert batch.images.dtype == batch.image_labels.dtype == torch.float32
    assert 1 < batch.images.max() <= 255
    assert all(boxes.dtype == torch.float32 and boxes.shape == (12, 4) for boxes in batch.proposals)
    number = int(batch.image_ids[0].removeprefix("image"))
    assert batch.image_labels[0].tolist() == ([1, 0, 1] if number % 2 else [0, 0, 0])


def test_batches_that_learn_labels_alone_carry_no_proposals(image_set: ImageSet) -> None:
    (batch,) = batches(image_set, None, PLAIN).at("backbone", 0)
    assert batch.proposals == ()
    assert len(batch) == 4


def test_a_pass_shows_every_image_once_and_the_next_in_another_order(image_set: ImageSet, store: ProposalStore) -> None:
    shown = ids(batches(image_set, store, PLAIN, images_per_step=1), 21)
    passes = [shown[:7], shown[7:14], shown[14:]]
    assert all(sorted(one) == [record.image_id for record in image_set.records] for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_a_step_may_hold_more_images_than_there_are(image_set: ImageSet, store: ProposalStore) -> None:
    shown = ids(batches(image_set, store, PLAIN, images_per_step=14), 1)
    assert sorted(shown) == sorted(2 * [record.image_id for record in image_set.records])


def test_a_step_is_a_function_of_seed_stream_and_number_alone(image_set: ImageSet, store: ProposalStore) -> None:
    first = batches(image_set, store)
    _ = [first.at("apart", step) for step in (5, 0)]
    again = batches(image_set, store)
    assert samples(first.at("loop", 9)) == samples(again.at("loop", 9))
    assert samples(first.at("loop", 9)) != samples(first.at("loop", 10))
    assert samples(first.at("loop", 9)) != samples(first.at("apart", 9))
    assert samples(first.at("loop", 9)) != samples(batches(image_set, store, seed=4).at("loop", 9))


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_ranks_of_a_step_share_what_one_rank_would_see(
    image_set: ImageSet, store: ProposalStore, world_size: int
) -> None:
    for step in range(3):
        ranks = [batches(image_set, store, rank=rank, world_size=world_size) for rank in range(world_size)]
        shares = [samples(rank.at("loop", step)) for rank in ranks]
        assert all(len(share) == 4 // world_size for share in shares)
        assert sorted(sample for share in shares for sample in share) == samples(
            batches(image_set, store).at("loop", step)
        )


def test_images_that_the_ranks_cannot_share_evenly_are_refused(image_set: ImageSet) -> None:
    with pytest.raises(BadInput, match="images_per_step is 4, which 3 workers cannot share evenly"):
        batches(image_set, None, world_size=3)


def test_images_of_one_size_are_one_batch_and_every_scale_is_drawn(image_set: ImageSet, store: ProposalStore) -> None:
    every = [batch for step in range(8) for batch in batches(image_set, store).at("loop", step)]
    assert {tuple(batch.images.shape[2:]) for batch in every} == {(24, 32), (36, 48)}
    assert all(
        len({tuple(batch.images.shape[2:]) for batch in step}) == len(step)
        for step in (batches(image_set, store).at("loop", number) for number in range(8))
    )


def test_half_of_the_images_are_mirrored_with_their_boxes(image_set: ImageSet, store: ProposalStore) -> None:
    still, turning = (batches(image_set, store, PLAIN.with_overrides({"flip": flip})) for flip in (False, True))
    mirrored = 0
    for step in range(30):
        ((plain,), (other,)) = still.at("loop", step), turning.at("loop", step)
        assert plain.image_ids == other.image_ids
        for name, image, maybe, boxes in zip(plain.image_ids, plain.images, other.images, other.proposals, strict=True):
            rows = sorted(store[name].tolist())
            if torch.equal(image, maybe):
                assert sorted(boxes.tolist()) == rows
            else:
                mirrored += 1
                assert torch.equal(image.flip(2), maybe)
                assert sorted([40 - x2, y1, 40 - x1, y2] for x1, y1, x2, y2 in boxes.tolist()) == rows
    assert 40 < mirrored < 80


def test_sampled_proposals_are_some_of_the_images_and_others_the_next_time(
    image_set: ImageSet, store: ProposalStore
) -> None:
    loader = batches(image_set, store, PLAIN.with_overrides({"sampled_proposals": 5}), images_per_step=7)
    draws: dict[str, set[tuple[tuple[float, ...], ...]]] = {record.image_id: set() for record in image_set.records}
    for step in range(3):
        (batch,) = loader.at("loop", step)
        for name, boxes in zip(batch.image_ids, batch.proposals, strict=True):
            assert len(boxes) == 5
            assert all(row in store[name].tolist() for row in boxes.tolist())
            draws[name].add(tuple(sorted(map(tuple, boxes.tolist()))))
    assert all(len(drawn) == 3 for drawn in draws.values())


def test_proposals_that_round_to_one_cell_are_kept_once(image_set: ImageSet) -> None:
    alike = np.array([[0, 0, 16, 16], [1, 1, 17, 15], [0, 0, 32, 24]], np.float32)
    store = ProposalStore({record.image_id: alike for record in image_set.records})
    loader = batches(image_set, store, PLAIN.with_overrides({"dedup_px": 8}))
    kept = {
        tuple(map(tuple, sorted(b.tolist()))) for s in range(9) for (x,) in [loader.at("loop", s)] for b in x.proposals
    }
    assert kept == {((0, 0, 16, 16), (0, 0, 32, 24)), ((0, 0, 32, 24), (1, 1, 17, 15))}


def test_reading_ahead_gives_the_same_steps(image_set: ImageSet, store: ProposalStore) -> None:
    loader = batches(image_set, store)
    ahead = [samples(step) for step in loader.iterate("loop", 2, 9)]
    assert ahead == [samples(loader.at("loop", step)) for step in range(2, 9)]
    assert list(loader.iterate("loop", 5, 5)) == []


def test_an_image_that_breaks_while_reading_ahead_reaches_the_consumer(
    image_set: ImageSet, store: ProposalStore
) -> None:
    image_set.records[4].path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DatasetError, match=r"image4\.png"):
        list(batches(image_set, store).iterate("loop", 0, 4))


def test_an_iterator_that_is_closed_early_leaves_no_thread(image_set: ImageSet, store: ProposalStore) -> None:
    before = set(threading.enumerate())
    steps = batches(image_set, store).iterate("loop", 0, 100)
    next(steps)
    assert set(threading.enumerate()) > before
    steps.close()
    assert set(threading.enumerate()) == before


def test_a_small_set_is_decoded_once(
    image_set: ImageSet, store: ProposalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = batches(image_set, store)
    before = ids(loader, 4)
    monkeypatch.setattr(loaders, "read_image", lambda path: pytest.fail(f"decoded {path} again"))
    assert ids(loader, 4) == before


def test_the_memory_for_decoded_images_is_bounded(
    image_set: ImageSet, store: ProposalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_bytes = 30 * 40 * 3
    monkeypatch.setattr(loaders, "IMAGE_CACHE_BYTES", 3 * image_bytes)
    reads: list[Path] = []

    def counted(path: Path) -> NDArray[np.uint8]:
        reads.append(path)
        return read_image(path)

    monkeypatch.setattr(loaders, "read_image", counted)
    ids(batches(image_set, store, images_per_step=7), 2)
    assert len(reads) > 7
