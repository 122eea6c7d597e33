import logging
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from sdcn_core.training.shared_stages import StageState, StageStore

KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"


def state(seed: int = 0) -> StageState:
    draw = torch.Generator().manual_seed(seed)
    values = {"weight": torch.randn(8, 3, 3, 3, generator=draw), "count": torch.tensor(7), "none": torch.zeros(0, 4)}
    return StageState(("cat", "dog"), {"backbone": values})


def same(one: StageState | None, other: StageState) -> bool:
    return (
        one is not None
        and one.classes == other.classes
        and all(
            torch.equal(value, other.networks[part][name])
            for part, values in one.networks.items()
            for name, value in values.items()
        )
    )


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "states")
    store.put(KEY, state())
    assert same(store.load(KEY), state())
    assert store.find(KEY) is not None


def test_what_nobody_put_is_not_there(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "states")
    assert (store.find(KEY), store.load(KEY)) == (None, None)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 1.0], ids=["first", "early", "late", "last"])
def test_a_flipped_bit_is_never_taken_for_the_state(tmp_path: Path, place: float) -> None:
    store = StageStore(tmp_path)
    store.put(KEY, state())
    path = tmp_path / f"{KEY}.pt"
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    found = store.load(KEY)
    assert found is None or same(found, state())  # some bytes of a file mean nothing


def test_a_flipped_weight_counts_as_absent_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = StageStore(tmp_path)
    store.put(KEY, state())
    path = tmp_path / f"{KEY}.pt"
    number = state().networks["backbone"]["weight"][0, 0, 0, 0].numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(number, b"\0\0\0\0"))
    with caplog.at_level(logging.WARNING):
        assert store.find(KEY) is None
    assert f"{KEY}.pt cannot be used (its sum is another): its stages are trained anew" in caplog.text


@pytest.mark.parametrize("kept", [0, 10, 700])
def test_the_first_bytes_of_a_file_count_as_absent_and_are_replaced(tmp_path: Path, kept: int) -> None:
    store = StageStore(tmp_path)
    store.put(KEY, state())
    path = tmp_path / f"{KEY}.pt"
    path.write_bytes(path.read_bytes()[:kept])
    assert store.load(KEY) is None
    store.put(KEY, state())
    assert same(store.load(KEY), state())


def test_a_file_under_another_key_counts_as_absent(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.put(KEY, state())
    (tmp_path / f"{KEY}.pt").rename(tmp_path / f"{OTHER_KEY}.pt")
    assert store.load(OTHER_KEY) is None


class Malice:
    """Leaves a file behind when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_a_pickle_that_runs_code_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.pt").write_bytes(pickle.dumps(Malice(tmp_path / "ran"), protocol=2))
    assert StageStore(tmp_path).load(KEY) is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "0123", "0123456789ABCDEF"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key of a stage"):
        StageStore(tmp_path).load(key)


def put_many(folder: Path) -> None:
    for _ in range(20):
        StageStore(folder).put(KEY, state())


def test_processes_that_put_the_same_state_leave_it_whole(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.put(KEY, state())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        writers = [pool.submit(put_many, tmp_path) for _ in range(2)]
        while not all(writer.done() for writer in writers):
            assert same(store.load(KEY), state())
        for writer in writers:
            writer.result()
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.pt"]


def test_a_put_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.pt").mkdir()  # no file can take its place
    with pytest.raises(OSError, match="directory"):
        StageStore(tmp_path).put(KEY, state())
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.pt"]
