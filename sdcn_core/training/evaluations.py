"""When a run is judged, and what is told and kept of it."""

from pathlib import Path

from sdcn_core.models.saved import MODEL_FILE, save_model
from sdcn_core.training.judging import Verdict, judged_means, judged_metrics, results_by_class
from sdcn_core.training.plan import StagePlan, previous_report
from sdcn_core.training.progress import Progress, Stage
from sdcn_core.training.run import Run, RunOutcome, StopRequested


def judge_untrained(run: Run) -> None:
    """Judge the networks as they were initialized."""
    run.untrained = results_by_class(_judge_whole(run, "untrained").report)
    progress = run.fractions.at("untrained", Stage.EVALUATE, run.judge.num_images, run.judge.num_images)
    run.tell(progress, judged_means(run.untrained))


def judge_midway(run: Run, progress: Progress) -> None:
    """AP on the way, without CorLoc and pixels."""
    verdict = run.judge.trained(run.networks.detector, corloc=False, pixels=False, tick=lambda _: False)
    assert verdict is not None  # only a tick stops it
    run.networks.train(True)
    known = {"mean_ap": verdict.report.mean_ap, "mean_classification_ap": verdict.report.mean_classification_ap}
    run.tell(progress, {f"eval/{name}": value for name, value in known.items() if value is not None})


def is_due(run: Run, plan: StagePlan, done: int) -> bool:
    """Whether the run is judged after the report at `done` steps of the stage."""
    every = run.experiment.evaluation.every_steps
    of_labels = plan.stage in (Stage.BACKBONE, Stage.CLASSIFIER)
    if every is None or run.until is not None or of_labels or done == plan.steps:
        return False
    return done // every > previous_report(run.experiment.schedule, done) // every


def make_up(run: Run, plan: StagePlan) -> None:
    """Where the run goes on from a checkpoint after which an evaluation was due, evaluate.

    A stop or a kill may have come between the two, and who watches the numbers shall see them at the same steps as of
    an unbroken run. If none did, they are told twice.
    """
    done = run.global_step - plan.first_step
    if done > 0 and is_due(run, plan, done):
        judge_midway(run, run.fractions.at(plan.stage.value, plan.stage, done, plan.steps))


def finish(run: Run) -> RunOutcome:
    """Judge what was trained, and keep it."""
    verdict = _judge_whole(run, "trained")
    trained = results_by_class(verdict.report)
    chance = results_by_class(run.judge.chance()) if run.experiment.evaluation.baselines else None
    results = {
        "classes": list(run.inputs.classes),
        "trained": trained,
        "untrained": run.untrained,
        "chance": chance,
    }
    files: dict[str, Path] = {}
    if run.ranks.is_first:
        files = run.judge.keep(verdict, run.work_dir)
        files[MODEL_FILE] = _save_model(run)
    metrics = judged_metrics(trained)
    if chance is not None:
        metrics |= {f"chance/{name.removeprefix('eval/')}": value for name, value in judged_means(chance).items()}
    total = run.judge.num_images
    run.tell(run.fractions.at("trained", Stage.EVALUATE, total, total), metrics, files=files)
    return RunOutcome(stopped=False, results=results, files=files)


def _judge_whole(run: Run, part: str) -> Verdict:
    total = run.judge.num_images

    def tick(done: int) -> bool:
        run.tell(run.fractions.at(part, Stage.EVALUATE, done, total))
        return run.hooks.should_stop()

    verdict = run.judge.trained(run.networks.detector, corloc=True, pixels=part == "trained", tick=tick)
    if verdict is None:
        raise StopRequested
    return verdict


def _save_model(run: Run) -> Path:
    """Weights of f^E, f^D and f^S with all that is needed to build them again."""
    path = run.work_dir / MODEL_FILE
    weights = run.networks.detector.state_dict()
    save_model(path, experiment=run.experiment, classes=run.inputs.classes, weights=weights)
    return path
