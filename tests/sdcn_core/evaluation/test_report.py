import json

import pytest

from sdcn_core.errors import BadInput
from sdcn_core.evaluation.report import EvaluationReport

REPORT = EvaluationReport(("cat", "dog", "cow"), (0.5, None, 0.25), (0.25, 0.75, None), 10, 20, 0.125)


def test_a_report_survives_its_json() -> None:
    assert EvaluationReport.from_json(json.loads(json.dumps(REPORT.to_json()))) == REPORT


def test_a_class_without_objects_is_not_in_the_mean() -> None:
    assert REPORT.mean_ap == 0.375
    assert REPORT.to_json()["mean_ap"] == 0.375
    assert REPORT.mean_corloc == 0.5


def test_a_report_without_any_object_has_no_mean() -> None:
    assert EvaluationReport(("cat",), (None,), (None,), 1, 0).mean_ap is None


@pytest.mark.parametrize(
    ("change", "named"),
    [({"ap": [0.5]}, "ap has 1 values for 3"), ({"num_test_images": "ten"}, "num_test_images"), ({"map": 1}, "map")],
)
def test_json_of_something_else_is_refused_by_the_field_s_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        EvaluationReport.from_json(REPORT.to_json() | change)


def test_a_report_reads_as_one_line() -> None:
    assert (
        str(EvaluationReport(("cat",), (0.412,), (None,), 4952, 0))
        == "mAP 41.2 % over 1 of 1 classes (4952 test images)"
    )
