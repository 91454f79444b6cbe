"""Random graphs and what is fed to them: plain data that both runtimes understand.

A case names its graph (`pbtxt`), what is observed and whether with bounds, and its steps:
lists of events, after each of which both runtimes come to rest.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.differential import own

_HANDLERS: Final = ("", "", "", "Immediate", "FixedSize", "Batch")
_SPECIAL: Final = ("PRESTREAM", "POSTSTREAM", "MAX", "MIN")
_QUEUES: Final = (None, None, None, -1, 1, 2, 3)


@cache
def kinds() -> tuple[str, ...]:
    """The kinds of nodes whose calculators are there."""
    return tuple(
        kind
        for kind, names in _CALCULATORS.items()
        if all(own.registry().find(name) is not None for name in names)
    )


class _Graph:
    """A graph on its way to a pbtxt."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        self.types: dict[str, str] = {}
        self.inputs: list[str] = []
        self.nodes: list[str] = []
        self.used: set[str] = set()
        self.loops: list[tuple[str, int]] = []

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def may(self, percent: int) -> bool:
        return self.draw(st.integers(1, 100)) <= percent

    def new(self, kind: str) -> str:
        name = f"s{len(self.types)}"
        self.types[name] = kind
        return name

    def pick(self, kind: str | None = None) -> str:
        """A stream that is there already."""
        names = [n for n, k in self.types.items() if kind in (None, k)]
        if not names:
            return self.new_input(kind or "int")
        return self.draw(st.sampled_from(names))

    def new_input(self, kind: str) -> str:
        name = self.new(kind)
        self.inputs.append(name)
        return name

    def loop(self) -> str:
        """The place of a stream of int that is chosen when all are there."""
        place = f"@{len(self.loops)}@"
        self.loops.append((place, len(self.types)))
        self.used.add("back edge")
        return place

    def add(self, calculator: str, *lines: str) -> None:
        body = "\n".join(f"  {line}" for line in lines if line)
        self.nodes.append(f'node {{\n  calculator: "{calculator}"\n{body}\n}}')

    def options(self, calculator: str, body: str) -> str:
        return f"options {{ [mediapipe.{calculator}Options.ext] {{ {body} }} }}"

    def handler(self, *, has_loop: bool = False) -> str:
        which = self.one_of(*_HANDLERS)
        if which == "" or (which == "Immediate" and has_loop):
            return ""
        self.used.add(which)
        if which == "Immediate":
            name, body = "ImmediateInputStreamHandler", ""
        elif which == "Batch":
            name = "DefaultInputStreamHandler"
            body = f"batch_size: {self.one_of(1, 2, 3)}"
        else:
            name = "FixedSizeInputStreamHandler"
            trigger = self.one_of(1, 2, 3, 4)
            target = self.draw(st.integers(1, trigger))
            body = f"trigger_queue_size: {trigger} target_queue_size: {target}"
            if self.may(50):
                body += " fixed_min_size: true"
        options = name + "Options"
        body = body and f" options {{ [mediapipe.{options}.ext] {{ {body} }} }}"
        return f'input_stream_handler {{ input_stream_handler: "{name}"{body} }}'

    def pass_through(self) -> None:
        ins = [self.pick() for _ in range(self.one_of(1, 1, 2, 3))]
        outs = [self.new(self.types[name]) for name in ins]
        lines = [f'input_stream: "{n}"' for n in ins]
        if self.may(10):
            lines.append(f'input_stream: "{self.loop()}"')
            info = f'tag_index: ":{len(ins)}" back_edge: true'
            lines.append(f"input_stream_info {{ {info} }}")
            outs.append(self.new("int"))
        lines += [f'output_stream: "{n}"' for n in outs]
        handler = self.handler(has_loop=len(outs) > len(ins))
        # MediaPipe refuses it with batches, and may die of it with immediate inputs.
        is_able = not handler or "FixedSize" in handler or len(outs) == 1
        if "batch_size" not in handler and is_able and self.may(15):
            self.used.add("max_in_flight")
            lines.append(f"max_in_flight: {self.one_of(2, 3)}")
        self.add("PassThroughCalculator", *lines, handler)

    def flow_limiter(self) -> None:
        ins = [self.pick() for _ in range(self.one_of(1, 1, 2))]
        outs = [self.new(self.types[name]) for name in ins]
        body = f"max_in_flight: {self.one_of(1, 1, 2)} max_in_queue: {self.one_of(0, 0, 1, 2)}"
        if self.may(20):
            body += f" in_flight_timeout: {self.one_of(1, 4)}"
        self.add(
            "FlowLimiterCalculator",
            *(f'input_stream: "{n}"' for n in ins),
            f'input_stream: "FINISHED:{self.loop()}"',
            'input_stream_info { tag_index: "FINISHED" back_edge: true }',
            *(f'output_stream: "{n}"' for n in outs),
            f'output_stream: "ALLOW:{self.new("bool")}"' if self.may(60) else "",
            self.options("FlowLimiterCalculator", body),
        )

    def previous_loopback(self) -> None:
        self.add(
            "PreviousLoopbackCalculator",
            f'input_stream: "MAIN:{self.pick()}"',
            f'input_stream: "LOOP:{self.loop()}"',
            'input_stream_info { tag_index: "LOOP" back_edge: true }',
            f'output_stream: "PREV_LOOP:{self.new("int")}"',
        )

    def gate(self) -> None:
        ins = [self.pick() for _ in range(self.one_of(1, 1, 2))]
        outs = [self.new(self.types[name]) for name in ins]
        lines = [f'input_stream: "{n}"' for n in ins]
        tag = self.one_of("ALLOW", "DISALLOW")
        body = self.one_of("", "empty_packets_as_allow: true")
        body += self.one_of("", " initial_gate_state: GATE_ALLOW")
        how = self.one_of("stream", "stream", "stream", "side", "option")
        if how == "stream":
            lines.append(f'input_stream: "{tag}:{self.pick("bool")}"')
        elif how == "side":
            lines.append(f'input_side_packet: "{tag}:is_open"')
        else:
            body += f" allow: {self.one_of('true', 'false')}"
        lines += [f'output_stream: "{n}"' for n in outs]
        if self.may(50):
            lines.append(f'output_stream: "STATE_CHANGE:{self.new("bool")}"')
        self.add("GateCalculator", *lines, self.options("GateCalculator", body))

    def merge(self) -> None:
        names = [self.pick("int") for _ in range(self.one_of(1, 2, 3))]
        ins = [f'input_stream: "{name}"' for name in names]
        if self.may(10):
            ins.append(f'input_stream: "{self.loop()}"')
            info = f'tag_index: ":{len(ins) - 1}" back_edge: true'
            ins.append(f"input_stream_info {{ {info} }}")
        out = f'output_stream: "{self.new("int")}"'
        self.add(
            "MergeCalculator",
            *ins,
            out,
            self.handler(has_loop=len(ins) > len(names)),
        )

    def packet_presence(self) -> None:
        self.add(
            "PacketPresenceCalculator",
            f'input_stream: "PACKET:{self.pick()}"',
            f'output_stream: "PRESENCE:{self.new("bool")}"',
        )

    def loop_over_items(self) -> None:
        item, end = self.new("int"), f"e{len(self.types)}"
        presence = self.new("bool")
        self.add(
            "BeginLoopIntCalculator",
            f'input_stream: "ITERABLE:{self.pick("ints")}"',
            f'output_stream: "ITEM:{item}"',
            f'output_stream: "BATCH_END:{end}"',
        )
        self.add(
            "PacketPresenceCalculator",
            f'input_stream: "PACKET:{item}"',
            f'output_stream: "PRESENCE:{presence}"',
        )
        self.add(
            "EndLoopBooleanCalculator",
            f'input_stream: "ITEM:{presence}"',
            f'input_stream: "BATCH_END:{end}"',
            f'output_stream: "ITERABLE:{self.new("bools")}"',
        )

    def concatenate(self) -> None:
        ins = [self.pick("ints"), self.pick("ints")]
        body = self.one_of("", "only_emit_if_all_present: true")
        self.add(
            "ConcatenateInt32VectorCalculator",
            *(f'input_stream: "{n}"' for n in ins),
            f'output_stream: "{self.new("ints")}"',
            self.options("ConcatenateVectorCalculator", body),
        )

    def side_packet_to_stream(self) -> None:
        how = self.one_of("TICK", "FIRST_TICK", "ZERO", "PRESTREAM", "POSTSTREAM")
        tick = f'input_stream: "TICK:{self.pick()}"' if "TICK" in how else ""
        self.add(
            "SidePacketToStreamCalculator",
            'input_side_packet: "number"',
            tick,
            f'output_stream: "AT_{how}:{self.new("int")}"',
        )

    def packet_sequencer(self) -> None:
        given, tick = self.pick(), self.pick()
        self.add(
            "PacketSequencerCalculator",
            f'input_stream: "INPUT:{given}"',
            f'input_stream: "TICK:{tick}"',
            f'output_stream: "OUTPUT:{self.new(self.types[given])}"',
        )

    def pbtxt(self) -> str:
        """The text, loops closed; what is declared before what uses it."""
        for place, since in self.loops:
            names = [n for n, kind in self.types.items() if kind == "int"]
            later = [n for n in names if int(n[1:]) >= since]
            name = (
                self.draw(st.sampled_from(later or names))
                if names
                else self.pick("int")
            )
            self.nodes = [each.replace(place, name) for each in self.nodes]
        lines = ['executor { type: "ApplicationThreadExecutor" }']
        lines += [f'input_stream: "{n}"' for n in self.inputs]
        lines += ['input_side_packet: "is_open"', 'input_side_packet: "number"']
        return "\n".join([*lines, *self.nodes]) + "\n"


