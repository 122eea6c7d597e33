"""Runs that take their first stages from a store, and the pieces of training that fill it."""

import logging
from pathlib import Path

import pytest

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.methods import METHODS
from sdcn_core.errors import BadInput, CheckpointError
from sdcn_core.training.plan import DATA_SHARE, plan_stages
from sdcn_core.training.progress import Stage
from sdcn_core.training.shared_stages import StageStore, stage_key
from tests.sdcn_core.training.runs import Place, RecordingHooks, differing, run, run_on_two_ranks, weights
from tests.sdcn_core.training.small import small_experiment

SHORT = {
    "schedule.backbone.steps": 3,
    "schedule.classifier.steps": 3,
    "schedule.apart_steps": 4,
    "schedule.loop_steps": 4,
    "schedule.decay_at_steps": [2],
    "schedule.report_every_steps": 1,
    "schedule.checkpoint_every_steps": 1,
    "schedule.clip_norm": 0.5,  # always clips: a gradient left over from an earlier stage would show
    "model.detection.dropout": 0.5,
    "evaluation.baselines": False,
}
SDCN = small_experiment(**SHORT)
OICR = SDCN.with_overrides(METHODS["oicr"]())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, RecordingHooks]:
    """Runs without a store."""
    base = tmp_path_factory.mktemp("straight")
    return {
        name: run(experiment, Place.below(base / name, cache))[1]
        for name, experiment in {"sdcn": SDCN, "oicr": OICR}.items()
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[Stage, StageStore]:
    """For each stage a store that holds SDCN's state after it, and nothing else."""
    base = tmp_path_factory.mktemp("filled")
    stores = {}
    for stage in (Stage.BACKBONE, Stage.CLASSIFIER, Stage.APART):
        stores[stage] = StageStore(base / stage / "states")
        run(SDCN, Place.below(base / stage / "run", cache), stages=stores[stage], until=stage)
    return stores


def fractions(hooks: RecordingHooks) -> list[float]:
    return [report.progress.fraction for report in hooks.reports]


def assert_same_from(step: int, hooks: RecordingHooks, straight: RecordingHooks, experiment: ExperimentConfig) -> None:
    """The run trained from `step` on, and in the same bits as the straight one."""
    assert differing(weights(experiment, hooks), weights(experiment, straight)) == []
    assert hooks.losses() == {at: losses for at, losses in straight.losses().items() if at > step}
    assert hooks.reports[-1].metrics == straight.reports[-1].metrics


@pytest.mark.parametrize(("stage", "step"), [(Stage.BACKBONE, 3), (Stage.CLASSIFIER, 6), (Stage.APART, 10)])
def test_a_run_that_starts_after_a_stored_stage_ends_in_the_same_bits_as_a_straight_one(
    tmp_path: Path,
    cache: Path,
    straight: dict[str, RecordingHooks],
    filled: dict[Stage, StageStore],
    stage: Stage,
    step: int,
) -> None:
    _, hooks = run(SDCN, Place.below(tmp_path, cache), stages=filled[stage])
    assert_same_from(step, hooks, straight["sdcn"], SDCN)


def test_oicr_that_starts_from_sdcn_s_backbone_ends_in_the_same_bits_as_a_straight_one(
    tmp_path: Path, cache: Path, straight: dict[str, RecordingHooks], filled: dict[Stage, StageStore]
) -> None:
    _, hooks = run(OICR, Place.below(tmp_path, cache), stages=filled[Stage.BACKBONE])
    assert_same_from(3, hooks, straight["oicr"], OICR)


def test_a_piece_that_starts_from_a_piece_leaves_the_same_state_as_one_that_trained_all(
    tmp_path: Path, cache: Path, filled: dict[Stage, StageStore]
) -> None:
    key = stage_key(SDCN, Stage.APART, num_workers=1)
    whole = filled[Stage.APART].load(key)
    store = StageStore(tmp_path / "states")
    for stage in (Stage.BACKBONE, Stage.APART):
        run(SDCN, Place.below(tmp_path / stage, cache), stages=store, until=stage)
    in_pieces = store.load(key)
    assert whole is not None
    assert in_pieces is not None
    assert whole.networks.keys() == in_pieces.networks.keys()
    for part, values in whole.networks.items():
        assert differing(dict(values), dict(in_pieces.networks[part])) == []


@pytest.mark.parametrize("stop_at_step", [7, 9, 11], ids=["apart", "end of apart", "loop"])
def test_a_run_from_the_store_that_is_stopped_and_resumed_ends_in_the_same_bits_as_a_straight_one(
    tmp_path: Path,
    cache: Path,
    straight: dict[str, RecordingHooks],
    filled: dict[Stage, StageStore],
    stop_at_step: int,
) -> None:
    store = filled[Stage.CLASSIFIER]
    stopped, first = run(SDCN, Place.below(tmp_path / "first", cache), stages=store, stop_at_step=stop_at_step)
    assert stopped.stopped
    _, second = run(SDCN, Place.below(tmp_path / "second", cache), stages=store, checkpoint=first.checkpoint)
    assert_same_from(first.reports[-1].global_step, second, straight["sdcn"], SDCN)
    assert fractions(first) + fractions(second) == sorted(fractions(first) + fractions(second))


def test_a_piece_that_is_stopped_and_resumed_leaves_the_state_of_an_unbroken_one(
    tmp_path: Path, cache: Path, filled: dict[Stage, StageStore]
) -> None:
    store = StageStore(tmp_path / "states")
    stopped, first = run(
        SDCN, Place.below(tmp_path / "first", cache), stages=store, until=Stage.CLASSIFIER, stop_at_step=4
    )
    key = stage_key(SDCN, Stage.CLASSIFIER, num_workers=1)
    assert stopped.stopped
    assert store.find(key) is None
    place = Place.below(tmp_path / "second", cache)
    run(SDCN, place, stages=store, until=Stage.CLASSIFIER, checkpoint=first.checkpoint)
    resumed, unbroken = store.load(key), filled[Stage.CLASSIFIER].load(key)
    assert resumed is not None
    assert unbroken is not None
    for part, values in unbroken.networks.items():
        assert differing(dict(values), dict(resumed.networks[part])) == []


def test_a_state_holds_the_parts_that_were_trained_and_no_others(filled: dict[Stage, StageStore]) -> None:
    held = {}
    for stage, store in filled.items():
        state = store.load(stage_key(SDCN, stage, num_workers=1))
        assert state is not None
        held[stage] = set(state.networks)
    labels = {"backbone", "label_head"}
    assert held == {
        Stage.BACKBONE: labels,
        Stage.CLASSIFIER: labels | {"classifier"},
        Stage.APART: labels | {"classifier", "detection", "segmentation"},
    }


def test_a_piece_trains_its_stages_judges_nothing_and_has_no_results(tmp_path: Path, cache: Path) -> None:
    watched = SDCN.with_overrides({"evaluation.baselines": True, "evaluation.every_steps": 1})
    store = StageStore(tmp_path / "states")
    outcome, hooks = run(watched, Place.below(tmp_path / "run", cache), stages=store, until=Stage.APART)
    assert (outcome.stopped, outcome.results, outcome.files) == (False, None, {})
    assert {report.progress.stage for report in hooks.reports} == {Stage.BACKBONE, Stage.CLASSIFIER, Stage.APART}
    assert not any(name.startswith("eval/") for report in hooks.reports for name in report.metrics)
    assert store.find(stage_key(watched, Stage.APART, num_workers=1)) is not None


def test_a_piece_that_is_there_already_is_done_at_once(
    tmp_path: Path, cache: Path, filled: dict[Stage, StageStore]
) -> None:
    outcome, hooks = run(SDCN, Place.below(tmp_path, cache), stages=filled[Stage.APART], until=Stage.APART)
    assert not outcome.stopped
    assert [(report.progress.fraction, report.global_step) for report in hooks.reports] == [(1.0, 10)]


def test_a_run_to_the_end_leaves_nothing_in_the_store(tmp_path: Path, cache: Path) -> None:
    store = StageStore(tmp_path / "states")
    run(SDCN, Place.below(tmp_path / "run", cache), stages=store)
    assert not store.folder.exists()


def test_the_untrained_network_is_judged_as_in_a_straight_run_before_the_state_is_taken_over(
    tmp_path: Path, cache: Path
) -> None:
    judged = SDCN.with_overrides({"evaluation.baselines": True, "evaluation.flip": True})
    store = StageStore(tmp_path / "states")
    run(judged, Place.below(tmp_path / "piece", cache), stages=store, until=Stage.APART)
    from_store, hooks = run(judged, Place.below(tmp_path / "from store", cache), stages=store)
    straight, _ = run(judged, Place.below(tmp_path / "straight", cache))
    assert from_store.results is not None
    assert straight.results is not None
    assert without_times(from_store.results) == without_times(straight.results)
    assert (hooks.reports[0].progress.stage, hooks.reports[0].global_step) == (Stage.EVALUATE, 0)


def without_times(results: dict) -> dict:  # type: ignore[type-arg]  # JSON
    return {
        name: {key: value for key, value in part.items() if "second" not in key} if isinstance(part, dict) else part
        for name, part in results.items()
    }


@pytest.mark.parametrize("until", [None, Stage.APART])
def test_the_fraction_of_a_run_from_the_store_runs_over_its_own_work(
    tmp_path: Path, cache: Path, filled: dict[Stage, StageStore], until: Stage | None
) -> None:
    store = StageStore(tmp_path / "states")
    key = stage_key(SDCN, Stage.CLASSIFIER, num_workers=1)
    state = filled[Stage.CLASSIFIER].load(key)
    assert state is not None
    store.put(key, state)
    _, hooks = run(SDCN, Place.below(tmp_path / "run", cache), stages=store, until=until)
    seen = fractions(hooks)
    own_steps = sum(plan.steps for plan in plan_stages(SDCN, until=until)[2:])
    assert seen == sorted(seen)
    assert DATA_SHARE < seen[0] <= DATA_SHARE + (1 - DATA_SHARE) / own_steps
    assert seen[-1] == pytest.approx(1.0)
    assert hooks.reports[0].global_step == 7


def test_a_damaged_state_is_trained_anew(
    tmp_path: Path, cache: Path, straight: dict[str, RecordingHooks], caplog: pytest.LogCaptureFixture
) -> None:
    store = StageStore(tmp_path / "states")
    run(SDCN, Place.below(tmp_path / "piece", cache), stages=store, until=Stage.BACKBONE)
    (path,) = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        _, hooks = run(SDCN, Place.below(tmp_path / "run", cache), stages=store)
    assert "its stages are trained anew" in caplog.text
    assert_same_from(0, hooks, straight["sdcn"], SDCN)


def test_a_state_of_other_classes_is_not_used(
    tmp_path: Path, cache: Path, filled: dict[Stage, StageStore], caplog: pytest.LogCaptureFixture
) -> None:
    key = stage_key(SDCN, Stage.BACKBONE, num_workers=1)
    state = filled[Stage.BACKBONE].load(key)
    assert state is not None
    store = StageStore(tmp_path / "states")
    store.put(key, type(state)(("cat", "dog"), state.networks))
    with caplog.at_level(logging.WARNING):
        _, hooks = run(SDCN, Place.below(tmp_path / "run", cache), stages=store, until=Stage.BACKBONE)
    assert "knows the classes ('cat', 'dog')" in caplog.text
    assert min(hooks.losses()) == 1


def test_a_checkpoint_from_behind_the_wanted_stage_is_refused(tmp_path: Path, cache: Path) -> None:
    _, hooks = run(SDCN, Place.below(tmp_path / "whole", cache), stop_at_step=7)
    with pytest.raises(CheckpointError, match=r"step 8, after the end of stage backbone \(step 3\)"):
        run(
            SDCN,
            Place.below(tmp_path / "piece", cache),
            stages=StageStore(tmp_path / "states"),
            until=Stage.BACKBONE,
            checkpoint=hooks.checkpoint,
        )


def test_a_stage_that_the_experiment_does_not_have_is_refused_with_those_that_it_has(
    tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(BadInput, match=r"no training stage 'classifier': .* backbone, apart, loop"):
        run(OICR, Place.below(tmp_path, cache), stages=StageStore(tmp_path), until=Stage.CLASSIFIER)


def test_a_piece_without_a_store_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match="give stages"):
        run(SDCN, Place.below(tmp_path, cache), until=Stage.BACKBONE)


@pytest.mark.integration
def test_two_ranks_fill_a_store_and_start_from_it_in_the_same_bits(tmp_path: Path, cache: Path) -> None:
    store = StageStore(tmp_path / "states")
    straight = run_on_two_ranks(SDCN, Place.below(tmp_path / "straight", cache))
    run_on_two_ranks(SDCN, Place.below(tmp_path / "piece", cache), stages=store, until=Stage.APART)
    assert store.find(stage_key(SDCN, Stage.APART, num_workers=2)) is not None
    from_store = run_on_two_ranks(SDCN, Place.below(tmp_path / "from store", cache), stages=store)
    assert from_store == {step: losses for step, losses in straight.items() if step > 10}
