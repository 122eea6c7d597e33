"""From the command line to a job's spec."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from pydantic import JsonValue, ValidationError

from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import PRESETS
from sdcn_core.config.second_stages import SECOND_STAGES
from sdcn_core.config.studies import ABLATIONS, SWEEPS
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC, JobSpec

STUDIES = {**dict.fromkeys(ABLATIONS, "ablation"), **dict.fromkeys(SWEEPS, "sweep")}
"""name -> kind; a name that is none of them is one of an experiment, or the service refuses it"""
FOLDER_KINDS = ("voc", "labels", "coco")
"""kinds of data.source that are a folder below the data root"""


def named(name: str | None, preset: str | None) -> dict[str, JsonValue]:
    """What a preset's name asks for.

    Args:
        name: of an experiment or a study, as first word after `sdcn submit`; None: nothing is said so.
        preset: the experiment that a study is made on; of a training, the experiment itself.

    Raises:
        typer.BadParameter: two experiments, a study without one, or what follows on a trained model.

    >>> named("table-2", "scenes")
    {'kind': 'ablation', 'study': 'table-2', 'preset': 'scenes'}
    """
    if name in SECOND_STAGES:
        raise typer.BadParameter(f"{name} follows on a trained model: `sdcn second-stage MODEL` trains it")
    if name is None:
        return {} if preset is None else {"preset": preset}
    if name in STUDIES:
        if preset is None:
            raise typer.BadParameter(f"{name} is a study: say on which experiment, such as --preset scenes")
        return {"kind": STUDIES[name], "study": name, "preset": preset}
    if preset is not None:
        raise typer.BadParameter(f"both {name} and {preset} name an experiment: give one")
    return {"preset": name}


def by_method(spec: dict[str, JsonValue], method: str | None) -> dict[str, JsonValue]:
    """The spec with what makes its experiment that method; overrides that the spec has go on top.

    Raises:
        typer.BadParameter: there is no such method, or the spec has no object as overrides.

    >>> by_method({"preset": "scenes"}, "wsddn")["overrides"]["model.detection.refinements"]
    0
    """
    if method is None:
        return spec
    if method not in METHODS:
        raise typer.BadParameter(f"no method is named {method!r}; there are: {', '.join(METHODS)}")
    return spec | {"overrides": {**METHODS[method](), **_object(spec, "overrides")}}


def told_apart(preset: str | None, data: str | None) -> tuple[str | None, str | None]:
    """The preset and the registered data set that `--preset` and `--data` name. A preset has its data with it, so its
    name may be given as either; no data set has the name of a preset.

    Raises:
        typer.BadParameter: both name a preset.

    >>> told_apart(None, "scenes"), told_apart("voc_squeezenet", "animals")
    (('scenes', None), ('voc_squeezenet', 'animals'))
    """
    if data not in PRESETS:
        return preset, data
    if preset is not None:
        raise typer.BadParameter(f"both {preset} and {data} name an experiment: give one")
    return data, None


def with_data(spec: dict[str, JsonValue], data: str | None) -> dict[str, JsonValue]:
    """The spec on a registered data set, which other overrides may go into: it is the first of them.

    Raises:
        typer.BadParameter: no experiment is named, or the spec has something else in place of an object.

    >>> with_data({"preset": "tiny"}, "animals")
    {'preset': 'tiny', 'overrides': {'data.source': {'kind': 'registered', 'name': 'animals'}}}
    """
    if data is None:
        return spec
    if spec.get("preset") is None and spec.get("experiment") is None:
        raise typer.BadParameter(
            f"{data} is no preset, so a registered data set: say which experiment is made on it, such as --preset"
            " voc_squeezenet"
        )
    others = {path: value for path, value in _object(spec, "overrides").items() if path != "data.source"}
    return spec | {"overrides": {"data.source": registered(data), **others}}


def registered(name: str) -> dict[str, JsonValue]:
    """A registered data set in place of a source."""
    return {"kind": "registered", "name": name}


def data_source(path: str | None, kind: str | None) -> JsonValue:
    """The data set in a folder below the data root; None: nothing was said.

    Args:
        path: the folder.
        kind: what it looks like; None: Pascal VOC.

    Raises:
        typer.BadParameter: a kind without a folder, or an unknown one.

    >>> data_source("pets", "labels")
    {'kind': 'labels', 'path': 'pets'}
    """
    if path is None:
        if kind is not None:
            raise typer.BadParameter("--data-kind says what the folder of --data-path looks like: give that too")
        return None
    if kind is not None and kind not in FOLDER_KINDS:
        raise typer.BadParameter(f"--data-kind is one of {', '.join(FOLDER_KINDS)}, not {kind!r}")
    return {"kind": kind or FOLDER_KINDS[0], "path": path}


def on_data(spec: dict[str, JsonValue], source: JsonValue) -> dict[str, JsonValue]:
    """The spec of a training or a study on that data set; other overrides are applied after it.

    Raises:
        typer.BadParameter: the spec has no object as overrides.
    """
    return spec if source is None else spec | {"overrides": {"data.source": source, **_object(spec, "overrides")}}


def seeded(spec: dict[str, JsonValue], seeds: int | None, seed: Sequence[int]) -> dict[str, JsonValue]:
    """The spec with its seeds: of a study the list of them, of a training its one.

    Args:
        spec: as far as it is known.
        seeds: 0 to seeds - 1; None: not said.
        seed: one by one; empty: not said.

    Raises:
        typer.BadParameter: both are said, several seeds for one training, or the spec has no object as overrides.
    """
    if seeds is not None and seed:
        raise typer.BadParameter("give --seeds or --seed, not both")
    wanted: list[JsonValue] = list(seed if seeds is None else range(seeds))
    if not wanted:
        return spec
    if spec.get("kind", "train") != "train":
        return spec | {"seeds": wanted}
    if len(wanted) > 1:
        raise typer.BadParameter("a single training has one seed: submit a study, such as table-2, for several")
    return spec | {"overrides": {**_object(spec, "overrides"), "seed": wanted[0]}}


def read_file(file: Path | None) -> dict[str, JsonValue]:
    """The spec in a file, nothing without one.

    Raises:
        typer.BadParameter: it holds no JSON object, or one with a number that is not finite.
    """
    if file is None:
        return {}
    try:
        spec = _read_json(file.read_text(), str(file))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(spec, dict):
        raise typer.BadParameter(f"{file} holds no JSON object")
    return spec


def with_options(
    spec: dict[str, JsonValue],
    given: Mapping[str, JsonValue],
    resources: Mapping[str, int | None],
    overrides: Sequence[str],
) -> dict[str, JsonValue]:
    """The spec with options on top; those that are None were not given. `overrides` are PATH=VALUE.

    Raises:
        typer.BadParameter: an override is no PATH=VALUE, or the spec has something else in place of an object.
    """
    said = spec | {name: value for name, value in given.items() if value is not None}
    if asked := {name: value for name, value in resources.items() if value is not None}:
        said["resources"] = {**_object(said, "resources"), **asked}
    if overrides:
        said["overrides"] = {**_object(said, "overrides"), **dict(map(read_override, overrides))}
    return said


def _object(spec: Mapping[str, JsonValue], field: str) -> dict[str, JsonValue]:
    value = spec.get(field) or {}
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{field}: must be a JSON object")
    return value


def parse_spec(spec: Mapping[str, JsonValue]) -> JobSpec:
    """The job that the spec asks for.

    Raises:
        typer.BadParameter: a field is refused; the message names it.
    """
    try:
        return JOB_SPEC.validate_python(spec)
    except ValidationError as error:
        raise refused_by(error) from None


def refused_by(error: ValidationError) -> typer.BadParameter:
    """The refusal with the fields at fault."""
    said = [f"{p.field}: {p.message}" if p.field else p.message for p in field_problems(error.errors())]
    return typer.BadParameter("; ".join(said))


def read_override(text: str) -> tuple[str, JsonValue]:
    """`path=value`; a value that is no JSON is a string.

    >>> read_override("objective.tau_0=0.3"), read_override("data.source.layout=halo")
    (('objective.tau_0', 0.3), ('data.source.layout', 'halo'))

    Raises:
        typer.BadParameter: it is no such pair, or a number in it is not finite.
    """
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"--set takes PATH=VALUE, such as objective.tau_0=0.3; {text!r} is not")
    try:
        return path, _read_json(value, path)
    except ValueError:
        return path, value


def _read_json(text: str, where: str) -> JsonValue:
    """The value of the text; NaN, Infinity and 1e999 are read by Python, but no job has a use for them.

    Raises:
        typer.BadParameter: a number is not finite, or the value is too deep to read; the message names `where`.
        ValueError: the text is no JSON.
    """

    def finite(number: str) -> float:
        if not math.isfinite(float(number)):
            raise typer.BadParameter(f"{where}: {number} is not a finite number")
        return float(number)

    try:
        value: JsonValue = json.loads(text, parse_float=finite, parse_constant=finite)
    except RecursionError:
        raise typer.BadParameter(f"{where}: is nested too deeply") from None
    return value
