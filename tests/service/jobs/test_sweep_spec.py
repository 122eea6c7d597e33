import pytest
from pydantic import JsonValue, ValidationError

from service.errors import InvalidSpec
from service.jobs.sweep_spec import SweepSpec

TAU: JsonValue = {"kind": "uniform", "low": 0.1, "high": 2}


def sweep(**fields: JsonValue) -> SweepSpec:
    return SweepSpec.model_validate({"kind": "sweep", "preset": "tiny", **fields}).resolve()


def choices(*values: JsonValue) -> JsonValue:
    return {"kind": "choice", "values": list(values)}


def random(num_trials: int = 3) -> JsonValue:
    return {"kind": "random", "num_trials": num_trials}


def refused_fields(**fields: JsonValue) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        sweep(**fields)
    return [problem.field for problem in caught.value.fields]


def test_figure_5_varies_each_balance_weight_alone_and_trains_the_base_once() -> None:
    trials = sweep(study="figure-5").known_trials()
    assert trials is not None
    assert len(trials) == 1 + 5 * 3
    assert [len(overrides) for overrides in trials.values()] == [0] + [1] * 15
    assert {path for overrides in trials.values() for path in overrides} == {
        f"objective.lambda_{name}" for name in ("adv", "cls", "seg", "mil", "ref")
    }


def test_a_grid_has_every_combination() -> None:
    resolved = sweep(space={"objective.tau_0": choices(0.5, 1.0), "seed": choices(1, 2, 3)})
    trials = resolved.known_trials()
    assert trials is not None
    assert [tuple(o.values()) for o in trials.values()] == [(t, s) for t in (0.5, 1.0) for s in (1, 2, 3)]
    assert resolved.num_trials == 6


def test_a_random_search_knows_its_number_of_trials_only() -> None:
    resolved = sweep(space={"objective.tau_0": TAU}, search=random(7))
    assert resolved.known_trials() is None
    assert resolved.num_trials == 7


def test_scenes_are_judged_on_validation_unless_asked() -> None:
    assert sweep(study="figure-5").resolved_experiment.data.source.test_split == "val"
    assert sweep(study="figure-5", judge_on="test").resolved_experiment.data.source.test_split == "test"
    own = sweep(study="figure-5", overrides={"data.source.test_split": "test"})
    assert own.resolved_experiment.data.source.test_split == "test"


@pytest.mark.parametrize(
    "fields",
    [
        {"study": "figure-5", "seeds": [0, 1]},
        {"study": "figure-5", "overrides": {"data.source.test_split": "test"}},
        {"study": "figure-5", "overrides": {"data.source.test_split": "val"}, "judge_on": "test"},
        {"space": {"objective.tau_0": TAU}, "search": random(), "judge_on": "test"},
        {"space": {"objective.tau_0": choices(1)}, "overrides": {"data.source": {"kind": "voc", "path": "voc"}}},
    ],
)
def test_resolving_again_changes_nothing(fields: dict[str, JsonValue]) -> None:
    resolved = sweep(**fields)
    again = SweepSpec.model_validate(resolved.model_dump(mode="json")).resolve()
    assert again == resolved
    assert again.config_digest == resolved.config_digest


