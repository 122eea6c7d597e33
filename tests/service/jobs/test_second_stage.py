import pytest

from sdcn_core.config.presets import preset
from sdcn_core.config.second_stages import fast_rcnn
from service.errors import InvalidSpec
from service.jobs.any_results import parse_results
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.specs import JOB_SPEC, SecondStageSpec, TrainSpec

TEACHER = preset("tiny")


def spec(**fields: object) -> SecondStageSpec:
    read = JOB_SPEC.validate_python({"kind": "second_stage", "model": "abc", **fields})
    assert isinstance(read, SecondStageSpec)
    return read.resolve()


def test_its_experiment_follows_on_the_model_s_with_the_overrides_on_top() -> None:
    taught = spec(overrides={"second_stage.steps": 7, "seed": 3}).taught_by(TEACHER)
    expected = fast_rcnn(TEACHER).with_overrides({"second_stage.steps": 7, "seed": 3})
    assert taught.resolved_experiment == expected
    assert taught.total_steps == TEACHER.schedule.backbone.steps + 7
    assert taught.taught_by(TEACHER) == taught
    assert taught.name == "second-stage-abc"


def test_labels_alone_take_no_step_and_may_be_found_with_any_number_of_workers() -> None:
    taught = spec(train=False, resources={"num_workers": 3}).taught_by(TEACHER)
    assert taught.total_steps == 0


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"overrides": {"second_stage.steps": 0}}, "overrides.second_stage.steps"),
        ({"overrides": {"schedule.loop_steps": 3}}, "set both to 0"),
        ({"overrides": {"second_stage": None, "schedule.loop_steps": 3}}, "experiment.second_stage: is required"),
        ({"resources": {"num_workers": 3}}, "cannot be shared evenly by 3 workers"),
        ({"experiment": preset("tiny").model_dump(mode="json")}, "experiment.second_stage: is required"),
    ],
)
def test_what_does_not_fit_the_model_is_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidSpec, match=named):
        spec(**fields).taught_by(TEACHER)


def test_a_second_stage_is_no_training_by_itself() -> None:
    with pytest.raises(InvalidSpec, match="submit it as a job of kind second_stage"):
        TrainSpec(experiment=fast_rcnn(TEACHER)).resolve()


def judgement(ap: float) -> Judgement:
    return Judgement(
        ap={"cat": ap},
        mean_ap=ap,
        corloc={"cat": ap},
        mean_corloc=ap,
        num_test_images=1,
        num_train_images=1,
        seconds_per_image=0,
    )


FOUND = PseudoLabelsFound(model_sha256="0" * 64, images=3, without_boxes=1, boxes={"cat": 2})


def results(ap: float | None, teacher: float | None = 0.5) -> SecondStageResults:
    return SecondStageResults(
        model="abc",
        classes=("cat",),
        pseudo_labels=FOUND,
        teacher=None if teacher is None else judgement(teacher),
        student=None if ap is None else TrainResults(classes=("cat",), trained=judgement(ap), chance=judgement(0.1)),
    )


def test_results_are_read_by_their_kind() -> None:
    for found in (results(0.6), results(None)):
        assert parse_results(found.model_dump(mode="json")) == found


def test_the_teacher_stands_beside_the_student_who_should_beat_it() -> None:
    assert list(results(0.6).judgements()) == ["trained", "teacher", "chance"]
    assert list(results(0.6, None).judgements()) == ["trained", "chance"]
    assert results(None).judgements() == {}
    assert results(0.6).shortcomings() == ()
    assert results(None).shortcomings() == ()
    assert results(0.4).shortcomings() == (
        "mean AP 0.400 does not beat the teacher (0.500)",
        "mean CorLoc 0.400 does not beat the teacher (0.500)",
    )
