"""What a person can do about a failure, whatever shows it. docs/failures has a page for each."""

from collections.abc import Mapping
from typing import Final

from service.jobs.states import FailureReason

WAYS_OUT: Final[Mapping[FailureReason, str]] = {
    FailureReason.BAD_INPUT: "Trying again will not help: change the experiment or its data, and submit it anew.",
    FailureReason.DIVERGED: "A loss ran away: lower schedule.learning_rate or set schedule.clip_norm, and submit anew.",
    FailureReason.OUT_OF_MEMORY: "The same would happen again: take fewer images a step, or smaller ones.",
    FailureReason.CRASHED: "Its process ended without a word: see the log of the attempt, or try it again.",
    FailureReason.DEPENDENCY: "It waited for a job that did not succeed: try that one again, and then this one.",
    FailureReason.LOST_WORKER: "The worker vanished. A further attempt goes on from a checkpoint.",
    FailureReason.INFRASTRUCTURE: "Ray, a disk or the network failed. A further attempt goes on from a checkpoint.",
    FailureReason.DEADLINE: "It took longer than it may: clone it with a larger max_runtime_s, or with fewer steps.",
    FailureReason.USER: "Somebody asked for the end.",
}
