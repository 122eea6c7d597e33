import pytest
from pydantic import ValidationError

from workers.settings import WorkerSettings


def test_a_stop_has_more_time_than_its_graces() -> None:
    with pytest.raises(ValidationError, match=r"SDCN_STOPPING_TIMEOUT_S must be more than .* = 315"):
        WorkerSettings(stop_grace_s=300)
    assert WorkerSettings(stop_grace_s=300, stopping_timeout_s=316).deadlines.stopping_s == 316
