import re
from itertools import pairwise
from pathlib import Path

from service.jobs.states import CLAIMABLE, LEASED, NEW, TERMINAL, TRANSITIONS, WAITING, Desired, FailureReason, JobState

DOCUMENT = Path(__file__).parents[3] / "docs" / "job-states.md"


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_state_waits_is_leased_or_has_ended() -> None:
    for state in JobState:
        assert [state in WAITING, state in LEASED, state in TERMINAL].count(True) == 1


def test_every_state_can_be_reached_and_can_end() -> None:
    reached = set(NEW)
    for _ in JobState:
        reached |= {target for state in reached for target in TRANSITIONS[state]}
    assert reached == set(JobState)
    for state in JobState:
        assert state.is_terminal or JobState.CANCELLED in TRANSITIONS[state]


def test_an_end_is_left_only_to_begin_again() -> None:
    assert TRANSITIONS[JobState.SUCCEEDED] == set()
    for state in (JobState.FAILED, JobState.CANCELLED):
        assert TRANSITIONS[state] == NEW


def test_only_a_claim_leads_to_a_lease() -> None:
    for state in WAITING | TERMINAL:
        assert TRANSITIONS[state] & LEASED == ({JobState.CLAIMED} if state in CLAIMABLE else set())


def test_the_way_of_an_ordinary_job_is_allowed() -> None:
    way = [JobState.QUEUED, JobState.CLAIMED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert all(target in TRANSITIONS[source] for source, target in pairwise(way))


def test_what_is_wanted_is_ordered_by_severity() -> None:
    assert sorted(Desired, key=lambda desired: desired.severity) == ["run", "pause", "cancel", "kill"]
    assert [desired.is_end for desired in Desired] == [False, False, True, True]


def test_the_drawing_shows_the_table() -> None:
    drawn = re.findall(r"^    (\S+) --> ([a-z_]+): ", DOCUMENT.read_text(), flags=re.MULTILINE)
    moves = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert sorted(drawn) == sorted(moves | {("[*]", state) for state in NEW})


def test_the_sentences_are_of_the_same_arrows() -> None:
    rows = re.findall(
        r"^\| ([^|]*) \| (`[^|]*`) \| [^|]* \|$", DOCUMENT.read_text().split("## One sentence")[1], re.MULTILINE
    )
    told = {
        (source, target)
        for sources, targets in rows
        for source in re.findall(r"`([a-z_]+)`", sources)
        for target in re.findall(r"`([a-z_]+)`", targets)
    }
    moves = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert told == moves


def test_the_document_lists_the_reasons() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes|no)", DOCUMENT.read_text().split("## Reasons")[1], re.MULTILINE)
    assert rows == [(reason, "yes" if reason.is_retryable else "no") for reason in FailureReason]
