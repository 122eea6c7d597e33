import pytest
from pydantic import JsonValue, ValidationError

from sdcn_core.config.experiment import ExperimentConfig, JudgedExperiment
from sdcn_core.config.presets import tiny


@pytest.mark.parametrize(
    ("field", "split", "said"),
    [
        ("test_split", "train", "'train', from which trainings learn: set it to val or test"),
        ("test_split", "trainval", "'trainval', from which trainings learn"),
        ("train_split", "val", "'val', by which trainings are judged: set it to train or trainval"),
        ("train_split", "test", "'test', by which trainings are judged"),
        ("test_split", "none", "Input should be"),
    ],
)
def test_a_training_is_not_judged_on_scenes_that_it_could_learn_from(field: str, split: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        tiny().with_overrides({f"data.source.{field}": split})


def test_a_training_on_trainval_is_not_judged_on_its_part_val() -> None:
    with pytest.raises(ValidationError, match="holds the images of 'val'"):
        tiny().with_overrides({"data.source.train_split": "trainval", "data.source.test_split": "val"})


def test_what_only_judges_takes_any_split_in_any_role_and_is_otherwise_the_same_experiment() -> None:
    both: dict[str, JsonValue] = {"data.source.test_split": "train", "data.source.train_split": "train"}
    judged = JudgedExperiment(**dict(tiny())).with_overrides(both)
    assert isinstance(judged, JudgedExperiment)
    assert judged.with_overrides(dict.fromkeys(both, "test")).data.source.train_split == "test"
    assert JudgedExperiment(**dict(tiny())).digest() == tiny().digest()
    with pytest.raises(ValidationError, match="from which trainings learn"):
        ExperimentConfig.model_validate(judged.model_dump())


def test_an_experiment_written_before_there_were_protocols_is_judged_by_oicr_s() -> None:
    written = tiny().model_dump(mode="json")
    for field in ("protocol", "pcl"):
        del written["evaluation"][field]
    assert ExperimentConfig.model_validate(written) == tiny()
    assert tiny().evaluation.protocol == "oicr"