_CALCULATORS: Final = {
    "pass_through": ("PassThroughCalculator",),
    "flow_limiter": ("FlowLimiterCalculator",),
    "previous_loopback": ("PreviousLoopbackCalculator",),
    "gate": ("GateCalculator",),
    "merge": ("MergeCalculator",),
    "packet_presence": ("PacketPresenceCalculator",),
    "loop_over_items": (
        "BeginLoopIntCalculator",
        "PacketPresenceCalculator",
        "EndLoopBooleanCalculator",
    ),
    "concatenate": ("ConcatenateInt32VectorCalculator",),
    "side_packet_to_stream": ("SidePacketToStreamCalculator",),
    "packet_sequencer": ("PacketSequencerCalculator",),
}


@st.composite
def cases(draw: DrawFn) -> dict[str, Any]:
    """A graph of one to seven nodes, and up to thirty events."""
    graph = _Graph(draw)
    for _ in range(draw(st.integers(1, 3))):
        graph.new_input(graph.one_of("int", "int", "bool", "ints"))
    for kind in draw(st.lists(st.sampled_from(kinds()), min_size=1, max_size=7)):
        graph.used.add(kind)
        getattr(graph, kind)()
    pbtxt = graph.pbtxt()
    queue = graph.one_of(*_QUEUES)
    if queue is not None:
        graph.used.add("max_queue_size")
        pbtxt += f"max_queue_size: {queue}\n"
        if graph.may(40):
            graph.used.add("report_deadlock")
            pbtxt += "report_deadlock: true\n"
    has_bounds = draw(st.booleans())
    return {
        "pbtxt": pbtxt,
        "types": graph.types,
        "inputs": graph.inputs,
        "observed": sorted(set(graph.types) - set(graph.inputs)),
        "bounds": has_bounds,
        "side": {"is_open": ["bool", draw(st.booleans())], "number": ["int", 7]},
        "steps": draw(_steps(graph, has_room=queue in (None, -1))),
        "used": sorted(graph.used),
    }


