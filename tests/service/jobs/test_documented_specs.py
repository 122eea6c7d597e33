import json
import re
from pathlib import Path

import pytest

from service.jobs.specs import JOB_SPEC

STUDIES = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
BODIES = re.findall(r"-d '(\{.*?\})'", STUDIES, flags=re.DOTALL)


@pytest.mark.parametrize("body", BODIES)
def test_a_request_that_the_page_on_studies_shows_is_accepted(body: str) -> None:
    spec = JOB_SPEC.validate_python(json.loads(body)).resolve()
    assert spec.kind == json.loads(body)["kind"]


def test_the_page_on_studies_shows_an_ablation_and_a_sweep() -> None:
    assert {json.loads(body)["kind"] for body in BODIES} == {"ablation", "sweep"}
