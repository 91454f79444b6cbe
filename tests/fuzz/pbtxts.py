"""Texts of graphs, right ones in which something is wrong, loaded whole, with their
calculators and models: each is a graph, or refused with its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from ovms_mp.library.errors import GraphError
from ovms_mp.library.graph import Graph
from tests.wire import zoo

LONGEST: Final = 2_000
STRANGE: Final = (
    *("-1", "0", "1e999", "99999999999", "nan", "true", '""', '"\\000"', '"x:y:z"'),
    *("{", "}", "[", "]", "<", ":", "#", '"', "'", "\\", "\x00", "é"),
    *('"TAG:0:in"', '"in"', '"out"', "back_edge: true", "max_in_flight: 0"),
    *(
        "max_queue_size: 0",
        "num_threads: 99999999",
        'calculator: "PassThroughCalculator"',
    ),
    *('input_stream: "in"', 'output_stream: "in"', 'input_side_packet: "session"'),
    *('type: "Words"', 'option_value: "a/b:c"', 'executor { name: "x" type: "y" }'),
)
LOOP: Final = """
input_stream: "in"
output_stream: "out"
node {
  calculator: "PreviousLoopbackCalculator"
  input_stream: "MAIN:in"
  input_stream: "LOOP:out"
  input_stream_info { tag_index: "LOOP" back_edge: true }
  output_stream: "PREV_LOOP:before"
}
node {
  calculator: "MuxCalculator"
  input_stream: "INPUT:0:in"
  input_stream: "INPUT:1:before"
  input_stream: "SELECT:in"
  output_stream: "OUTPUT:out"
  input_stream_handler { input_stream_handler: "MuxInputStreamHandler" }
}
"""
SWITCH: Final = """
input_stream: "select"
input_stream: "in"
output_stream: "out"
node {
  calculator: "SwitchContainer"
  input_stream: "SELECT:select"
  input_stream: "in"
  output_stream: "out"
  options { [mediapipe.SwitchContainerOptions.ext] {
    contained_node { calculator: "PassThroughCalculator" }
    contained_node { calculator: "PacketClonerCalculator" }
  } }
}
"""
TEXTS: Final = (
    *(zoo.GRAPHS[name] for name in ("echo", "add", "fan", "join", "words", "limited")),
    LOOP,
    SWITCH,
    *(
        path.read_text()
        for path in sorted((Path(__file__).parents[2] / "graphs").glob("*/graph.pbtxt"))
    ),
)
_TOKENS: Final = [re.findall(r'"[^"\n]*"|#[^\n]*|[\w.]+|\s+|.', text) for text in TEXTS]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """One of TEXTS, of which tokens were taken, doubled, moved, or replaced; or of which
    whole lines come from another.
    """
    tokens = list(draw(st.sampled_from(_TOKENS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(at, min(len(tokens) - 1, at + 30)))
        match draw(
            st.sampled_from(["drop", "double", "swap", "take", "strange", "cut"])
        ):
            case "drop":
                del tokens[at]
            case "double":
                tokens[at:at] = tokens[at:other]
            case "swap":
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case "take":
                others = draw(st.sampled_from(_TOKENS))
                tokens[at] = draw(st.sampled_from(others))
            case "strange":
                tokens[at] = f" {draw(st.sampled_from(STRANGE))} "
            case _:
                del tokens[at:other]
        if not tokens:
            break
    return "".join(tokens)


class Judge:
    """What comes of them in a folder that has what the right ones need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "speaker.py").write_text(zoo.HANDLER)
        for name in ("add_one", "pair"):
            zoo.add_model(folder, name, zoo.models()[name])

    def __call__(self, text: str) -> str:
        """Whether it is a graph."""
        models = {
            name: self._folder / name / "1" / "model.xml"
            for name in ("add_one", "pair")
        }
        try:
            graph = Graph.parse(text, models=models, base_path=self._folder)
        except GraphError as error:
            told = str(error)
            # The graph's, or that of a subgraph it uses.
            assert re.search(r"\w\.pbtxt\b", told), (told, text)
            assert told.count("\n") < 3 and len(told) < LONGEST, (told, text)
            assert "Traceback" not in told and str(self._folder) not in told, (
                told,
                text,
            )
            return "refused"
        graph.close()
        return "a graph"