@st.composite
def _steps(draw: DrawFn, graph: _Graph, *, has_room: bool) -> list[list[list[Any]]]:
    nows = dict.fromkeys(graph.inputs, 0)
    left = set(graph.inputs)
    steps: list[list[list[Any]]] = []
    # A small queue that has grown too often ends the run here (`test_explained`).
    most = 25 if has_room else 8
    for count in draw(
        st.lists(st.sampled_from((1, 1, 1, 2, 3)), min_size=4, max_size=most)
    ):
        step: list[list[Any]] = []
        for _ in range(count if has_room else 1):
            if not left:
                break
            stream = draw(st.sampled_from(sorted(left)))
            step.append(draw(_event(graph, stream, nows)))
            if step[-1][0] == "close":
                left.discard(stream)
            if any(at in _SPECIAL for at in step[-1][2:3]):
                break  # what follows meets a node about to close (`test_explained`)
        steps.append(step)
    return [step for step in steps if step]


@st.composite
def _event(draw: DrawFn, graph: _Graph, stream: str, nows: dict[str, int]) -> list[Any]:
    what = draw(st.integers(1, 100))
    if what <= 3:
        return ["close", stream]
    if what <= 5:
        at: Any = draw(st.sampled_from(_SPECIAL))
    elif what <= 7:
        at = nows[stream] - draw(st.integers(1, 3))
    else:
        at = nows[stream] + draw(st.sampled_from((0, 0, 0, 1, 2, 5)))
        nows[stream] = at + 1
    if what % 4 == 0:
        return ["empty", stream, at]
    return ["packet", stream, at, draw(_PAYLOADS[graph.types[stream]])]


_PAYLOADS: Final = {
    "int": st.integers(0, 99),
    "bool": st.booleans(),
    "ints": st.lists(st.integers(0, 9), max_size=3),
}
