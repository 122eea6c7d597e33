import pytest

from sdcn_core.evaluation.pixel_metrics import PixelScores
from sdcn_core.evaluation.report import EvaluationReport

REPORT = EvaluationReport(("cat", "dog", "cow"), (0.5, None, 0.25), (0.25, 0.75, None), 10, 20, 0.125)


def test_a_class_without_objects_is_not_in_the_mean() -> None:
    assert REPORT.mean_ap == 0.375
    assert REPORT.mean_corloc == 0.5


def test_a_report_without_any_object_has_no_mean() -> None:
    report = EvaluationReport(("cat",), (None,), (None,), 1, 0)
    assert (report.mean_ap, report.mean_corloc, report.mean_error_modes) == (None, None, None)


def test_a_class_in_no_image_is_not_in_the_mean_of_error_modes() -> None:
    modes = ((0.5, 0.5, 0.0, 0.0, 0.0), None, (1.0, 0.0, 0.0, 0.0, 0.0))
    report = EvaluationReport(REPORT.classes, REPORT.ap, REPORT.corloc, 10, 20, error_modes=modes)
    assert report.mean_error_modes == (0.75, 0.25, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("field", ["ap", "corloc", "error_modes"])
def test_values_of_other_classes_are_refused_by_the_field_s_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} has 1 values for 3"):
        EvaluationReport(
            REPORT.classes,
            **({"ap": REPORT.ap, "corloc": REPORT.corloc} | {field: (None,)}),
            num_test_images=1,
            num_train_images=1,
        )  # type: ignore[arg-type]


def test_a_report_reads_as_one_line() -> None:
    pixels = PixelScores((0.5, None), (0.5,), (0.5,), 0.5, 0.5)
    report = EvaluationReport(("cat",), (0.412,), (None,), 4952, 0, segmentation=pixels, num_masks=210)
    assert (
        str(report) == "mAP 41.2 % over 1 of 1 classes (4952 test images), mIoU 50.0 % over 1 of 2 classes (210 masks)"
    )
