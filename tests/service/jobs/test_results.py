import pytest
from pydantic import ValidationError

from service.jobs.results import CocoFigures, Judgement, TrainResults, TrivialBox

OLD_ROW = {
    "classes": ["car"],
    "trained": {
        "ap": {"car": 0.5},
        "mean_ap": 0.5,
        "corloc": {"car": None},
        "mean_corloc": 0.6,
        "num_test_images": 4,
        "num_train_images": 8,
        "seconds_per_image": None,
    },
    "untrained": None,
    "chance": None,
}


COCO = CocoFigures(**{field: 0.01 * n for n, field in enumerate(CocoFigures.model_fields)} | {"ap_large": None})


def judgement(mean_ap: float | None, mean_corloc: float | None) -> Judgement:
    return Judgement(
        ap={"car": mean_ap, "cat": None},
        mean_ap=mean_ap,
        corloc={"car": mean_corloc},
        mean_corloc=mean_corloc,
        num_test_images=4,
        num_train_images=8,
        seconds_per_image=0.1,
    )


def without_boxes(mean: float = 0.75) -> Judgement:
    """Of labels alone."""
    return judgement(None, None).model_copy(
        update={
            "without_boxes": ("test", "train"),
            "classification_ap": {"car": mean, "cat": None},
            "mean_classification_ap": mean,
        }
    )


def results(trained: Judgement, untrained: Judgement | None, chance: Judgement | None) -> TrainResults:
    return TrainResults(classes=("car", "cat"), trained=trained, untrained=untrained, chance=chance)


def test_better_than_both_baselines_has_no_shortcoming() -> None:
    assert results(judgement(0.5, 0.6), judgement(0.1, 0.1), judgement(0.2, 0.2)).shortcomings() == ()


def test_each_baseline_that_is_not_beaten_is_named() -> None:
    told = results(judgement(0.2, 0.6), judgement(0.1, 0.7), judgement(0.2, 0.2)).shortcomings()
    assert told == (
        "mean CorLoc 0.600 does not beat the untrained network (0.700)",
        "mean AP 0.200 does not beat chance (0.200)",
    )


def test_a_box_around_the_whole_image_that_is_not_beaten_is_named_with_what_it_reaches() -> None:
    boxes = {
        "whole_image": TrivialBox(mean_ap=0.4, mean_corloc=0.5),
        "centred_box": TrivialBox(mean_ap=0.1, mean_corloc=None),
    }
    trained = judgement(0.2, 0.6).model_copy(update={"trivial": boxes})
    assert results(trained, None, None).shortcomings() == ("mean AP 0.200 does not beat the whole image (0.400)",)
    assert trained.told_of_trivial_boxes() == (
        "With the same scores, one box an image: whole image 40.0 mAP, 50.0 CorLoc; centred box 10.0 mAP, – CorLoc."
    )
    assert judgement(0.2, 0.6).told_of_trivial_boxes() == ""


def test_baselines_that_were_not_asked_for_are_not_missed() -> None:
    assert results(judgement(0.0, 0.0), None, None).shortcomings() == ()


def test_results_survive_json() -> None:
    whole = results(judgement(0.5, 0.6), judgement(0.1, 0.1), None)
    assert TrainResults.model_validate_json(whole.model_dump_json()) == whole


def test_a_split_without_boxes_has_no_mean_and_no_shortcoming() -> None:
    assert results(judgement(None, None), judgement(0.1, None), judgement(None, 0.2)).shortcomings() == ()


def test_results_written_before_pixels_and_error_modes_were_judged_are_still_read() -> None:
    trained = TrainResults.model_validate(OLD_ROW).trained
    assert (trained.mean_iou, trained.iou, trained.error_modes, trained.num_masks) == (None, None, None, 0)
    assert trained.coco is None


def test_pixels_error_modes_and_coco_s_figures_survive_json() -> None:
    modes = {"correct": 0.5, "inside": 0.25, "contains": 0.25, "overlap": 0.0, "none": 0.0}
    judged = judgement(0.5, 0.6).model_copy(
        update={
            "error_modes": {"car": modes, "cat": None},
            "mean_error_modes": modes,
            "iou": {"car": 0.4, "cat": None, "background": 0.8},
            "mean_iou": 0.6,
            "num_masks": 3,
            "coco": COCO,
        }
    )
    assert Judgement.model_validate_json(judged.model_dump_json()) == judged


@pytest.mark.parametrize("field", ["mean_ap", "mean_corloc", "mean_iou", "pixel_recall", "heatmap_precision_micro"])
def test_a_share_over_one_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Judgement.model_validate(judgement(0.5, 0.6).model_dump() | {field: 1.5})


def test_where_boxes_are_unknown_the_labels_take_their_place() -> None:
    judged = without_boxes()
    assert judged.shown_measures() == {"classification_ap": "classification AP"}
    assert (judged.of_class("classification_ap", "car"), judged.mean_of("classification_ap")) == (0.75, 0.75)
    assert judged.without_boxes_sentence() == "no boxes: AP and CorLoc cannot be counted"
    assert judgement(0.5, 0.6).without_boxes_sentence() == ""
    unknown = judged.model_copy(update={"trivial": {"whole_image": TrivialBox(mean_ap=None, mean_corloc=None)}})
    assert unknown.told_of_trivial_boxes() == ""
    assert list(judgement(0.5, 0.6).shown_measures()) == ["ap", "corloc"]


def test_trained_on_labels_and_judged_where_boxes_exist_has_ap_and_no_corloc() -> None:
    judged = judgement(0.5, None).model_copy(update={"without_boxes": ("train",)})
    assert judged.shown_measures() == {"ap": "AP"}
    assert judged.without_boxes_sentence() == "no boxes in the training split: CorLoc cannot be counted"


def test_without_boxes_a_baseline_is_beaten_by_labels() -> None:
    (told,) = results(without_boxes(0.5), without_boxes(0.25), without_boxes(0.75)).shortcomings()
    assert told == "mean classification AP 0.500 does not beat chance (0.750)"
