"""What becomes of a job that a form asks for: it is looked at, or queued once however often the form is sent."""

import hashlib
import re
from dataclasses import dataclass

from service import submission
from service.jobs.specs import JobSpec
from service.models import ModelCatalogue
from service.queue.datasets import DatasetRegister

_TOKEN = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Checked:
    """What a check found; nothing was queued."""

    kind: str
    trainings: int
    steps: int
    warnings: tuple[str, ...]


def look_at(spec: JobSpec, datasets: DatasetRegister, models: ModelCatalogue | None = None) -> Checked:
    """What there would be; arguments and errors as of `submission.check`."""
    checked = submission.check(spec, datasets, models)
    trainings, _ = submission.planned_runs(checked.spec)
    return Checked(checked.spec.kind, trainings, checked.spec.total_steps, checked.warnings)


def idempotency_key(token: str, spec: JobSpec) -> str | None:
    """Equal where the same form is sent twice. One that was changed, after going back to it, asks for another job. None
    where somebody took the form's token out.
    """
    if _TOKEN.fullmatch(token) is None:
        return None
    return f"form-{token}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]}"
