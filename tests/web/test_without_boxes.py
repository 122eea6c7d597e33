from service.web.headlines import means
from service.web.tables import ablation_tables, judgement_tables
from tests.service.jobs.test_results import judgement, without_boxes
from tests.service.jobs.test_rows_without_boxes import compared


def test_the_table_of_a_training_without_boxes_has_no_column_that_could_not_be_counted() -> None:
    table, *others = judgement_tables(("car", "cat"), {"trained": without_boxes(), "chance": without_boxes(0.5)})
    assert table.columns == ("class", "classification AP", "classification AP, chance")
    assert [[cell.text for cell in row.cells] for row in table.rows] == [["75.0", "50.0"], ["–", "–"], ["75.0", "50.0"]]
    assert table.note.endswith("in per cent; no boxes: AP and CorLoc cannot be counted.")
    assert others == []


def test_the_headline_says_what_is_missing() -> None:
    assert means(without_boxes()) == "75.0 classification mAP · no boxes"
    assert means(judgement(0.5, 0.25)) == "50.0 mAP · 25.0 CorLoc"
    judged = judgement(0.5, None).model_copy(update={"without_boxes": ("train",)})
    assert means(judged) == "50.0 mAP · no boxes"


def test_the_table_of_an_ablation_compares_by_labels_and_says_why() -> None:
    table = ablation_tables(compared(without_boxes(0.5), without_boxes(0.75)))[0]
    assert table.columns == ("variant", "classification mAP", "Δ classification mAP")
    assert "There are no boxes: AP and CorLoc cannot be counted." in table.note
