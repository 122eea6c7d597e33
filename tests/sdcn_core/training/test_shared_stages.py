from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import preset
from sdcn_core.config.studies import table_2
from sdcn_core.training.progress import Stage
from sdcn_core.training.shared_stages import SharedStage, shared_stages, stage_key

BASE = preset("tiny")


def table_2_of(base: ExperimentConfig, *, seeds: int) -> dict[str, ExperimentConfig]:
    return {
        f"{variant.name}-{seed}": base.with_overrides({**variant.overrides, "seed": seed})
        for seed in range(seeds)
        for variant in table_2().variants
    }


def shown(pieces: tuple[SharedStage, ...]) -> list[tuple[Stage, set[str], Stage | None]]:
    stages = {piece.key: piece.stage for piece in pieces}
    return [(piece.stage, set(piece.used_by), None if piece.needs is None else stages[piece.needs]) for piece in pieces]


def test_table_2_shares_the_backbone_by_four_and_both_branches_by_three_for_each_seed() -> None:
    pieces = shared_stages(table_2_of(BASE, seeds=2), num_workers=1)
    assert shown(pieces) == [
        (Stage.BACKBONE, {f"{name}-{seed}" for name in ("oicr", "apart", "seg-to-det", "sdcn")}, None)
        for seed in range(2)
    ] + [
        (Stage.APART, {f"{name}-{seed}" for name in ("apart", "seg-to-det", "sdcn")}, Stage.BACKBONE)
        for seed in range(2)
    ]


def test_every_piece_comes_after_the_one_that_it_needs_and_leaves_the_state_that_its_users_look_for() -> None:
    experiments = table_2_of(BASE, seeds=2)
    known: set[str] = set()
    for piece in shared_stages(experiments, num_workers=2):
        assert piece.needs is None or piece.needs in known
        known.add(piece.key)
        users = [*(experiments[name] for name in piece.used_by), piece.experiment]
        assert {stage_key(user, piece.stage, num_workers=2) for user in users} == {piece.key}


def test_a_sweep_of_a_loop_weight_shares_everything_before_the_loop_in_one_piece() -> None:
    experiments = {str(value): BASE.with_overrides({"objective.lambda_seg": value}) for value in (0.01, 0.1, 1)}
    assert shown(shared_stages(experiments, num_workers=1)) == [(Stage.APART, set(experiments), None)]


def test_a_sweep_of_a_weight_that_acts_apart_shares_what_learns_labels() -> None:
    experiments = {str(value): BASE.with_overrides({"objective.lambda_mil": value}) for value in (0.01, 0.1, 1)}
    assert shown(shared_stages(experiments, num_workers=1)) == [(Stage.CLASSIFIER, set(experiments), None)]


def test_experiments_that_differ_only_in_their_judgement_share_the_whole_training() -> None:
    experiments = {str(iou): BASE.with_overrides({"evaluation.nms_iou": iou}) for iou in (0.3, 0.4)}
    assert shown(shared_stages(experiments, num_workers=1)) == [(Stage.LOOP, set(experiments), None)]


def test_a_stage_where_somebody_branches_off_stays_a_piece() -> None:
    experiments = {
        "one": BASE,
        "two": BASE.with_overrides({"objective.tau_0": 0.3}),
        "other rate": BASE.with_overrides({"schedule.learning_rate": 1e-4}),
    }
    assert shown(shared_stages(experiments, num_workers=1)) == [
        (Stage.CLASSIFIER, {"one", "two", "other rate"}, None),
        (Stage.APART, {"one", "two"}, Stage.CLASSIFIER),
    ]


def test_one_experiment_and_none_at_all_share_nothing() -> None:
    assert shared_stages({"alone": BASE}, num_workers=1) == ()
    assert shared_stages({}, num_workers=1) == ()


def test_other_seeds_share_nothing() -> None:
    experiments = {str(seed): BASE.with_overrides({"seed": seed}) for seed in range(3)}
    assert shared_stages(experiments, num_workers=1) == ()


def test_with_pretrained_weights_and_no_label_stages_both_branches_are_the_first_piece() -> None:
    base = BASE.with_overrides({"schedule.backbone.steps": 0, "schedule.classifier.steps": 0})
    experiments = {str(value): base.with_overrides({"objective.tau_0": value}) for value in (0.1, 0.5)}
    assert shown(shared_stages(experiments, num_workers=1)) == [(Stage.APART, set(experiments), None)]
