"""docs/data.md says what is taken: its examples are read, its tables and folders are loaded."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from pydantic import JsonValue

from sdcn_core.config.presets import preset
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set
from service.client.spec_options import data_source, named, on_data, parse_spec, with_options
from service.jobs.specs import JobSpec
from tests.sdcn_core.data.voc_folders import an_annotation, an_object, write_image

DOCUMENT = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
EXAMPLES: list[dict[str, JsonValue]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT, re.S)]


@pytest.mark.parametrize("overrides", EXAMPLES, ids=json.dumps)
def test_an_example_is_an_override_that_an_experiment_takes(overrides: dict[str, JsonValue]) -> None:
    assert preset("voc_squeezenet").with_overrides(overrides) != preset("voc_squeezenet")


def example(kind: str, form: str | None = None) -> dict[str, JsonValue]:
    sources = [of["data.source"] for of in EXAMPLES if "data.source" in of]
    (found,) = [s for s in sources if isinstance(s, dict) and (s["kind"], s.get("form")) == (kind, form)][:1]
    return {"data.source": found}


def test_the_folders_of_the_document_load(tmp_path: Path) -> None:
    for seed, path in enumerate(re.findall(r"pets/\w+/\w+/\d\.jpg", DOCUMENT)):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, seed=seed)
    source = preset("voc_squeezenet").with_overrides(example("labels")).data.source
    roots = DataRoots(tmp_path, tmp_path)
    found = open_train_set(source, roots, labels_from_difficult=False)
    assert [record.labels for record in found.records] == [(0,), (1,)]
    with_boxes = source.model_copy(update={"annotations": "boxes"})
    (tmp_path / "pets/boxes").mkdir()
    (tmp_path / "pets/boxes/7.xml").write_text(an_annotation(an_object("cat")))
    assert open_annotated_set(source, roots, role="test").annotations is None
    assert open_annotated_set(with_boxes, roots, role="test").annotations is not None


def test_the_table_of_the_document_loads(tmp_path: Path) -> None:
    (tmp_path / "pets/photos").mkdir(parents=True)
    for k in range(1, 4):
        write_image(tmp_path / f"pets/photos/{k}.jpg", seed=k)
    (table,) = re.findall(r"```csv\n(.*?)```", DOCUMENT, re.S)
    (tmp_path / "pets/train.csv").write_text(table)
    source = preset("voc_squeezenet").with_overrides(example("labels", "csv")).data.source
    found = open_train_set(source, DataRoots(tmp_path, tmp_path), labels_from_difficult=False)
    assert [record.labels for record in found.records] == [(0,), (0, 1), ()]


def submitted(command: str) -> JobSpec:
    """What `sdcn submit` makes of the words behind it."""
    name, *options = shlex.split(command, comments=True)
    said = list(zip(options[::2], options[1::2], strict=True))
    given = dict(said)
    spec = on_data(named(name, None), data_source(given["--data-path"], given.get("--data-kind")))
    return parse_spec(with_options(spec, {}, {}, [value for option, value in said if option == "--set"])).resolve()


@pytest.mark.parametrize("command", re.findall(r"sdcn submit ([^\n]*)", DOCUMENT))
def test_what_is_to_be_submitted_is_valid(command: str) -> None:
    spec = submitted(command)
    assert spec.kind == "train"
    assert spec.resolved_experiment.data.source.kind == "labels"


def test_a_folder_is_voc_if_nothing_else_is_said_and_an_unknown_kind_is_refused() -> None:
    assert data_source("here", None) == {"kind": "voc", "path": "here"}
    assert data_source(None, None) is None
    with pytest.raises(typer.BadParameter, match="one of voc, labels, coco"):
        data_source("here", "yolo")
    with pytest.raises(typer.BadParameter, match="give that too"):
        data_source(None, "coco")


def test_what_is_set_beside_the_folder_comes_after_it() -> None:
    spec = submitted("voc_squeezenet --data-path pets --data-kind labels --set data.source.form=csv")
    assert spec.kind == "train"
    assert spec.resolved_experiment.data.source.model_dump(include={"path", "form"}) == {"path": "pets", "form": "csv"}
