"""What benchmarks/tuned_table_2.py asks of the service, what it chooses by, and what it prints."""

import re
from pathlib import Path

import pytest

from benchmarks.tuned_table_2 import (
    ROWS,
    SCENES,
    Looks,
    Settings,
    begun,
    chosen_settings,
    final_spec,
    final_table,
    parse_options,
    photographs,
    trivial_table,
    tuning_spec,
    tuning_table,
)
from sdcn_core.__main__ import main as sdcn_core
from sdcn_core.config.studies import table_2
from service.app import create_app
from service.client.client import SdcnClient
from service.jobs.results import Judgement, TrivialBox
from service.jobs.study_results import AblationResults, RunFound, RunState, ablation_rows
from service.settings import ServiceSettings
from tests.service.in_process import serving

ONE_AND_TWO: dict[str, Settings] = {row: {"one": {}, "two": {}} for row in ROWS}


def test_other_weights_are_those_of_both_networks() -> None:
    looks = photographs("animals", "other.npz")
    for spec in (tuning_spec(looks), final_spec(looks, dict.fromkeys(ROWS, "frozen"), (0,))):
        for run in spec.resolve().runs():
            model = run.experiment.model
            assert [part.weights.path for part in (model.backbone, model.classifier)] == 2 * ["other.npz"]  # type: ignore[union-attr]


LOOKS = [pytest.param(SCENES, id="scenes"), pytest.param(photographs("animals"), id="photographs")]


@pytest.mark.parametrize("looks", LOOKS)
def test_every_row_looks_at_every_setting_and_none_at_the_test_images(looks: Looks) -> None:
    spec = tuning_spec(looks).resolve()

    assert [variant.name for variant in spec.variants] == [
        f"{row}--{name}" for row in ROWS for name in looks.settings[row]
    ]
    experiments = [planned.experiment for planned in spec.runs()]
    assert {experiment.data.source.test_split for experiment in experiments} == {"val"}
    assert not {experiment.data.source.train_split for experiment in experiments} & {"test", "val"}


@pytest.mark.parametrize("looks", LOOKS)
def test_the_chosen_settings_are_judged_on_test_images_with_other_seeds(looks: Looks) -> None:
    chosen = {row: list(looks.settings[row])[-1] for row in ROWS}
    spec = final_spec(looks, chosen, (0, 1)).resolve()

    assert [variant.name for variant in spec.variants] == ROWS
    assert {planned.experiment.data.source.test_split for planned in spec.runs()} == {"test"}
    assert not {planned.seed for planned in spec.runs()} & set(looks.tuning_seeds)


def test_a_study_that_was_begun_is_gone_on_with_and_another_is_another_job(tmp_path: Path) -> None:
    tuning, final = tuning_spec(SCENES), final_spec(SCENES, dict.fromkeys(ROWS, "preset"), (0,))
    app = create_app(ServiceSettings(home=tmp_path))

    with serving(app) as transport, SdcnClient("http://localhost", transport=transport) as client:
        first = begun(client, tuning)
        assert begun(client, tuning).id == first.id
        assert begun(client, final).id != first.id


def test_the_commands_of_the_document_can_be_typed() -> None:
    commands = of_the_document("benchmarks.tuned_table_2")

    assert {parse_options(command).on for command in commands} == {"scenes", "photographs"}


def test_the_training_of_the_document_can_be_typed() -> None:
    (command,) = of_the_document("sdcn_core")

    assert sdcn_core([*command, "--show"]) == 0


def of_the_document(module: str) -> list[list[str]]:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    return [command.split() for command in re.findall(rf"^python -m {re.escape(module)} (.*)$", text, re.MULTILINE)]


def test_a_row_that_may_look_more_often_than_the_others_is_refused() -> None:
    settings = {**ONE_AND_TWO, "sdcn": {"one": {}, "two": {}, "three": {}}}

    with pytest.raises(ValueError, match="equally many"):
        Looks(preset="scenes", tuning={}, tuning_seeds=(100,), final={}, settings=settings)


def test_a_row_gets_the_setting_with_its_best_map_and_among_equals_the_first() -> None:
    found = results({"oicr--one": 0.2, "oicr--two": 0.3, "sdcn--one": 0.5, "sdcn--two": 0.4} | others(0.1))

    chosen = chosen_settings(found, ONE_AND_TWO)

    assert chosen == {"oicr": "two", "apart": "one", "seg-to-det": "one", "sdcn": "one"}


def test_a_row_whose_training_failed_with_a_setting_gets_another() -> None:
    found = results({"oicr--one": None, "oicr--two": 0.3, "sdcn--one": 0.5, "sdcn--two": None} | others(0.1))

    assert chosen_settings(found, ONE_AND_TWO)["oicr"] == "two"
    assert "one: - / -" in tuning_table(found, ONE_AND_TWO, chosen_settings(found, ONE_AND_TWO))


def test_the_tables_show_what_was_found() -> None:
    found = results(dict.fromkeys(ROWS, 0.25) | {"sdcn": 0.5}, seeds=(0, 1))

    final, trivial = final_table(found).splitlines(), trivial_table(found).splitlines()

    assert final[2].startswith("| detection alone (OICR) | 25.0 ± 0.0 | 25.0 ± 0.0 | - | - | 75.0 ± 0.0 |")
    assert "| +25.0, +25.0 |" in final[-1]
    assert trivial[0] == "| row | whole image | centred box |"
    assert trivial[-1] == "| the loop closed (SDCN) | 5.0 ± 0.0 / 50.0 ± 0.0 | - / - |"


def others(value: float) -> dict[str, float | None]:
    return {f"{row}--{name}": value for row in ("apart", "seg-to-det") for name in ("one", "two")}


def results(mean_aps: dict[str, float | None], *, seeds: tuple[int, ...] = (0,)) -> AblationResults:
    """As if every class had the row's mAP, CorLoc too, and all other boxes lay inside an object."""
    titles = {row.name: row.title for row in table_2().variants}
    runs = [
        RunFound(
            name=f"{variant}-seed{seed}",
            variant=variant,
            seed=seed,
            overrides={},
            state=RunState.FAILED if value is None else RunState.SUCCEEDED,
            judgement=None if value is None else judgement(value),
        )
        for variant, value in mean_aps.items()
        for seed in seeds
    ]
    base = next(iter(mean_aps))
    rows = ablation_rows({variant: titles.get(variant, variant) for variant in mean_aps}, base, runs)
    return AblationResults(runs=tuple(runs), base_variant=base, seeds=seeds, rows=rows)


def judgement(value: float) -> Judgement:
    return Judgement(
        ap={"cat": value},
        mean_ap=value,
        corloc={"cat": value},
        mean_corloc=value,
        num_test_images=4,
        num_train_images=4,
        seconds_per_image=0.1,
        mean_error_modes={"correct": value, "inside": 1 - value},
        trivial={
            "whole_image": TrivialBox(mean_ap=0.05, mean_corloc=0.5),
            "centred_box": TrivialBox(mean_ap=None, mean_corloc=None),
        },
    )
