"""The tables of lives say all that may happen."""

from __future__ import annotations

from ovms_mp.core.lifecycle import (
    GRAPH_TRANSITIONS,
    VERSION_TRANSITIONS,
    GraphEvent,
    GraphState,
    VersionEvent,
    VersionState,
)


def test_states_of_versions_have_the_wires_numbers():
    assert {state.name: int(state) for state in VersionState} == {
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }


def test_every_state_can_be_reached_and_ends_are_left_only_by_loading_anew():
    for table, start, end, anew in (
        (VERSION_TRANSITIONS, VersionState.START, VersionState.END, VersionEvent.LOAD),
        (GRAPH_TRANSITIONS, GraphState.BEGIN, GraphState.RETIRED, GraphEvent.RELOAD),
    ):
        reached = {start}
        for _ in table:
            reached |= {
                after for (before, _), after in table.items() if before in reached
            }
        assert reached == set(type(start))
        assert {event for state, event in table if state is end} == {anew}
