from pathlib import Path

import pytest

from sdcn_core.config.presets import tiny
from sdcn_core.data.datasets import DataRoots, prepare_source
from sdcn_core.errors import DatasetError
from service.jobs.results import Judgement, TrainResults
from service.jobs.specs import TrainSpec
from workers.attempt_folder import AttemptFolder, AttemptOrder, RayOrder
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.data import DataProgress, prepare_data, prepare_distinct
from workers.executors.train import export
from workers.spool import EventSpool, FileEvent, NoteEvent, ProgressEvent, SpoolReader
from workers.training.result_files import write_table


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    folder = AttemptFolder(tmp_path / "attempt-1")
    folder.path.mkdir()
    order = AttemptOrder(
        job_id="job",
        attempt=1,
        spec=TrainSpec(preset="tiny").resolve(),
        home=tmp_path,
        data_root=tmp_path,
        weights_root=tmp_path,
        scratch=tmp_path,
        ray=RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=1, checkpoints_to_keep=2),
    )
    return JobContext(order, folder, EventSpool(folder.events))


def told(context: JobContext) -> list[ProgressEvent]:
    return [event for event in SpoolReader(context.folder.events).read() if isinstance(event, ProgressEvent)]


def test_the_parts_of_the_data_stage_share_its_part_of_the_run(context: JobContext) -> None:
    progress = DataProgress(context, parts=2)
    progress.part("first")(10, 10)
    progress.part("second")(10, 10)
    assert [event.fraction for event in told(context)] == [0.025, 0.05]
    notes = [event.text for event in SpoolReader(context.folder.events).read() if isinstance(event, NoteEvent)]
    assert notes == ["first", "second"]


def test_many_images_are_told_about_twice_a_second_and_at_the_end(context: JobContext) -> None:
    clock = [0.0]
    tell = DataProgress(context, parts=1, monotonic=lambda: clock[0]).part("first")
    for done in range(1, 101):
        clock[0] += 0.02
        tell(done, 100)
    assert len(told(context)) == 5
    assert told(context)[-1].step == 100


def test_a_part_with_nothing_to_do_is_done(context: JobContext) -> None:
    DataProgress(context, parts=1).part("first")(0, 0)
    assert told(context)[-1].fraction == 0.05


def test_a_stop_is_noticed_between_images(context: JobContext) -> None:
    tell = DataProgress(context, parts=1).part("first")
    tell(1, 10)
    context.folder.stop.touch()
    with pytest.raises(AttemptStopped):
        tell(2, 10)


def judgement(ap: float | None) -> Judgement:
    return Judgement(
        ap={"disc": ap, "ring": None},
        mean_ap=ap or 0,
        corloc={"disc": 0.5, "ring": None},
        mean_corloc=0.5,
        classification_ap={"disc": 0.75, "ring": None},
        mean_classification_ap=0.75,
        num_test_images=1,
        num_train_images=1,
        seconds_per_image=0,
    )


def test_the_table_has_a_row_for_each_class_and_the_means(tmp_path: Path) -> None:
    results = TrainResults(classes=("disc", "ring"), trained=judgement(0.25), chance=judgement(0.125))
    write_table(results.classes, results.judgements(), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "class,ap,corloc,classification_ap,chance_ap,chance_corloc,chance_classification_ap",
        "disc,0.25,0.5,0.75,0.125,0.5,0.75",
        "ring,,,,,,",
        "mean,0.25,0.5,0.75,0.125,0.5,0.75",
    ]


def test_a_model_that_cannot_be_exported_is_a_note_and_no_failure(context: JobContext) -> None:
    context.run.artifacts.mkdir(parents=True)
    (context.run.artifacts / "model.pt").write_bytes(b"no model")
    export(context)
    events = SpoolReader(context.folder.events).read()
    (note,) = [event.text for event in events if isinstance(event, NoteEvent) and "not exported" in event.text]
    assert "model.pt" in note
    assert not [event for event in events if isinstance(event, FileEvent)]


def test_equal_data_are_made_ready_once_and_broken_ones_are_told_by_configuration(context: JobContext) -> None:
    good = tiny().data
    again = tiny().with_overrides({"objective.tau_0": 0.3}).data
    broken = tiny().with_overrides({"data.source": {"kind": "voc", "path": "not/there"}}).data
    errors = prepare_distinct(context, [broken, good, again])
    assert list(errors) == [broken.digest()]
    assert "not/there" in str(errors[broken.digest()])
    notes = [event.text for event in SpoolReader(context.folder.events).read() if isinstance(event, NoteEvent)]
    assert notes.count("making the data set ready") == 2
    fractions = [event.fraction for event in told(context)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.05)


def test_a_broken_mask_of_the_test_images_shows_before_anything_is_trained(context: JobContext) -> None:
    data, cache = tiny().data, context.order.home / "cache"
    prepare_source(data.source, DataRoots(context.order.data_root, cache), progress=lambda done, total: None)
    (scenes,) = (cache / "scenes").iterdir()
    last = (scenes / "ImageSets" / "Main" / "test.txt").read_text().split()[-1]
    (scenes / "SegmentationClass" / f"{last}.png").write_bytes(b"no mask")
    with pytest.raises(DatasetError, match=rf"{last}\.png"):
        prepare_data(context, data)
    assert not (cache / "proposals").exists()
