import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_cluster_as_composed_trains_over_both_nodes_and_survives_the_loss_of_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.rehearsal"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"worker-\d is lost with \d+ processes", done.stdout)
    assert "MLflow has every run, and none of them is open" in done.stdout
