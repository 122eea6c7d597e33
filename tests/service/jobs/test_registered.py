from typing import Any

import pytest

from sdcn_core.config.data import VocSource
from service.errors import InvalidSpec
from service.jobs.registered import registered_names, with_sources
from service.jobs.specs import JOB_SPEC, JobSpec

ANIMALS = {"kind": "registered", "name": "animals"}
SCENES = {"kind": "scenes"}
SOURCE = VocSource(path="voc12_animals", test_split="val")


def parsed(**fields: Any) -> JobSpec:
    return JOB_SPEC.validate_python(fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"preset": "tiny", "overrides": {"data.source": ANIMALS}}, "overrides.data.source"),
        ({"preset": "tiny", "overrides": {"data": {"source": ANIMALS}}}, "overrides.data.source"),
        ({"experiment": {"seed": 3, "data": {"source": ANIMALS}}}, "overrides.data.source"),
        ({"kind": "evaluate", "model": "ab", "source": ANIMALS}, "source"),
        (
            {"kind": "ablation", "preset": "tiny", "factors": {"data.source": [SCENES, ANIMALS]}},
            "factors.data.source.1",
        ),
        (
            {
                "kind": "sweep",
                "preset": "tiny",
                "space": {"data.source": {"kind": "choice", "values": [ANIMALS, SCENES]}},
            },
            "space.data.source.values.0",
        ),
    ],
)
def test_a_registered_data_set_may_stand_wherever_a_source_may(fields: dict[str, Any], field: str) -> None:
    spec = parsed(**fields)
    assert registered_names(spec) == {"animals": field}
    resolved = with_sources(spec, {"animals": SOURCE}).resolve().model_dump_json()
    assert SOURCE.model_dump_json() in resolved
    assert "registered" not in resolved


def test_the_experiment_is_that_of_the_source_itself() -> None:
    by_name = parsed(preset="tiny", overrides={"data.source": ANIMALS, "data.source.train_split": "train"})
    by_source = parsed(
        preset="tiny", overrides={"data.source": SOURCE.model_dump(mode="json"), "data.source.train_split": "train"}
    )
    assert with_sources(by_name, {"animals": SOURCE}).resolve() == by_source.resolve()


def test_an_override_goes_into_a_data_set_that_is_written_in_the_experiment() -> None:
    spec = parsed(experiment={"data": {"source": ANIMALS, "flip": False}}, overrides={"data.source.test_split": "test"})
    data = with_sources(spec, {"animals": SOURCE}).resolve().model_dump()["experiment"]["data"]
    assert (data["source"]["path"], data["source"]["test_split"], data["flip"]) == ("voc12_animals", "test", False)


def test_a_spec_without_registered_data_sets_stays_as_it_is() -> None:
    spec = parsed(preset="tiny", overrides={"data.source.seed": 1})
    assert registered_names(spec) == {}
    assert with_sources(spec, {}) is spec


def test_what_was_said_and_what_was_left_out_stay_apart() -> None:
    """A sweep by a loss must say its goal: a goal that is only the default must not look as if it was said."""
    spec = parsed(kind="sweep", preset="tiny", overrides={"data.source": ANIMALS}, study="figure-5", metric="loss/mil")
    with pytest.raises(InvalidSpec, match="goal"):
        with_sources(spec, {"animals": SOURCE}).resolve()


@pytest.mark.parametrize(
    "asked", [{"kind": "registered"}, {"kind": "registered", "name": 3}, {**ANIMALS, "test_split": "val"}]
)
def test_a_reference_that_names_nothing_is_refused_with_its_form(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=r'overrides.data.source: .*\{"kind": "registered", "name": NAME\}'):
        registered_names(parsed(preset="tiny", overrides={"data.source": asked}))


def test_a_source_of_an_evaluation_is_refused_under_the_path_a_client_wrote() -> None:
    with pytest.raises(ValueError, match="source"):
        parsed(kind="evaluate", model="ab", source={"kind": "registered", "name": "no name"})
