"""The `sdcn` command.

Exit codes: 0 done; 1 the job failed or was cancelled, or the demo's training beat no baseline; 2 the command line or
the request is wrong; 3 the service cannot be reached, or failed; 130 interrupted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, JsonValue, ValidationError
from rich.console import Console
from typer.core import TyperGroup

from service.client.address import home_folder, server_url
from service.client.client import SdcnClient
from service.client.errors import ApiProblem, ClientError
from service.client.live import watch_live
from service.client.tables import ending, job_details, jobs_table, presets_table, results_table
from service.jobs.answers import JobRead
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC, JobSpec
from service.jobs.states import JobState


class _Commands(TyperGroup):
    """Says what went wrong in a sentence, and ends with the code that belongs to it."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the context of the click that typer carries inside
        try:
            return super().invoke(ctx)
        except ApiProblem as problem:
            _complain(str(problem))
            raise typer.Exit(2 if problem.status < 500 else problem.exit_code) from None
        except ClientError as error:
            _complain(str(error))
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Commands,
    help="Train SDCN from image labels, through its service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Url = Annotated[
    str | None, typer.Option("--url", help="Address of the service; else SDCN_URL, else the home folder's.")
]
Home = Annotated[Path | None, typer.Option("--home", help="The service's folder; else SDCN_HOME, else .sdcn here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as it is.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def main() -> None:
    """Entry point of the `sdcn` command."""
    app()


@app.command()
def submit(
    preset: Annotated[str | None, typer.Option(help="A named experiment; `sdcn presets` lists them.")] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A job's spec as JSON.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="One value of the experiment, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists and in MLflow.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share each step's images.")] = None,
    cpus: Annotated[int | None, typer.Option(help="CPUs of each.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of each.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often it may be tried.")] = None,
    priority: Annotated[int | None, typer.Option(help="Larger is earlier.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: the same one never makes two jobs.")] = None,
    validate_only: Annotated[bool, typer.Option("--validate", help="Only say what would run.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Queue a job."""
    resources = {"num_workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    given = {"preset": preset, "name": name, "max_attempts": max_attempts, "priority": priority}
    spec = read_spec(file, given, resources, override or [])
    with _client(url, home) as client:
        if validate_only:
            checked = client.validate(spec)
            if as_json:
                _print_json(checked)
                return
            _say(f"valid: {checked.total_steps} optimizer steps, experiment {checked.config_digest}")
            for warning in checked.warnings:
                _say(f"warning: {warning}")
            return
        job = client.submit(spec, idempotency_key=key)
        if as_json:
            _print_json(job)
        else:
            _say(f"job {job.id} is queued" + ("" if watch else f"; follow it with `sdcn watch {job.id}`"))
        if watch:
            _follow(client, job.id, as_json=as_json)


@app.command()
def watch(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Follow a job to its end; Ctrl-C leaves it running."""
    with _client(url, home) as client:
        _follow(client, job_id, as_json=as_json)


@app.command()
def jobs(
    state: Annotated[list[JobState] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """List jobs, newest first."""
    with _client(url, home) as client:
        found = [
            job
            for job, _ in zip(client.jobs(states=state or (), page_size=min(limit, 200)), range(limit), strict=False)
        ]
    if as_json:
        _out().print_json(json.dumps([job.model_dump(mode="json") for job in found]))
    elif found:
        _out().print(jobs_table(found))
    else:
        _say("no jobs")


@app.command()
def show(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show a job: its state, its attempts, its links, and its results where it has any."""
    with _client(url, home) as client:
        job = client.get(job_id)
        if as_json:
            _print_json(job)
            return
        _out().print(job_details(job))
        if job.state is JobState.SUCCEEDED:
            _out().print(results_table(client.results(job_id)))


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Ask for a job's end; a running one writes a checkpoint first."""
    with _client(url, home) as client:
        job = client.cancel(job_id)
    if as_json:
        _print_json(job)
    else:
        _say(f"job {job.id} is {job.state}" + ("" if job.state.is_terminal else "; it will stop at its next report"))


@app.command()
def presets(as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """List the named experiments."""
    with _client(url, home) as client:
        found = client.presets()
    if as_json:
        _out().print_json(json.dumps([preset.model_dump(mode="json") for preset in found]))
    else:
        _out().print(presets_table(found))


@app.command()
def up(home: Home = None) -> None:
    """Start the whole service on this machine and keep it up until Ctrl-C."""
    # Imported here, as in the two commands below: a client elsewhere needs no psutil.
    from service.client.up import keep_up

    raise typer.Exit(keep_up(home_folder(home), _out()))


@app.command()
def down(home: Home = None) -> None:
    """Stop the service that `sdcn up` keeps up in this home folder, and whatever a killed one has left."""
    from service.client.up import take_down

    raise typer.Exit(take_down(home_folder(home), _out()))


@app.command()
def demo(
    home: Home = None, preset: Annotated[str, typer.Option(help="The experiment that is shown.")] = "scenes"
) -> None:
    """Start the service, train SDCN through it, show what it learnt, stop the service."""
    from service.client.demo import run_demo

    raise typer.Exit(run_demo(home_folder(home), preset, _out()))


def read_spec(
    file: Path | None, given: Mapping[str, JsonValue], resources: Mapping[str, int | None], overrides: list[str]
) -> JobSpec:
    """The spec of the file, where there is one, with what the command line says on top.

    Raises:
        typer.BadParameter: the file or a value cannot be read as a spec; the message names the field.
    """
    try:
        spec = json.loads(file.read_text()) if file else {}
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(spec, dict):
        raise typer.BadParameter(f"{file} holds no JSON object")
    spec |= {name: value for name, value in given.items() if value is not None}
    if asked := {name: value for name, value in resources.items() if value is not None}:
        spec["resources"] = {**(spec.get("resources") or {}), **asked}
    if overrides:
        spec["overrides"] = {**(spec.get("overrides") or {}), **dict(map(read_override, overrides))}
    try:
        return JOB_SPEC.validate_python(spec)
    except ValidationError as error:
        said = [f"{p.field}: {p.message}" if p.field else p.message for p in field_problems(error.errors())]
        raise typer.BadParameter("; ".join(said)) from None


def read_override(text: str) -> tuple[str, JsonValue]:
    """`path=value`; a value that is no JSON is a string.

    >>> read_override("objective.tau_0=0.3"), read_override("data.source.layout=halo")
    (('objective.tau_0', 0.3), ('data.source.layout', 'halo'))
    """
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"--set takes PATH=VALUE, such as objective.tau_0=0.3; {text!r} is not")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def _follow(client: SdcnClient, job_id: str, *, as_json: bool) -> None:
    """Watch to the end and exit by how it ended."""
    out = Console(stderr=True, markup=False, emoji=False, highlight=False) if as_json else _out()
    try:
        job = watch_live(client.watch(job_id), out)
    except KeyboardInterrupt:
        _complain(f"job {job_id} goes on; `sdcn watch {job_id}` follows it, `sdcn cancel {job_id}` ends it")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(client.results(job_id) if job.state is JobState.SUCCEEDED else job)
    else:
        _print_ending(client, job)
    raise typer.Exit(0 if job.state is JobState.SUCCEEDED else 1)


def _print_ending(client: SdcnClient, job: JobRead) -> None:
    _out().print(ending(job), soft_wrap=True)
    if job.state is JobState.SUCCEEDED:
        _out().print(results_table(client.results(job.id)))
    if job.mlflow is not None and job.mlflow.url is not None:
        _say(f"MLflow: {job.mlflow.url}")


def _client(url: str | None, home: Path | None) -> SdcnClient:
    return SdcnClient(server_url(url, home))


def _out() -> Console:
    return Console(markup=False, emoji=False, highlight=False)


def _say(text: str) -> None:
    _out().print(text, soft_wrap=True)


def _complain(text: str) -> None:
    Console(stderr=True, markup=False, emoji=False, highlight=False).print(text, style="red", soft_wrap=True)


def _print_json(answer: BaseModel) -> None:
    _out().print_json(answer.model_dump_json())


if __name__ == "__main__":
    main()
