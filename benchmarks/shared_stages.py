"""What an ablation saves by training shared stages once: the rows of table 2 with and without, by a running service.

`python benchmarks/shared_stages.py [--url URL] [--shrink N]`: start one with `sdcn up`. The schedule of the scenes is
divided by N, so that both take minutes; the stages keep their shares. Nothing else should run on the machine.
"""

import argparse
import time

from sdcn_core.config.presets import preset
from service.client.client import SdcnClient
from service.jobs.ablation_spec import AblationSpec
from service.jobs.states import JobState
from service.jobs.study_results import AblationResults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--shrink", type=int, default=4)
    options = parser.parse_args()
    schedule = preset("scenes").schedule
    overrides = {
        "schedule.backbone.steps": schedule.backbone.steps // options.shrink,
        "schedule.classifier.steps": schedule.classifier.steps // options.shrink,
        "schedule.apart_steps": schedule.apart_steps // options.shrink,
        "schedule.loop_steps": schedule.loop_steps // options.shrink,
        "schedule.decay_at_steps": [schedule.decay_at_steps[0] // options.shrink],
        "data.source.train_images": 400 // options.shrink,
        "data.source.test_images": 250 // options.shrink,
    }
    print("| shared stages | wall time, s | trained in all, s | mAP of the rows |")
    print("|---|---|---|---|")
    with SdcnClient(options.url) as client:
        for share in (
            True,
            False,
            True,
            False,
        ):  # the first also fills the cache of proposals, so the second pair counts
            spec = AblationSpec.model_validate(
                {"preset": "scenes", "overrides": overrides, "study": "table-2", "share_stages": share}
            )
            began = time.monotonic()
            *_, job = client.watch(client.submit(spec).id)
            wall_s = time.monotonic() - began
            assert job.state is JobState.SUCCEEDED, job.failure
            found = client.results(job.id)
            assert isinstance(found, AblationResults)
            trained_s = sum(run.train_seconds for run in found.runs) + sum(s.train_seconds for s in found.shared)
            means = [None if (m := row.measures["mean_ap"]) is None else m.mean for row in found.rows]
            shown = ", ".join("-" if mean is None else f"{100 * mean:.4f}" for mean in means)
            print(f"| {'once' if share else 'for each run'} | {wall_s:.0f} | {trained_s:.0f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
