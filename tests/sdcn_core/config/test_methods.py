import pytest

from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import preset
from sdcn_core.config.studies import ABLATIONS, SWEEPS


@pytest.mark.parametrize("origin", METHODS)
@pytest.mark.parametrize("name", ["oicr", "apart", "seg-to-det", "det-to-seg", "sdcn"])
def test_any_method_turns_into_any_other(name: str, origin: str) -> None:
    base = preset("tiny").with_overrides({"model.detection.refinements": 3})
    turned = base.with_overrides(METHODS[origin]() | {"model.detection.refinements": 3}).with_overrides(METHODS[name]())
    assert turned.objective == base.with_overrides(METHODS[name]()).objective


def test_a_method_changes_no_network_but_wsddns_refinements() -> None:
    base = preset("tiny")
    for name, make in METHODS.items():
        model = base.with_overrides(make()).model
        kept = model if name != "wsddn" else model.with_overrides({"detection.refinements": 3})
        assert kept == base.model, name


def test_the_loop_closed_is_what_the_defaults_are() -> None:
    assert preset("scenes").with_overrides(METHODS["sdcn"]()) == preset("scenes")


def test_oicr_on_scenes_is_its_preset() -> None:
    assert preset("scenes").with_overrides(METHODS["oicr"]()) == preset("scenes_oicr")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    assert len((METHODS[name].__doc__ or "").splitlines()[0]) > 30


def test_a_study_of_methods_is_the_same_on_every_base() -> None:
    for make in ABLATIONS.values():
        study = make()
        for variant in study.variants:
            on_sdcn, on_oicr = (preset(name).with_overrides(variant.overrides) for name in ("scenes", "scenes_oicr"))
            assert on_sdcn.objective == on_oicr.objective, variant.name
        assert study.base_variant in [variant.name for variant in study.variants]


@pytest.mark.parametrize("name", [*ABLATIONS, *SWEEPS])
def test_a_study_of_the_paper_says_what_to_expect_and_how_it_is_asked_for(name: str) -> None:
    if name.startswith(("table", "figure")):
        docstring = {**ABLATIONS, **SWEEPS}[name].__doc__ or ""
        assert f"sdcn submit {name} --data " in docstring
        assert "The paper" in docstring
