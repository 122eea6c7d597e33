"""The workers' figures in Prometheus' words."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.jobs.worker_figures import GpuFigures, WorkerFigures
from service.queue.figures import SeenWorker

COUNTERS: Final[tuple[tuple[str, str, Callable[[WorkerFigures], int]], ...]] = (
    ("sdcn_worker_heartbeats", "Heartbeats of the worker.", lambda told: told.heartbeats),
    ("sdcn_worker_lease_renewals", "Renewals of a job's lease.", lambda told: told.lease_renewals),
    (
        "sdcn_worker_lease_renewals_failed",
        "Renewals for which the database could not be reached.",
        lambda told: told.lease_renewals_failed,
    ),
    ("sdcn_worker_leases_lost", "Attempts given up because their lease was lost.", lambda told: told.leases_lost),
)
GAUGES: Final[tuple[tuple[str, str, Callable[[WorkerFigures], float | None]], ...]] = (
    ("sdcn_worker_memory_bytes", "Resident memory of the worker's own process.", lambda told: told.memory_bytes),
    (
        "sdcn_worker_attempt_memory_bytes",
        "Resident memory of all processes of the attempt at work that the worker has started.",
        lambda told: told.attempt_memory_bytes,
    ),
    (
        "sdcn_worker_steps_per_second",
        "Optimizer steps a second of the attempt at work.",
        lambda told: told.steps_per_second,
    ),
    (
        "sdcn_worker_disk_free_bytes",
        "Free on the disk of the service's home, as the worker sees it.",
        lambda told: told.disk_free_bytes,
    ),
)
GPU_GAUGES: Final[tuple[tuple[str, str, Callable[[GpuFigures], float | None]], ...]] = (
    ("sdcn_worker_gpu_use_ratio", "Share of the time in which the GPU computed.", lambda gpu: gpu.use),
    ("sdcn_worker_gpu_memory_bytes", "Memory of the GPU in use.", lambda gpu: gpu.memory_bytes),
    ("sdcn_worker_gpu_memory_total_bytes", "Memory of the GPU.", lambda gpu: gpu.memory_total_bytes),
)


def worker_families(workers: Sequence[SeenWorker]) -> Iterator[Metric]:
    """One series a worker, and GPU; a worker that is gone has none, so that there are never more than processes."""
    yield GaugeMetricFamily("sdcn_workers", "Workers whose heartbeat is not overdue.", value=len(workers))
    age = GaugeMetricFamily(
        "sdcn_worker_heartbeat_age_seconds", "Since the worker's last heartbeat.", labels=("worker",)
    )
    for worker in workers:
        age.add_metric((worker.worker_id,), worker.age_s)
    yield age
    for name, documentation, count_of in COUNTERS:
        counter = CounterMetricFamily(name, documentation, labels=("worker",))
        for worker in workers:
            counter.add_metric((worker.worker_id,), count_of(worker.figures))
        yield counter
    for name, documentation, value_of in GAUGES:
        gauge = GaugeMetricFamily(name, documentation, labels=("worker",))
        for worker in workers:
            if (value := value_of(worker.figures)) is not None:
                gauge.add_metric((worker.worker_id,), value)
        yield gauge
    for name, documentation, gpu_value_of in GPU_GAUGES:
        gauge = GaugeMetricFamily(name, documentation, labels=("worker", "gpu"))
        for worker in workers:
            for gpu in worker.figures.gpus:
                if (value := gpu_value_of(gpu)) is not None:
                    gauge.add_metric((worker.worker_id, str(gpu.index)), value)
        yield gauge
