"""One calculator in a graph of its own: packets in, packets out. For tests of plug-ins,
and public on purpose.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator.base import Contract
from ovms_mp.calculator.services import Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.core.timestamp import next_allowed
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator.base import Calculator
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.config import StreamName

JOIN_SECONDS: Final = 10.0


class CalculatorRunner:
    """Runs `node { … }` of a pbtxt with a calculator class, in the caller's thread.

    Streams are named as in the node; a side packet by its name or its tag (`TAG`,
    `TAG:1`). Raises ServingError at once when the node does not fit its calculator,
    ContractError for a class that no registry takes, and ValueError for a side packet
    that the node does not have.

        runner = CalculatorRunner(Scale, 'calculator: "Scale" input_stream: "in" …')
        runner.feed("in", 2.0, at=0)
        assert runner.outputs["out"] == [Packet(0, 4.0)]

    `outputs` holds what came out of each output stream so far, `bounds` the earliest
    timestamp of what may still come on it, where that is known; `side_outputs`, by
    name and by tag, what the node has set; `error` why the run failed, and `is_done`
    tells that it has ended.

    The node is open when the constructor returns. A call processes what it makes ready
    before it returns. Where the calculator waits (`Context.wait`), the thread that
    settles the `Pending` goes on with the run: a test settles it itself, or calls
    `close` and `join`. A source does nothing until `run`.

    `restart` runs the same node again, with an instance of its own and what `load` has
    made, as runs of a served graph do.
    """

    def __init__(
        self,
        calculator: type[Calculator],
        node: str,
        *,
        side_packets: Mapping[str, Any] | None = None,
        services: Services | None = None,
        base_path: Path | None = None,
    ) -> None:
        options = Contract.of(calculator).options
        message = None if options is None else options.message
        text = f"node {{ {node} }}".encode()
        one = config.parse(text, "node", options=lambda _: message).nodes[0]
        registry = Registry()
        registry.add(one.calculator, calculator, "the test")
        self._node = one
        self._is_source = bool(one.outputs) and not one.inputs
        given = self._by_name(side_packets or {})
        # The node's streams are the graph's: wrap it.
        graph = config.GraphConfig(
            file="node",
            inputs=one.inputs,
            outputs=(),
            side_inputs=tuple(each for each in one.side_inputs if each.name in given),
            side_outputs=one.side_outputs,
            nodes=(one,),
            max_queue_size=-1,
            report_deadlock=False,
        )
        self._definition = builder.load(
            graph, registry, base_path or Path(), services or Services()
        )
        self._inputs = {name.name: number for name, number in self._definition.inputs}
        self._side_packets = given
        self._start()

    def _start(self) -> None:
        names = [each.name for each in self._node.outputs]
        self.outputs: dict[str, list[Packet]] = {name: [] for name in names}
        self.bounds: dict[str, Timestamp] = {}
        self.error: ServingError | None = None
        self._ended = threading.Event()
        self._wanted: int | None = None
        self._run = GraphRun(self._definition, self, inline)
        self._names = {self._run.observe(name, bounds=True): name for name in names}
        if self._is_source:
            self._run.hold()
        run, side_packets = self._run, self._side_packets
        run.post(lambda: run.start(side_packets))

    def restart(self, side_packets: Mapping[str, Any] | None = None) -> None:
        """Cancel the run if it has not ended, and start another; without side packets,
        with those that the last run was given.
        """
        if not self.is_done:
            self._run.cancel()
        if side_packets is not None:
            self._side_packets = self._by_name(side_packets)
        self._start()

    @property
    def is_done(self) -> bool:
        """True when the run has ended and its node is closed."""
        return self._ended.is_set()

    @property
    def side_outputs(self) -> Mapping[str, Any]:
        """Output side packets that the node has set, by name and by tag."""
        values = self._run.side_outputs
        return {
            key: values[each.name]
            for each in self._node.side_outputs
            if each.name in values
            for key in _keys(each)
        }

    def feed(self, stream: str, payload: Any, at: Timestamp) -> None:
        """A packet on an input stream."""
        number, run = self._inputs[stream], self._run
        run.post(lambda: run.feed(number, Packet(at, payload)))

    def feed_all(self, stream: str, packets: Sequence[tuple[Timestamp, Any]]) -> None:
        """Packets on an input stream, in order."""
        for at, payload in packets:
            self.feed(stream, payload, at)

    def advance(self, stream: str, bound: Timestamp) -> None:
        """Nothing comes before `bound` on an input stream."""
        number, run = self._inputs[stream], self._run
        run.post(lambda: run.advance(number, bound))

    def run(self, packets: int | None = None) -> None:
        """Let a source go on until it is done, or has sent `packets` more; those of one
        process call stay together.
        """
        if packets is not None and packets < 1:
            raise ValueError("a source runs for one packet at least")
        self._wanted = packets
        self._run.release()

    def close(self, stream: str | None = None) -> None:
        """No more input, on one stream or on all; the node is closed when it has nothing
        left to do.
        """
        run = self._run
        if stream is None:
            run.post(run.close_inputs)
        else:
            number = self._inputs[stream]
            run.post(lambda: run.close_input(number))

    def join(self, timeout: float = JOIN_SECONDS) -> None:
        """Wait for the end of a run whose calculator waits for other threads. Raises
        TimeoutError after so many seconds.
        """
        if not self._ended.wait(timeout):
            msg = f"the run has not ended in {timeout:g} s"
            raise TimeoutError(msg)

    def unload(self) -> None:
        """Release what the class has loaded for the node."""
        self._definition.unload()

    def _by_name(self, given: Mapping[str, Any]) -> dict[str, Any]:
        names = {
            key: each.name for each in self._node.side_inputs for key in _keys(each)
        }
        for key in given:
            if key not in names:
                msg = f'the node has no input side packet "{key}"'
                raise ValueError(msg)
        return {names[key]: value for key, value in given.items()}

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener."""
        name = self._names[output]
        self.outputs[name].append(packet)
        self.bounds[name] = next_allowed(packet.timestamp)
        if self._wanted is not None:
            self._wanted -= 1
            if self._wanted <= 0:
                self._wanted = None
                self._run.hold()

    def bound(self, output: int, timestamp: Timestamp) -> None:
        """BoundListener."""
        self.bounds[self._names[output]] = next_allowed(timestamp)

    def settled(self, *, has_room: bool) -> None:
        """RunListener."""

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        self.error = error
        self._ended.set()


def _keys(side_packet: StreamName) -> tuple[str, ...]:
    """What a side packet is called: its name, its tag with the index, and without if
    that is 0. A name has no upper case, so they are never the same.
    """
    name, tag, index = side_packet.name, side_packet.tag, side_packet.index
    return (name, f"{tag}:{index}", *([tag] if tag and not index else []))
