"""The `sdcn` command.

Exit codes: 0 done; 1 the job failed or was cancelled, or a row of the demo is missing; 2 the command line or the
request is wrong; 3 the service cannot be reached, or failed; 130 interrupted.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue
from typer.core import TyperGroup

from service.client import (
    completion,
    dataset_commands,
    job_commands,
    key_commands,
    log_commands,
    model_commands,
    state_commands,
    study_commands,
    terminal,
    webhook_commands,
)
from service.client.address import home_folder
from service.client.client import SdcnClient
from service.client.errors import ApiProblem, ClientError
from service.client.following import follow
from service.client.result_tables import results_view
from service.client.spec_options import (
    by_method,
    data_source,
    named,
    on_data,
    parse_spec,
    read_file,
    registered,
    seeded,
    told_apart,
    with_data,
    with_options,
)
from service.client.tables import job_details, jobs_table, presets_table
from service.client.terminal import AsJson, Home, JobId, Key, Url, complain, out, print_json, print_json_list, say
from service.errors import InvalidSpec
from service.jobs.specs import AblationSpec, JobSpec
from service.jobs.states import JobState


class _Commands(TyperGroup):
    """Says what went wrong in a sentence, and ends with the code that belongs to it."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the context of the click that typer carries inside
        try:
            return super().invoke(ctx)
        except ApiProblem as problem:
            complain(str(problem))
            raise typer.Exit(2 if problem.status < 500 else problem.exit_code) from None
        except ClientError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # who reads what is printed has enough, as head has
            raise
        except OSError as error:  # a file that the command line names
            complain(f"{error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "))
            raise typer.Exit(2) from None


DataKind = Annotated[
    str | None, typer.Option(help="What the folder of --data-path looks like: voc (if not said), labels or coco.")
]

