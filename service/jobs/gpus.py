"""How many GPUs a job holds at once."""

from service.jobs.ablation_spec import AblationSpec
from service.jobs.specs import JobSpec
from service.jobs.sweep_spec import SweepSpec


def gpus_at_once(spec: JobSpec) -> int:
    """Those of one training of a resolved spec, times as many as a study may have side by side: all, where it does not
    say.
    """
    each = spec.resources.num_workers * spec.resources.gpus_per_worker
    match spec:
        case AblationSpec():
            runs = len(spec.variants) * len(spec.seeds)
        case SweepSpec():
            runs = spec.num_trials * len(spec.seeds)
        case _:
            return each
    return each * min(runs, spec.max_parallel or runs)
