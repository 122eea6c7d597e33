import json
import re
from pathlib import Path

import pytest

from service.jobs.data_specs import DatasetSpec
from service.jobs.registered import registered_names, with_sources
from service.jobs.specs import JOB_SPEC

DOCS = Path(__file__).parents[3] / "docs"
STUDIES = (DOCS / "studies.md").read_text()
BODIES = re.findall(r"-d '(\{.*?\})'", STUDIES, flags=re.DOTALL)


@pytest.mark.parametrize("body", BODIES)
def test_a_request_that_the_page_on_studies_shows_is_accepted(body: str) -> None:
    spec = JOB_SPEC.validate_python(json.loads(body)).resolve()
    assert spec.kind == json.loads(body)["kind"]


def test_the_page_on_studies_shows_an_ablation_and_a_sweep() -> None:
    assert {json.loads(body)["kind"] for body in BODIES} == {"ablation", "sweep"}


def test_the_page_on_data_sets_shows_how_one_is_registered_and_named() -> None:
    registering, job = re.findall(r"-d '(\{.*?\})'\n", (DOCS / "datasets.md").read_text(), flags=re.DOTALL)
    spec = DatasetSpec.model_validate_json(registering)
    named = JOB_SPEC.validate_json(job)
    assert registered_names(named) == {spec.name: "overrides.data.source"}
    assert with_sources(named, {spec.name: spec.source}).resolve().kind == "train"
