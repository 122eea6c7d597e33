from itertools import pairwise

from service.jobs.states import LEASED, TRANSITIONS, WAITING, JobState


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_the_ends_are_the_states_without_a_way_out() -> None:
    assert {state for state in JobState if state.is_terminal} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }


def test_every_state_waits_is_leased_or_has_ended() -> None:
    for state in JobState:
        assert [state in WAITING, state in LEASED, state.is_terminal].count(True) == 1


def test_every_state_can_be_reached_and_can_end() -> None:
    reached = {JobState.QUEUED}
    for _ in JobState:
        reached |= {target for state in reached for target in TRANSITIONS[state]}
    assert reached == set(JobState)
    for state in JobState:
        assert state.is_terminal or JobState.CANCELLED in TRANSITIONS[state]


def test_the_way_of_an_ordinary_job_is_allowed() -> None:
    way = [JobState.QUEUED, JobState.CLAIMED, JobState.RUNNING, JobState.SUCCEEDED]
    assert all(target in TRANSITIONS[source] for source, target in pairwise(way))
