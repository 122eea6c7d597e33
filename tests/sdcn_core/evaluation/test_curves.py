import numpy as np
import pytest

from sdcn_core.evaluation.average_precision import ClassAP
from sdcn_core.evaluation.curves import MOST_POINTS, thinned_curve
from tests.sdcn_core.evaluation import devkit


def curve_of(correct: np.ndarray, num_objects: int) -> ClassAP:  # type: ignore[type-arg]
    found = np.cumsum(correct)
    return ClassAP(0.0, found / np.arange(1, len(correct) + 1), found / num_objects, num_objects)


@pytest.mark.parametrize("seed", range(10))
def test_a_long_curve_is_thinned_without_changing_its_eleven_point_ap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = curve_of(rng.random(3000) < np.linspace(0.9, 0.0, 3000) ** rng.integers(1, 6), 1500)
    recall, precision = thinned_curve(whole)
    assert len(recall) == len(precision) <= MOST_POINTS
    assert recall == sorted(recall)
    assert (recall[0], recall[-1]) == (whole.recall[0], whole.recall[-1])
    assert devkit.eleven_point(precision, recall) == devkit.eleven_point(list(whole.precision), list(whole.recall))
    assert devkit.area(precision, recall) == pytest.approx(devkit.area(whole.precision, whole.recall), abs=0.02)


def test_a_short_curve_is_kept_whole() -> None:
    whole = curve_of(np.array([True, False, True]), 2)
    assert thinned_curve(whole) == (whole.recall.tolist(), whole.precision.tolist())


def test_a_class_without_detections_has_an_empty_curve() -> None:
    assert thinned_curve(ClassAP(None, np.zeros(0), np.zeros(0), 0)) == ([], [])


def test_a_class_of_which_nothing_is_found_keeps_its_ends() -> None:
    recall, precision = thinned_curve(curve_of(np.zeros(500, bool), 5))
    assert set(recall) == set(precision) == {0.0}
