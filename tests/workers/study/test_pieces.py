from pathlib import Path

from service.jobs.specs import AblationSpec
from workers.attempt_folder import AttemptOrder, RayOrder
from workers.ray_runtime.resources import Share
from workers.study.pieces import StudyPlan, plan_study, work_of
from workers.training.order import RunOrder


def plan(**fields: object) -> StudyPlan:
    spec = AblationSpec.model_validate({"preset": "tiny", "study": "oicr-against-sdcn", **fields}).resolve()
    attempt = AttemptOrder(
        job_id="job",
        attempt=3,
        spec=spec,
        home=Path("/home"),
        data_root=Path("/data"),
        weights_root=Path("/weights"),
        scratch=Path("/scratch"),
        ray=RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=2, checkpoints_to_keep=2),
    )
    return plan_study(attempt, spec.runs(), Share(1, 1, 0), share_stages=spec.share_stages)


def test_each_seed_has_its_own_shared_stage_which_its_runs_need() -> None:
    study = plan(seeds=[0, 1])
    assert len(study.stages) == 2
    assert [piece.name for piece in study.runs] == ["oicr-seed0", "sdcn-seed0", "oicr-seed1", "sdcn-seed1"]
    of_seed_0, of_seed_1 = (piece.name for piece in study.stages)
    assert [piece.needs for piece in study.runs] == [of_seed_0, of_seed_0, of_seed_1, of_seed_1]
    assert study.shared[of_seed_1].used_by == ("oicr-seed1", "sdcn-seed1")


def test_without_sharing_runs_need_nothing_and_look_for_no_store() -> None:
    study = plan(share_stages=False)
    assert study.stages == ()
    assert all(piece.needs is None and piece.order.stages is None for piece in study.runs)


def test_a_piece_knows_its_folder_its_attempt_and_where_it_is_asked_to_stop() -> None:
    study = plan()
    run = study.runs[0].order
    assert isinstance(run, RunOrder)
    assert (run.run_path, run.attempt) == (Path("/home/runs/job/runs/oicr"), 3)
    assert run.stop == study.stages[0].order.stop == Path("/home/runs/job/attempt-3/stop")
    assert study.stages[0].order.run_path.name.startswith(".shared-backbone-")
    assert study.stages[0].order.until == "backbone"


def test_a_run_that_shares_has_less_work_left() -> None:
    shared, alone = plan(), plan(share_stages=False)
    for ours, theirs in zip(shared.runs, alone.runs, strict=True):
        assert 0 < ours.work < theirs.work
    assert work_of(shared.stages[0].order.experiment, until=shared.stages[0].order.until) == shared.stages[0].work


def test_a_single_run_shares_nothing() -> None:
    study = plan(study=None, variants=[{"name": "only"}])
    assert study.stages == ()
    assert [piece.name for piece in study.pieces] == ["only"]
