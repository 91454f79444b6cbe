"""Laws that hold for every graph of pass-throughs and joins, whatever is fed."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.graph.node import TRANSITIONS, NodeEvent, NodeRun, NodeState
from ovms_mp.graph.stream import InputStream, Stream
from tests.unit.graph.support import Run, define


@st.composite
def graphs(draw):
    """A random graph whose nodes take any streams made before them."""
    inputs = [f"in{n}" for n in range(draw(st.integers(1, 3)))]
    streams, nodes = list(inputs), []
    for n in range(draw(st.integers(1, 5))):
        taken = draw(
            st.lists(st.sampled_from(streams), min_size=1, max_size=3, unique=True)
        )
        made = [f"n{n}o{k}" for k in range(len(taken))]
        streams += made
        nodes.append(
            'node { calculator: "PassThrough" '
            + " ".join(f'input_stream: "{each}"' for each in taken)
            + " "
            + " ".join(f'output_stream: "{each}"' for each in made)
            + " }"
        )
    text = " ".join(f'input_stream: "{each}"' for each in inputs)
    text += " " + " ".join(
        f'output_stream: "{each}"' for each in streams if each not in inputs
    )
    feeds = draw(
        st.lists(st.tuples(st.sampled_from(inputs), st.integers(0, 4)), max_size=25)
    )
    return f"{text} {' '.join(nodes)}", inputs, feeds


@given(graphs())
def test_no_packet_is_lost_doubled_or_reordered_and_every_run_ends(case):
    text, inputs, feeds = case
    run = Run(text)
    clock = dict.fromkeys(inputs, -1)
    sent = {each: [] for each in inputs}
    for stream, step in feeds:
        clock[stream] += step + 1
        sent[stream].append(clock[stream])
        run.feed(stream, clock[stream], (stream, clock[stream]))
    run.close()
    assert run.is_done and run.error is None
    for name in run.names:
        mine = [(at, payload) for output, at, payload in run.packets if output == name]
        assert mine == sorted(set(mine))
        sources = {payload[0] for _, payload in mine}
        assert len(sources) <= 1
        for source in sources:
            assert [at for at, _ in mine] == sent[source]


def test_every_pair_of_state_and_event_is_a_row_or_is_refused_and_changes_nothing():
    definition = define(
        'input_stream: "a" node { calculator: "PassThrough" input_stream: "a" output_stream: "b" }'
    )
    for state, event in product(NodeState, NodeEvent):
        node = NodeRun(
            definition.nodes[0], 0, [InputStream("a", -1, ())], [Stream("b")]
        )
        node.state = state
        if (state, event) in TRANSITIONS:
            node.on(event)
            assert node.state is TRANSITIONS[state, event]
        else:
            with pytest.raises(KeyError):
                node.on(event)
            assert node.state is state
