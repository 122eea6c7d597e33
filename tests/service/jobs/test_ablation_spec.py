import pytest
from pydantic import JsonValue, ValidationError

from sdcn_core.config.studies import ABLATIONS
from service.errors import InvalidSpec
from service.jobs.ablation_spec import AblationSpec


def ablation(**fields: JsonValue) -> AblationSpec:
    return AblationSpec.model_validate({"kind": "ablation", "preset": "tiny", **fields}).resolve()


def refused_fields(**fields: JsonValue) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        ablation(**fields)
    return [problem.field for problem in caught.value.fields]


@pytest.mark.parametrize("study", ABLATIONS)
def test_every_named_ablation_resolves_on_every_scale_of_scenes(study: str) -> None:
    for preset in ("tiny", "scenes"):
        resolved = ablation(study=study, preset=preset)
        assert [v.name for v in resolved.variants] == [v.name for v in ABLATIONS[study]().variants]
        assert resolved.name == study


def test_resolving_again_changes_nothing() -> None:
    resolved = ablation(study="table-2", seeds=[0, 1])
    assert resolved.resolve() == resolved


def test_each_variant_is_trained_with_each_seed_also_of_the_data() -> None:
    runs = ablation(study="table-2", seeds=[3, 4]).runs()
    assert len(runs) == 8
    assert {(r.seed, r.experiment.seed, r.experiment.data.source.seed) for r in runs} == {(3, 3, 3), (4, 4, 4)}  # type: ignore[union-attr]
    assert len({r.name for r in runs}) == 8


def test_data_can_stay_the_same_over_seeds() -> None:
    runs = ablation(study="table-2", seeds=[3, 4], seed_data=False).runs()
    assert {r.experiment.data.source.seed for r in runs} == {0}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"variants": [{"name": "a"}, {"name": "b", "overrides": {"seed": 7}}]}, "variants.b.overrides.seed"),
        ({"variants": [{"name": "a", "overrides": {"seed": 0}}]}, "variants.a.overrides.seed"),
        (
            {"variants": [{"name": "a", "overrides": {"data.source": {"kind": "scenes", "layout": "halo"}}}]},
            "variants.a.overrides.data.source.seed",
        ),
        ({"study": "table-2", "overrides": {"seed": 0}}, "overrides.seed"),
        ({"study": "table-2", "overrides": {"data.source.seed": 7}}, "overrides.data.source.seed"),
        ({"study": "table-2", "overrides": {"seed": 7}, "seeds": [0]}, "overrides.seed"),
    ],
)
def test_a_seed_beside_seeds_is_refused(fields: dict[str, JsonValue], field: str) -> None:
    with pytest.raises(InvalidSpec, match="name seeds there alone") as caught:
        ablation(**{"seeds": [0, 1], **fields})
    assert [problem.field for problem in caught.value.fields] == [field]


def test_runs_of_a_study_with_one_seed_may_differ_in_it() -> None:
    assert [r.experiment.seed for r in ablation(factors={"seed": [1, 2]}).runs()] == [1, 2]
    assert ablation(study="table-2", overrides={"seed": 7}, seeds=[7]).runs()[0].experiment.seed == 7


def test_data_that_stay_the_same_over_seeds_may_be_chosen() -> None:
    variant: JsonValue = {"name": "other", "overrides": {"data.source.seed": 5}}
    fields: dict[str, JsonValue] = {"variants": [{"name": "base"}, variant], "overrides": {"data.source.seed": 7}}
    runs = ablation(**fields, seeds=[3, 4], seed_data=False).runs()
    assert [r.experiment.data.source.seed for r in runs] == [7, 5, 7, 5]  # type: ignore[union-attr]


def test_the_rows_of_table_2_differ_in_the_arrows_alone() -> None:
    arrows = {
        r.variant: (
            r.experiment.objective.segmentation_branch,
            r.experiment.objective.segmentation_instructs_detection,
            r.experiment.objective.detection_instructs_segmentation,
        )
        for r in ablation(study="table-2").runs()
    }
    assert arrows == {
        "oicr": (False, False, False),
        "apart": (True, False, False),
        "seg-to-det": (True, True, False),
        "sdcn": (True, True, True),
    }


