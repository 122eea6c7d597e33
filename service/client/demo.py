"""`sdcn demo`: OICR against SDCN, from REST to the table that compares them, on this machine."""

import shlex
from pathlib import Path

from rich.console import Console

from service.client.address import home_folder
from service.client.client import SdcnClient
from service.client.errors import ClientError
from service.client.following import show_live
from service.client.result_tables import ablation_table
from service.client.tables import ending
from service.client.up import Announcer, interruptible
from service.embedded.components import API_PORT, MLFLOW_PORT
from service.embedded.errors import EmbeddedError
from service.embedded.keeper import EmbeddedService
from service.embedded.ports import LOOPBACK
from service.jobs.answers import JobRead
from service.jobs.specs import AblationSpec
from service.jobs.states import JobState
from service.jobs.study_results import AblationResults, Row

PICTURE = "comparison.jpg"
REPORT = "report.html"


def run_demo(home: Path, spec: AblationSpec, console: Console) -> int:
    """Start the service, run one ablation through it, tell what came out, stop the service, tell how to see more.

    Returns:
        The exit code: 0 when every variant was trained and judged, whichever is ahead; 1 when one was not; 3 when the
        service could not be started, reached or kept up; 130 when interrupted.
    """
    announcer = Announcer(console)
    try:
        with interruptible():
            console.print(f"starting the service in {home} (API, worker, predictor, MLflow, Ray)")
            with EmbeddedService(home, tell=announcer) as service, SdcnClient(service.record.url) as client:
                announcer.rest()
                job = client.submit(spec)
                posted = f"job {job.id} was posted to {service.record.url}/v1/jobs; its trainings take some minutes"
                console.print(f"{posted}\nwatch it at {service.record.url}/jobs/{job.id}", soft_wrap=True)
                announcer.quiet = True
                try:
                    looks = client.watch(job.id, interval_s=0.5, sleep=service.wait)  # which hears of a component's end
                    job = show_live(client, job, looks, console)
                    code = _tell(job, client, home, console)
                finally:
                    announcer.quiet = False  # stopping takes a while, more so after an interrupt
    except KeyboardInterrupt:
        announcer.rest()
        console.print("interrupted; the service is stopped")
        return 130
    except (EmbeddedError, ClientError) as error:
        announcer.rest()
        console.print(str(error), style="red", soft_wrap=True)
        return 3
    announcer.rest()
    _tell_how_to_go_on(job, service.record.mlflow_url, home, console)
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
    left = {Path(artifact).name: home / artifact for artifact in job.artifacts}
    for what, name in (("both detectors side by side", PICTURE), ("report", REPORT)):
        if name in left:
            console.print(f"{what}: {left[name]}", soft_wrap=True)
    if any(row.succeeded == 0 for row in results.rows):
        console.print("a variant was not trained: there is nothing to compare", style="red")
        return 1
    for sentence, style in verdicts(results):
        console.print(sentence, style=style, soft_wrap=True)
    return 0


def _tell_how_to_go_on(job: JobRead, mlflow_url: str, home: Path, console: Console) -> None:
    """The command that brings the service back, and where everything is then: it takes its usual ports if they are
    free, whichever it had just now.
    """
    usual, at_home = f"http://{LOOPBACK}:{API_PORT}", home == home_folder(None)
    start = "`make up` (or `sdcn up`)" if at_home else f"`sdcn up --home {shlex.quote(str(home))}`"
    places = [("the study's page", f"{usual}/jobs/{job.id}")]
    if REPORT in (Path(artifact).name for artifact in job.artifacts):
        places.append(("its report", f"{usual}/v1/jobs/{job.id}/artifacts/{REPORT}"))
    if job.mlflow is not None and job.mlflow.url is not None:
        there = job.mlflow.url.replace(mlflow_url, f"http://{LOOPBACK}:{MLFLOW_PORT}")
        places.append(("its run in MLflow", there))
    console.print(
        f"the service is stopped; what it learnt stays in {home}: {start} brings it back and keeps it up, Ctrl-C there"
        f" stops it. These addresses answer then, if ports {API_PORT} and {MLFLOW_PORT} are free; else it says which:",
        soft_wrap=True,
    )
    for what, where in places:
        console.print(f"  {what:<17} {where}", soft_wrap=True)


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
