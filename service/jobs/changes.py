"""What may be asked of a job that is there, beside verbs: the bodies of such requests."""

from pydantic import Field, JsonValue

from sdcn_core.config.base import FrozenConfig
from service.jobs.base_spec import Priority


class JobChanges(FrozenConfig):
    """What of a job can be changed while it waits."""

    priority: Priority
    """larger is claimed earlier"""


class CloneSpec(FrozenConfig):
    """A new job like one that is there."""

    changes: dict[str, JsonValue] = Field(default_factory=dict, max_length=50)
    """fields of the job's spec that shall differ, as in POST /v1/jobs; of `overrides` and `resources` the entries
    given: {"name": "softer", "overrides": {"objective.tau_0": 0.3}, "resources": {"num_workers": 2}}"""
