import pytest

from sdcn_core.__main__ import main
from sdcn_core.config.experiment import ExperimentConfig


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> ExperimentConfig:
    assert main(["train", *arguments, "--show"]) == 0
    return ExperimentConfig.model_validate_json(capsys.readouterr().out)


def test_a_method_turns_a_preset_into_it_and_set_has_the_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    experiment = shown(capsys, "--preset", "tiny", "--method", "wsddn", "--set", "schedule.classifier.steps=3")
    assert (experiment.model.detection.refinements, experiment.objective.segmentation_branch) == (0, False)
    assert experiment.schedule.classifier.steps == 3
