"""Small sweeps and made-up outcomes for the tests of their parts."""

from typing import Any

from service.jobs.study_results import RunFound, RunState
from service.jobs.sweep_spec import SweepSpec

MIL = "objective.lambda_mil"
SEG = "objective.lambda_seg"


def sweep(**fields: Any) -> SweepSpec:
    space = {MIL: {"kind": "choice", "values": [0.1, 1.0]}}
    return SweepSpec.model_validate({"preset": "tiny", "space": space, **fields}).resolve()


def found(name: str, value: float | None = None, **fields: Any) -> RunFound:
    state = RunState.FAILED if value is None else RunState.SUCCEEDED
    defaults = {"variant": name, "seed": 0, "overrides": {}, "state": state, "value": value}
    return RunFound.model_validate({"name": name, **defaults, **fields})
