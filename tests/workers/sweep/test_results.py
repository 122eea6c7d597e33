import csv
from pathlib import Path

from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, SweepResults
from tests.workers.sweep.specs import MIL, found, sweep
from workers.sweep.results import best_run, sweep_results
from workers.sweep.tables import write_tables

RUNS = [
    found("a", 0.2, overrides={MIL: 0.1}),
    found("b", 0.9, overrides={MIL: 1.0}, state="stopped_early"),
    found("c", 0.4, overrides={MIL: 1.0}),
    found("d", overrides={MIL: 1.0}, failure=RunFailure(reason=FailureReason.DIVERGED, message="a loss")),
]


def test_the_best_run_is_among_those_that_came_to_their_end() -> None:
    assert best_run("max", RUNS) == "c"
    assert best_run("min", RUNS) == "a"


def test_the_earliest_of_equals_is_the_best() -> None:
    assert best_run("max", [found("a", 0.3), found("b", 0.3)]) == "a"


def test_the_best_trial_is_best_over_its_seeds_and_named_by_its_best_run() -> None:
    runs = [
        found("lucky-seed0", 0.9, variant="lucky"),
        found("lucky-seed1", 0.1, variant="lucky", seed=1),
        found("good-seed0", 0.6, variant="good"),
        found("good-seed1", 0.7, variant="good", seed=1),
        found("good-seed2", variant="good", seed=2),
    ]
    assert best_run("max", runs) == "good-seed1"
    assert best_run("min", runs) == "lucky-seed1"


def test_where_no_run_came_to_its_end_none_is_best() -> None:
    assert best_run("max", [RUNS[1], RUNS[3]]) is None


def test_the_trials_are_written_for_people_and_for_programs(tmp_path: Path) -> None:
    results = sweep_results(sweep(), RUNS, (), wall_seconds=3)
    files = write_tables(results, (MIL,), tmp_path)
    assert SweepResults.model_validate_json(files["trials.json"].read_bytes()) == results
    rows = list(csv.DictReader(files["trials.csv"].read_text().splitlines()))
    assert [(row["run"], row[MIL], row["state"]) for row in rows][1] == ("b", "1", "stopped_early")
    lines = files["table.md"].read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| **c**", "| a", "| b", "| d"]