app = typer.Typer(
    cls=_Commands,
    help="Train SDCN from image labels, compare, evaluate and use what was trained, through its service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the `sdcn` command."""
    app()


@app.command()
def submit(
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="An experiment or a study; `sdcn presets` lists them.",
            autocompletion=completion.names,
        ),
    ] = None,
    on: Annotated[
        str | None, typer.Option("--preset", help="The experiment: of a study, the one it is made on.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A registered data set, `sdcn datasets` lists them; or a preset with its own.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=20, help="Train with seeds 0 to this less one.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Train with this seed; may be repeated for a study.")] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A job's spec as JSON.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Make the experiment WSDDN, OICR, SDCN or a row of the paper's table 2.")
    ] = None,
    data_path: Annotated[
        str | None, typer.Option(help="Folder of the data set, below the service's data root.")
    ] = None,
    data_kind: DataKind = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="One value of the experiment, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists and in MLflow.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share each step's images.")] = None,
    cpus: Annotated[int | None, typer.Option(help="CPUs of each.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of each.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often it may be tried.")] = None,
    priority: Annotated[int | None, typer.Option(help="Larger is earlier.")] = None,
    max_runtime_s: Annotated[float | None, typer.Option(help="It is stopped when it has run so long.")] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="JOB", help="Wait until this job has succeeded; may be repeated.")
    ] = None,
    key: Key = None,
    validate_only: Annotated[bool, typer.Option("--validate", help="Only say what would run.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Queue a job: `sdcn submit scenes`, `sdcn submit table-2 --data scenes --seeds 3`, `sdcn submit voc_squeezenet
    --data animals`.
    """
    resources = {"num_workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    given: dict[str, JsonValue] = {"name": name, "max_attempts": max_attempts, "priority": priority}
    given |= {"max_runtime_s": max_runtime_s, "after": [*after] if after else None}
    on, data = told_apart(on, data)
    if data is not None and data_path is not None:
        raise typer.BadParameter("--data and --data-path both name the data: give one")
    asked = on_data(with_data(read_file(file) | named(preset, on), data), data_source(data_path, data_kind))
    asked = seeded(by_method(asked, method), seeds, seed or ())
    spec = parse_spec(with_options(asked, given, resources, override or ()))
    with terminal.open_client(url, home) as client:
        if validate_only:
            _print_check(client, spec, as_json=as_json)
        else:
            submit_spec(client, spec, key=key, watch=watch, as_json=as_json)


def submit_spec(client: SdcnClient, spec: JobSpec, *, key: str | None, watch: bool, as_json: bool) -> None:
    """Queue it, say how to follow it, and follow it if that was asked for."""
    job = client.submit(spec, idempotency_key=key)
    if as_json:
        print_json(job)
    else:
        say(f"job {job.id} is {job.state}" + ("" if watch else f"; follow it with `sdcn watch {job.id}`"))
    if watch:
        raise typer.Exit(follow(client, job.id, as_json=as_json))


def _print_check(client: SdcnClient, spec: JobSpec, *, as_json: bool) -> None:
    checked = client.validate(spec)
    if as_json:
        print_json(checked)
        return
    trainings = f"{checked.runs} trainings, " if checked.runs > 1 else ""
    say(f"valid: {trainings}{checked.total_steps} optimizer steps, experiment {checked.config_digest}")
    for warning in checked.warnings:
        say(f"warning: {warning}")


@app.command()
def watch(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Follow a job to its end, a study with its runs; Ctrl-C leaves it running."""
    with terminal.open_client(url, home) as client:
        raise typer.Exit(follow(client, job_id, as_json=as_json))


@app.command()
def jobs(
    state: Annotated[list[JobState] | None, typer.Option(help="Only these; may be repeated.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Only train, ablation, sweep, evaluate, predict, second_stage or check_data."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """List jobs, newest first."""
    with terminal.open_client(url, home) as client:
        listed = client.jobs(states=state or (), kind=kind, page_size=min(limit, 200))
        found = [job for job, _ in zip(listed, range(limit), strict=False)]
    if as_json:
        print_json_list(found)
    elif found:
        out().print(jobs_table(found))
    else:
        say("no jobs")


@app.command()
def show(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show a job: its state, its attempts, its links, and its results where it has any."""
    with terminal.open_client(url, home) as client:
        job = client.get(job_id)
        if as_json:
            print_json(job)
            return
        out().print(job_details(job))
        if job.state is JobState.SUCCEEDED:
            out().print(results_view(client.results(job_id)))


@app.command()
def presets(as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """List the named experiments and studies."""
    with terminal.open_client(url, home) as client:
        found = client.presets()
    if as_json:
        print_json_list(found)
    else:
        out().print(presets_table(found))


for command in (
    job_commands.cancel,
    job_commands.pause,
    job_commands.resume,
    job_commands.retry,
    job_commands.priority,
    job_commands.clone,
    job_commands.delete,
):
    app.command()(command)
app.command()(log_commands.logs)
app.command()(study_commands.runs)
app.command()(study_commands.table)
app.command()(study_commands.artifacts)
app.command()(state_commands.history)
app.command()(state_commands.metrics)
app.command()(model_commands.models)
app.command()(model_commands.model)
app.command()(state_commands.status)
app.add_typer(dataset_commands.app, name="datasets")
app.add_typer(webhook_commands.app, name="webhooks")
app.add_typer(key_commands.app, name="keys")
app.command()(key_commands.audit)


@app.command()
def evaluate(
    model: model_commands.Model,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="STEP|newest", help="A checkpoint of the training in place of its model.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="On which AP is counted; else the data set's test split.")] = None,
    corloc_split: Annotated[
        str | None, typer.Option(help="On which CorLoc is counted; else the data set's training split.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A registered data set; else what it was trained on.")] = None,
    data_path: Annotated[
        str | None, typer.Option(help="In its place, a folder of a data set below the data root.")
    ] = None,
    data_kind: DataKind = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="One value below evaluation or data.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists and in MLflow.")] = None,
    key: Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Queue the judgement of a trained model on a data set."""
    if data is not None and data_path is not None:
        raise typer.BadParameter("--data and --data-path both name the data: give one")
    with terminal.open_client(url, home) as client:
        source: JsonValue = data_source(data_path, data_kind) if data is None else registered(data)
        asked: dict[str, JsonValue] = {"kind": "evaluate", "model": model_commands.model_id(client, model)}
        step: JsonValue = int(checkpoint) if checkpoint is not None and checkpoint.isdecimal() else checkpoint
        given: dict[str, JsonValue] = {"checkpoint": step, "name": name, "ap_split": split}
        given |= {"corloc_split": corloc_split, "source": source}
        submit_spec(
            client, parse_spec(with_options(asked, given, {}, override or ())), key=key, watch=watch, as_json=as_json
        )


@app.command("second-stage")
def second_stage(
    model: model_commands.Model,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Leave the boxes as files for another detector; train nothing.")
    ] = False,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="One value of the second stage, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists and in MLflow.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share each step's images.")] = None,
    cpus: Annotated[int | None, typer.Option(help="CPUs of each.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of each.")] = None,
    key: Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Queue a Fast R-CNN that learns from the best boxes of a trained model."""
    with terminal.open_client(url, home) as client:
        asked: dict[str, JsonValue] = {"kind": "second_stage", "model": model_commands.model_id(client, model)}
        given: dict[str, JsonValue] = {"name": name, "train": False if labels_only else None}
        resources = {"num_workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
        spec = parse_spec(with_options(asked, given, resources, override or ()))
        submit_spec(client, spec, key=key, watch=watch, as_json=as_json)


@app.command()
def predict(
    model: model_commands.Model,
    images: Annotated[list[Path] | None, typer.Argument(help="Images here, predicted at once.")] = None,
    folder: Annotated[
        str | None, typer.Option(help="A folder below the service's data root, predicted as a job.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Boxes with lower scores are left out.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="One scale and no mirror image.")] = False,
    name: Annotated[str | None, typer.Option(help="With --folder: shown in lists and in MLflow.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="With --folder: then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Detect objects: in images here, answered at once, or in a folder on the service's side, as a job."""
    if (folder is None) == (not images):
        raise typer.BadParameter("give images, or --folder with one below the service's data root")
    with terminal.open_client(url, home) as client:
        if folder is None:
            model_commands.predict_now(client, model, images or [], threshold=threshold, fast=fast, as_json=as_json)
            return
        asked: dict[str, JsonValue] = {
            "kind": "predict",
            "model": model_commands.model_id(client, model),
            "folder": folder,
        }
        given = {"name": name, "score_threshold": threshold, "fast": fast or None}
        submit_spec(client, parse_spec(with_options(asked, given, {}, ())), key=None, watch=watch, as_json=as_json)


@app.command()
def up(home: Home = None) -> None:
    """Start the whole service on this machine and keep it up until Ctrl-C."""
    # Imported here, as in the two commands below: a client elsewhere needs no psutil.
    from service.client.up import keep_up

    raise typer.Exit(keep_up(home_folder(home), out()))


@app.command()
def down(home: Home = None) -> None:
    """Stop the service that `sdcn up` keeps up in this home folder, and whatever a killed one has left."""
    from service.client.up import take_down

    raise typer.Exit(take_down(home_folder(home), out()))


@app.command()
def demo(
    home: Home = None,
    study: Annotated[str, typer.Option(help="The ablation that is shown.")] = "oicr-against-sdcn",
    data: Annotated[str, typer.Option("--data", "--preset", help="The experiment it is made on.")] = "scenes",
) -> None:
    """Start the service, train OICR and SDCN side by side through it, show what came out, stop the service."""
    from service.client.demo import run_demo

    spec = parse_spec({"kind": "ablation", "study": study, "preset": data})
    assert isinstance(spec, AblationSpec)  # it is what was asked for
    try:
        spec.resolve()
    except InvalidSpec as error:  # before anything is started for it
        raise typer.BadParameter(error.detail) from None
    raise typer.Exit(run_demo(home_folder(home), spec, out()))


if __name__ == "__main__":
    main()
