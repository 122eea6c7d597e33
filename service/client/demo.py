"""`sdcn demo`: OICR against SDCN, from REST to the table that compares them, on this machine."""

from pathlib import Path

from rich.console import Console

from service.client.client import SdcnClient
from service.client.errors import ClientError
from service.client.following import show_live
from service.client.result_tables import ablation_table
from service.client.tables import ending
from service.client.up import Announcer, interruptible
from service.embedded.errors import EmbeddedError
from service.embedded.keeper import EmbeddedService
from service.jobs.answers import JobRead
from service.jobs.specs import AblationSpec
from service.jobs.states import JobState
from service.jobs.study_results import AblationResults, Row

PICTURE = "comparison.jpg"
REPORT = "report.html"


def run_demo(home: Path, study: str, data: str, console: Console) -> int:
    """Start the service, run one ablation through it, tell what came out, stop the service.

    Returns:
        The exit code: 0 when every variant was trained and judged, whichever is ahead; 1 when one was not; 3 when the
        service could not be started or reached; 130 when interrupted.
    """
    announcer = Announcer(console)
    try:
        with interruptible():
            console.print(f"starting the service in {home} (API, worker, predictor, MLflow, Ray)")
            with EmbeddedService(home, tell=announcer) as service, SdcnClient(service.record.url) as client:
                announcer.rest()
                announcer.quiet = True
                job = client.submit(AblationSpec(study=study, preset=data))
                posted = f"job {job.id} was posted to {service.record.url}/v1/jobs; its trainings take some minutes"
                console.print(f"{posted}\nwatch it at {service.record.url}/jobs/{job.id}", soft_wrap=True)
                job = show_live(client, job, console, interval_s=0.5)
                code = _tell(job, client, home, console)
                announcer.quiet = False
    except KeyboardInterrupt:
        announcer.rest()
        console.print("interrupted; the service is stopped")
        return 130
    except (EmbeddedError, ClientError) as error:
        announcer.rest()
        console.print(str(error), style="red", soft_wrap=True)
        return 3
    console.print(
        f"the service is stopped; what it learnt stays in {home}: `make up` (or `sdcn up`) starts it again and keeps it"
        " up, Ctrl-C there or `make down` stops it",
        soft_wrap=True,
    )
    return code


def _tell(job: JobRead, client: SdcnClient, home: Path, console: Console) -> int:
    """What came out; 0 when every row has its numbers, else 1."""
    console.print(ending(job), soft_wrap=True)
    if job.state is not JobState.SUCCEEDED:
        console.print(f"its log is in {home / 'runs' / job.id}", soft_wrap=True)
        return 1
    results = client.results(job.id)
    assert isinstance(results, AblationResults)  # it is what was asked for
    console.print(ablation_table(results))
    for run in results.runs:
        if run.failure is not None:
            console.print(f"{run.name} failed: {run.failure.message}", style="red", soft_wrap=True)
    _tell_where(job, client, home, console)
    if any(row.succeeded == 0 for row in results.rows):
        console.print("a variant was not trained: there is nothing to compare", style="red")
        return 1
    for sentence, style in verdicts(results):
        console.print(sentence, style=style, soft_wrap=True)
    return 0


def _tell_where(job: JobRead, client: SdcnClient, home: Path, console: Console) -> None:
    left = {Path(artifact).name: home / artifact for artifact in job.artifacts}
    page, files = f"{client.base_url}/jobs/{job.id}", f"{client.base_url}/v1/jobs/{job.id}/artifacts"
    places = [
        ("both detectors side by side", left.get(PICTURE)),
        ("report", left.get(REPORT)),
        ("while the service is up: its page", page),
        ("its report", f"{files}/{REPORT}" if REPORT in left else None),
        ("its run in MLflow", job.mlflow and (job.mlflow.url or job.mlflow.run_id)),
    ]
    for what, where in places:
        if where is not None:
            console.print(f"{what}: {where}", soft_wrap=True)


def verdicts(results: AblationResults) -> list[tuple[str, str]]:
    """Of each row but the base one whether it is ahead in mean AP and CorLoc; (sentence, style)."""
    base = next(row for row in results.rows if row.variant == results.base_variant)
    return [_verdict(row, base, len(results.seeds)) for row in results.rows if row is not base]


def _verdict(row: Row, base: Row, num_seeds: int) -> tuple[str, str]:
    measures = {"mean_ap": "mean AP", "mean_corloc": "mean CorLoc"}
    differences = {said: found.mean for name, said in measures.items() if (found := row.differences.get(name))}
    if not differences:
        return f"{row.title} and {base.title} cannot be compared: no seed has both", "red"
    said = ", ".join(f"{value * 100:+.1f} points of {name}" for name, value in differences.items())
    caution = "; one seed settles nothing" if num_seeds == 1 else ""
    if all(value > 0 for value in differences.values()):
        return f"{row.title} beat {base.title} here: {said}{caution}", "green"
    return f"{row.title} did NOT beat {base.title} in everything here: {said}{caution}", "yellow"