def test_names_of_trials_are_unique_and_safe() -> None:
    trials = sweep(space={"data.train_scales_px": choices(None, [64], [64, 96])}).known_trials()
    assert trials is not None
    assert len(trials) == 3
    assert all(name.replace("-", "").replace(".", "").replace("_", "").isalnum() for name in trials)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"study": "figure-9"}, "study"),
        ({"space": {"objective.tau": choices(1)}}, "space.objective.tau"),
        ({"space": {"objective.tau_0": choices(0.5, -1)}}, "space.objective.tau_0"),
        (
            {"space": {"objective.tau_0": {"kind": "uniform", "low": -1, "high": 1}}, "search": random()},
            "space.objective.tau_0",
        ),
        (
            {"space": {"model.detection.refinements": {"kind": "uniform", "low": 1, "high": 4}}, "search": random()},
            "space.model.detection.refinements",
        ),
        ({"space": {"objective.tau_0": choices(0.1, 0.1)}}, "space.objective.tau_0"),
        ({"space": {"objective.tau_0": choices(1, 0.5, 1.0)}, "search": random()}, "space.objective.tau_0"),
        ({"space": {"objective.tau_0": TAU}}, "space.objective.tau_0"),
        ({"space": {"objective.tau_0": TAU}, "search": random(), "seeds": [0, 1]}, "seeds"),
        ({"space": {"seed": choices(*range(90))}, "seeds": [0, 1, 2]}, "space"),
        ({"space": {"seed": choices(0, 1)}, "seeds": [0, 1]}, "space.seed"),
        ({"study": "figure-5", "overrides": {"seed": 7}, "seeds": [0, 1]}, "overrides.seed"),
        ({"space": {"objective.tau_0": TAU}, "search": random(), "overrides": {"seed": 7}}, "overrides.seed"),
        (
            {"study": "figure-5", "early_stopping": {"kind": "asha", "grace_steps": 2}},
            "early_stopping.metric",
        ),
        (
            {
                "study": "figure-5",
                "metric": "loss/mil",
                "goal": "min",
                "early_stopping": {"kind": "asha", "grace_steps": 999},
            },
            "early_stopping.grace_steps",
        ),
        (
            {"study": "figure-5", "early_stopping": {"kind": "asha", "grace_steps": 8, "metric": "loss/mil"}},
            "early_stopping.goal",
        ),
        (
            {
                "study": "figure-5",
                "early_stopping": {"kind": "asha", "grace_steps": 8, "metric": "loss/typo", "goal": "min"},
            },
            "early_stopping.metric",
        ),
        ({"study": "figure-5", "metric": "loss/typo"}, "metric"),
        ({"study": "figure-5", "metric": "loss/mil"}, "goal"),
        ({"study": "figure-5", "overrides": {"data.source.train_split": "trainval"}}, "experiment"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(fields: dict[str, JsonValue], field: str) -> None:
    assert refused_fields(**fields) == [field]


@pytest.mark.parametrize(
    ("space", "search"),
    [
        ({"objective.tau_0": choices(0.5)}, {"kind": "grid"}),
        ({"objective.tau_0": TAU}, random()),
        ({"schedule.images_per_step": {"kind": "integer", "low": 3, "high": 6}}, random()),
        ({"schedule.images_per_step": choices(3, 4), "objective.tau_0": TAU}, {"kind": "optuna", "num_trials": 2}),
    ],
)
def test_steps_whose_images_cannot_be_shared_are_refused_whatever_the_search(
    space: JsonValue, search: JsonValue
) -> None:
    fields = refused_fields(space=space, search=search, resources={"num_workers": 3})
    assert "experiment.schedule.images_per_step" in fields


def test_a_drawn_number_of_images_is_judged_by_its_own_values() -> None:
    labels: dict[str, JsonValue] = {f"schedule.{network}.images_per_step": 6 for network in ("backbone", "classifier")}
    space: JsonValue = {"schedule.images_per_step": choices(3, 6), "objective.tau_0": TAU}
    resources: JsonValue = {"num_workers": 3}
    assert sweep(space=space, search=random(), overrides=labels, resources=resources).num_trials == 3


@pytest.mark.parametrize(
    "space",
    [
        {"objective.tau_0": {"kind": "uniform", "low": 2, "high": 1}},
        {"objective.tau_0": {"kind": "log_uniform", "low": 0, "high": 1}},
        {"objective.tau_0": {"kind": "choice", "values": []}},
        {"objective.tau_0": {"kind": "normal"}},
        {},
    ],
)
def test_a_domain_that_is_none_is_refused(space: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError):
        sweep(space=space, search=random())


def test_population_based_training_is_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match="not shown to work here"):
        sweep(study="figure-5", early_stopping={"kind": "pbt"})


def test_asha_may_stop_on_a_loss_or_on_a_midway_map() -> None:
    asha: JsonValue = {"kind": "asha", "grace_steps": 8, "metric": "loss/mil", "goal": "min"}
    assert sweep(study="figure-5", early_stopping=asha).early_stopping is not None
    midway = sweep(
        study="figure-5",
        early_stopping={"kind": "asha", "grace_steps": 8},
        overrides={"evaluation.every_steps": 4},
    )
    assert midway.early_stopping is not None


def test_of_billions_of_trials_none_is_written_out() -> None:
    fields = ("lambda_adv", "lambda_seg", "lambda_cls", "tau_0", "foreground_iou")
    values = [round(0.5 + number / 1000, 3) for number in range(60)]
    space = {f"objective.{field}": {"kind": "choice", "values": values} for field in fields}
    with pytest.raises(InvalidSpec, match="777600000 trials times 1 seeds are over 200 runs"):
        SweepSpec.model_validate({"preset": "tiny", "space": space}).resolve()


LABELS: JsonValue = {"kind": "labels", "path": "pets"}


@pytest.mark.parametrize("metric", ["eval/mean_ap", "eval/mean_corloc", "eval/ap/cat", "eval/corloc/cat"])
def test_a_metric_of_boxes_is_refused_where_none_are_known(metric: str) -> None:
    asked = {"space": {"objective.tau_0": choices(0.5, 1.0)}, "overrides": {"data.source": LABELS}}
    with pytest.raises(InvalidSpec, match=r"Take eval/mean_classification_ap or a loss, .* data.source.annotations"):
        sweep(**asked, metric=metric)
    assert sweep(**asked, metric="eval/mean_classification_ap").metric == "eval/mean_classification_ap"
    with_boxes = {"data.source": {**LABELS, "annotations": "boxes"}}  # type: ignore[dict-item]
    assert sweep(**asked | {"overrides": with_boxes}, metric=metric).metric == metric


def test_trials_may_be_stopped_by_how_well_labels_are_told() -> None:
    asha = {"kind": "asha", "grace_steps": 4}
    asked = {"space": {"objective.tau_0": choices(0.5, 1.0)}, "metric": "eval/mean_classification_ap"}
    overrides = {"data.source": LABELS, "evaluation.every_steps": 2}
    assert sweep(**asked, early_stopping=asha, overrides=overrides).early_stopping is not None
    assert refused_fields(**asked, early_stopping=asha, overrides={"data.source": LABELS}) == ["early_stopping.metric"]