def test_factors_are_crossed_and_named_by_their_values() -> None:
    resolved = ablation(factors={"objective.tau_0": [0.5, 2.0], "objective.region_overlap": ["region", "bbox"]})
    assert [v.name for v in resolved.variants] == [
        "tau_0-0.5-region_overlap-region",
        "tau_0-0.5-region_overlap-bbox",
        "tau_0-2.0-region_overlap-region",
        "tau_0-2.0-region_overlap-bbox",
    ]
    assert resolved.base_variant == "tau_0-0.5-region_overlap-region"


def test_factors_with_long_names_get_names_and_titles_that_differ() -> None:
    paths = ["objective.segmentation_instructs_detection", "objective.detection_instructs_segmentation"]
    variant: JsonValue = {"name": "v" * 64, "title": "t" * 190}
    resolved = ablation(variants=[variant], factors={path: [False, True] for path in [*paths, "evaluation.flip"]})
    assert len({v.name for v in resolved.variants}) == 8
    assert len({v.title for v in resolved.variants}) == 8
    assert all(len(v.name) <= 48 for v in resolved.variants)
    assert resolved.resolve() == resolved


def test_a_variant_that_is_not_crossed_keeps_the_name_it_was_given() -> None:
    name = "a" * 63 + "_"
    assert ablation(variants=[{"name": name}], base_variant=name).variants[0].name == name


def test_variants_are_crossed_with_factors() -> None:
    variants: JsonValue = [{"name": "a"}, {"name": "b", "overrides": {"objective.tau_0": 2}}]
    resolved = ablation(variants=variants, factors={"schedule.clip_norm": [1, None]})
    assert [v.overrides for v in resolved.variants] == [
        {"schedule.clip_norm": 1},
        {"schedule.clip_norm": None},
        {"objective.tau_0": 2, "schedule.clip_norm": 1},
        {"objective.tau_0": 2, "schedule.clip_norm": None},
    ]


def test_runs_judge_no_baselines_unless_asked() -> None:
    assert not any(r.experiment.evaluation.baselines for r in ablation(study="table-2").runs())
    asked = ablation(study="table-2", overrides={"evaluation.baselines": True})
    assert all(r.experiment.evaluation.baselines for r in asked.runs())


def test_a_variant_that_is_refused_is_named() -> None:
    variants: JsonValue = [{"name": "fine"}, {"name": "odd", "overrides": {"objective.tau_0": -1}}]
    assert refused_fields(variants=variants) == ["variants.odd.overrides.objective.tau_0"]


def test_a_misspelt_path_of_a_factor_is_refused() -> None:
    (field,) = refused_fields(factors={"objective.tau": [1]})
    assert field.endswith("objective.tau")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"study": "table-9"}, "study"),
        ({"study": "table-2", "preset": "none"}, "preset"),
        ({"study": "table-2", "base_variant": "nobody"}, "base_variant"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "variants"),
        ({"variants": [{"name": "a", "title": "x"}, {"name": "b", "title": "x"}]}, "variants.b.title"),
        ({"variants": [{"name": "a"}, {"name": "b", "title": "a"}]}, "variants.b.title"),
        ({"factors": {"seed": list(range(50)), "objective.tau_0": [1, 2, 3, 4, 5]}}, "factors"),
        ({"study": "table-2", "resources": {"num_workers": 3}}, "experiment.schedule.images_per_step"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(fields: dict[str, JsonValue], field: str) -> None:
    assert field in refused_fields(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"study": "table-2", "variants": [{"name": "a"}]},
        {"study": "table-2", "seeds": []},
        {"study": "table-2", "seeds": [1, 1]},
        {"variants": [{"name": "a/b"}]},
    ],
)
def test_contradictions_are_refused_before_anything_is_resolved(fields: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError):
        ablation(**fields)


def test_equal_studies_have_equal_digests_whatever_their_name() -> None:
    assert ablation(study="table-2", name="mine").config_digest == ablation(study="table-2").config_digest
    assert ablation(study="table-2", seeds=[1]).config_digest != ablation(study="table-2").config_digest


def test_of_billions_of_combinations_none_is_written_out() -> None:
    factors = {f"objective.tau_{number}": list(range(50)) for number in range(6)}
    with pytest.raises(InvalidSpec, match="15625000000 variants times 1 seeds are over 200 runs"):
        AblationSpec.model_validate({"preset": "tiny", "factors": factors}).resolve()
