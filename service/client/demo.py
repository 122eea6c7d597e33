"""`sdcn demo`: the whole way of one job, from REST to AP and CorLoc, on this machine."""

from pathlib import Path

from rich.console import Console

from service.client.client import SdcnClient
from service.client.errors import ClientError
from service.client.live import watch_live
from service.client.tables import ending, results_table
from service.client.up import Announcer, interruptible
from service.embedded.errors import EmbeddedError
from service.embedded.keeper import EmbeddedService
from service.jobs.answers import JobRead
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState

PICTURE = "detections.png"


def run_demo(home: Path, preset: str, console: Console) -> int:
    """Start the service, run one training through it, tell what came out, stop the service.

    Returns:
        The exit code: 0 when training beat chance and the untrained network, 1 when it failed or did not, 3 when the
        service could not be started or reached, 130 when interrupted.
    """
    announcer = Announcer(console)
    try:
        with interruptible():
            console.print(f"starting the service in {home} (API, worker, MLflow, Ray)")
            with EmbeddedService(home, tell=announcer) as service, SdcnClient(service.record.url) as client:
                announcer.rest()
                announcer.quiet = True
                job = client.submit(TrainSpec(preset=preset))
                posted = f"job {job.id} was posted to {service.record.url}/v1/jobs; training takes some minutes"
                console.print(posted, soft_wrap=True)
                job = watch_live(client.watch(job.id, interval_s=0.5), console)
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
    """What came out; 0 when the trained network beat both baselines, else 1."""
    console.print(ending(job), soft_wrap=True)
    if job.state is not JobState.SUCCEEDED:
        console.print(f"its log is in {home / 'runs' / job.id}", soft_wrap=True)
        return 1
    results = client.results(job.id)
    console.print(results_table(results))
    for artifact in job.artifacts:
        if Path(artifact).name == PICTURE:
            console.print(f"picture of detections: {home / artifact}", soft_wrap=True)
    if job.mlflow is not None:
        console.print(f"run in MLflow (while the service is up): {job.mlflow.url or job.mlflow.run_id}", soft_wrap=True)
    if shortcomings := results.shortcomings():
        console.print(
            "the training did NOT beat its baselines: " + "; ".join(shortcomings), style="red", soft_wrap=True
        )
        return 1
    console.print("mean AP and mean CorLoc beat chance and the untrained network", style="green")
    return 0
