from pathlib import Path

import pytest

from sdcn_core.errors import DatasetError
from service.jobs.data_results import CheckDataResults
from service.jobs.data_specs import CheckDataSpec
from tests.sdcn_core.data.voc_folders import an_object, write_voc
from tests.workers.executors.trained import ContextOf
from workers.errors import AttemptStopped
from workers.executors import check_data as check_data_module
from workers.executors.base import JobContext
from workers.executors.check_data import check_data
from workers.spool import FileEvent, MetricsEvent, ProgressEvent, SpoolReader

CAT, DOG = an_object("cat"), an_object("dog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_voc(tmp_path / "data" / "animals", {"t": [CAT]}, split="test")
    return write_voc(tmp_path / "data" / "animals", {"a": [CAT], "b": [DOG, DOG]})


@pytest.fixture
def context(context_of: ContextOf) -> JobContext:
    return context_of(spec())


def spec(**source: object) -> CheckDataSpec:
    asked = {"kind": "voc", "path": "animals", **source}
    return CheckDataSpec.model_validate({"name": "animals", "source": asked}).resolve()


def found(context: JobContext) -> CheckDataResults:
    return CheckDataResults.model_validate(check_data(context).results)


def test_what_is_there_is_counted_and_kept(context: JobContext, folder: Path) -> None:
    results = found(context)
    assert (results.problems, [split.images for split in results.splits]) == ((), [2, 1])
    assert results.splits[0].classes["dog"].objects == 2
    kept = (context.run.artifacts / "results.json").read_bytes()
    assert CheckDataResults.model_validate_json(kept) == results
    events = SpoolReader(context.folder.events).read()
    assert [event.name for event in events if isinstance(event, FileEvent)] == ["results.json"]
    (metrics,) = (event.values for event in events if isinstance(event, MetricsEvent))
    assert (metrics["data/trainval/images"], metrics["data/problems"]) == (2, 0)


def test_the_course_is_told_to_its_end(context: JobContext, folder: Path) -> None:
    check_data(context)
    told = [event for event in SpoolReader(context.folder.events).read() if isinstance(event, ProgressEvent)]
    assert {event.stage for event in told} == {"check"}
    assert (told[0].fraction, told[-1].fraction, told[-1].step, told[-1].stage_steps) == (0, 1, 3, 3)


def test_scenes_are_generated_in_the_first_half(context_of: ContextOf) -> None:
    few = {"train_images": 6, "val_images": 6, "test_images": 6, "image_size_px": 48}
    asked = CheckDataSpec.model_validate({"source": {"kind": "scenes", **few}}).resolve()
    context = context_of(asked)
    assert found(context).problems == ()
    told = [event.fraction for event in SpoolReader(context.folder.events).read() if isinstance(event, ProgressEvent)]
    assert told == sorted(told)
    assert 0.5 in told


def test_a_folder_that_is_not_there_refuses_the_data_set_and_names_the_roots_setting(
    context: JobContext, tmp_path: Path
) -> None:
    results = found(context)
    (problem,) = results.problems
    assert f"{tmp_path}/data/animals" in problem
    assert "SDCN_DATA_ROOT" in problem
    assert results.splits == ()


def test_a_broken_image_refuses_the_data_set_and_the_rest_is_counted(context: JobContext, folder: Path) -> None:
    image = folder / "JPEGImages" / "a.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    results = found(context)
    assert (results.unusable, len(results.problems), results.splits[0].images) == (1, 1, 1)


def test_a_file_whose_name_is_no_utf_8_is_told_in_words_that_can_be_stored(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatasetError("image \udce4.jpg is broken")

    monkeypatch.setattr(check_data_module, "prepare_source", refuse)
    (problem,) = found(context).problems
    assert problem.startswith("image \\udce4.jpg is broken")


def test_a_stop_is_obeyed_and_what_was_read_is_kept(context: JobContext, folder: Path) -> None:
    check_data(context)
    kept = (context.run.path / "read_images.jsonl").read_bytes()
    context.folder.stop.touch()
    with pytest.raises(AttemptStopped):
        check_data(context)
    assert (context.run.path / "read_images.jsonl").read_bytes() == kept
