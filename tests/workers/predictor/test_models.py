import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdcn_core.inference.predictor import Predictor
from service.errors import ModelNotFound
from tests.sdcn_core.export.saved_models import experiment_of, write_model
from workers.predictor.errors import ModelUnusable, PredictorBusy
from workers.predictor.models import ModelShelf


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.pt", experiment_of())


@pytest.fixture
def runs(tmp_path: Path, model_file: Path) -> Path:
    """The models a, b and c."""
    for job_id in "abc":
        artifacts = tmp_path / "runs" / job_id / "artifacts"
        artifacts.mkdir(parents=True)
        shutil.copy(model_file, artifacts / "model.pt")
    return tmp_path / "runs"


def shelf_of(
    runs: Path, *, models: int = 4, size: int = 2**30, load: Callable[[Path], Predictor] = Predictor.load
) -> ModelShelf:
    return ModelShelf(runs, max_models=models, max_bytes=size, load=load)


def use(shelf: ModelShelf, *model_ids: str) -> list[str]:
    """Borrow each in turn; the sums of what was lent."""
    sums = []
    for model_id in model_ids:
        with shelf.lent(model_id, wait_s=0) as predictor:
            sums.append(predictor.sha256)
    return sums


def test_a_model_is_loaded_once(runs: Path) -> None:
    loaded: list[Path] = []
    shelf = shelf_of(runs, load=lambda path: (loaded.append(path), Predictor.load(path))[1])
    use(shelf, "a", "a", "a")
    assert loaded == [runs / "a" / "artifacts" / "model.pt"]


def test_the_model_that_was_used_longest_ago_makes_room(runs: Path) -> None:
    shelf = shelf_of(runs, models=2)
    use(shelf, "a", "b", "a", "c")
    assert shelf.in_memory == ("a", "c")


def test_models_are_bounded_in_bytes_and_the_last_one_stays_whatever_its_size(runs: Path) -> None:
    shelf = shelf_of(runs, size=1)
    use(shelf, "a", "b")
    assert shelf.in_memory == ("b",)


def test_a_model_in_use_is_not_dropped_before_it_is_given_back(runs: Path) -> None:
    shelf = shelf_of(runs, models=1)
    with shelf.lent("a", wait_s=0):
        use(shelf, "b")
        assert "a" in shelf.in_memory
    assert shelf.in_memory == ("b",)


def test_who_waits_too_long_is_told_that_the_model_is_in_use(runs: Path) -> None:
    shelf = shelf_of(runs)
    with shelf.lent("a", wait_s=0), pytest.raises(PredictorBusy, match=r"model a is in use .* within 0\.01 s"):
        shelf.lent("a", wait_s=0.01).__enter__()


def test_who_waits_gets_the_model_when_it_is_given_back(runs: Path) -> None:
    shelf, waiting = shelf_of(runs), threading.Event()

    def borrow() -> str:
        waiting.set()
        return use_waiting(shelf, "a")

    with ThreadPoolExecutor(1) as threads:
        with shelf.lent("a", wait_s=0) as predictor:
            other = threads.submit(borrow)
            waiting.wait()
        assert other.result(timeout=30) == predictor.sha256


def use_waiting(shelf: ModelShelf, model_id: str) -> str:
    with shelf.lent(model_id, wait_s=30) as predictor:
        return predictor.sha256


def test_many_threads_never_have_one_model_at_once(runs: Path) -> None:
    shelf, users, most = shelf_of(runs, models=1), dict.fromkeys("abc", 0), []

    def borrow(number: int) -> None:
        model_id = "abc"[number % 3]
        with shelf.lent(model_id, wait_s=60):
            users[model_id] += 1
            most.append(users[model_id])
            users[model_id] -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(borrow, range(60)))
    assert set(most) == {1}
    assert len(shelf.in_memory) == 1


def test_a_model_that_is_dropped_while_somebody_waits_for_it_is_loaded_again(runs: Path) -> None:
    shelf = shelf_of(runs)
    use(shelf, "a")

    class DroppedMeanwhile:
        def acquire(self, *, timeout: float) -> bool:
            del shelf._places["a"]
            return True

        def release(self) -> None: ...

    shelf._places["a"].in_use = DroppedMeanwhile()  # type: ignore[assignment]
    use(shelf, "a")
    assert shelf.in_memory == ("a",)


def test_a_model_whose_file_was_replaced_is_loaded_anew(runs: Path) -> None:
    shelf = shelf_of(runs)
    (before,) = use(shelf, "a")
    new = write_model(runs / "new.pt", experiment_of(), seed=1)
    new.replace(runs / "a" / "artifacts" / "model.pt")
    assert use(shelf, "a") != [before]


def test_a_model_that_cannot_be_loaded_leaves_no_place_behind(runs: Path) -> None:
    path = runs / "a" / "artifacts" / "model.pt"
    path.write_bytes(path.read_bytes()[:100])
    shelf = shelf_of(runs)
    with pytest.raises(ModelUnusable, match=r"model a: model a/artifacts/model\.pt cannot be used"):
        use(shelf, "a")
    assert shelf.in_memory == ()
    assert shelf._places == {}


def test_a_model_that_is_missing_is_not_found(runs: Path) -> None:
    with pytest.raises(ModelNotFound, match="left a model 'f'"):
        use(shelf_of(runs), "f")


def test_a_link_out_of_the_folder_of_runs_is_not_followed(runs: Path, model_file: Path) -> None:
    path = runs / "a" / "artifacts" / "model.pt"
    path.unlink()
    path.symlink_to(model_file)
    with pytest.raises(ModelNotFound):
        use(shelf_of(runs), "a")


def test_a_model_may_be_loaded_anew_while_another_thread_counts_what_there_is(runs: Path) -> None:
    class GoneAtTheSecondLook:
        in_use = threading.Lock()

        def __init__(self, predictor: Predictor) -> None:
            self._looks = [predictor]

        @property
        def predictor(self) -> Predictor | None:
            return self._looks.pop() if self._looks else None

    shelf = shelf_of(runs)
    use(shelf, "a")
    shelf._places["b"] = GoneAtTheSecondLook(Predictor.load(runs / "b" / "artifacts" / "model.pt"))  # type: ignore[assignment]
    assert shelf._within_bounds()
