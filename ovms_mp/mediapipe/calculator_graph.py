"""mediapipe.CalculatorGraph on a Graph of ours and its runs."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.timestamp import UNSET, describe, is_allowed_in_stream
from ovms_mp.library.run import Observer
from ovms_mp.mediapipe import binary, configs
from ovms_mp.mediapipe.packet import Packet
from ovms_mp.mediapipe.timestamp import Timestamp, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.core.packet import Packet as CorePacket
    from ovms_mp.library.run import Run

_ADD: Final = "CalculatorGraph::AddPacketToInputStream"
_FORMS: Final = (*configs.FORMS, "validated_graph_config")


class GraphInputStreamAddMode(Enum):
    """What happens to a packet for which the graph has no room."""

    WAIT_TILL_NOT_FULL = 0
    ADD_IF_NOT_FULL = 1


class CalculatorGraph:
    """A graph, and one run of it at a time. The calling thread does the work, so that
    callbacks come in it, before the call returns that made their packets.

    A run that has failed raises by the code of its status: INVALID_ARGUMENT ValueError,
    ALREADY_EXISTS FileExistsError, UNIMPLEMENTED NotImplementedError, else
    RuntimeError.
    """

    def __init__(self, **given: Any) -> None:
        for name in given:
            if name not in _FORMS:
                raise RuntimeError(f"Unknown kwargs input argument: {name}")
        if len(given) != 1:
            raise ValueError(
                "Please provide one of the following: 'binary_graph_path' to "
                "initialize the graph with a binary graph file, or 'graph_config' to "
                "initialize the graph with a graph config proto, or "
                "'validated_graph_config' to initialize the graph with a "
                "ValidatedGraphConfig object."
            )
        validated = given.get("validated_graph_config")
        read = configs.read(given) if validated is None else validated.given
        self._graph, self._text = read
        self._streams = {each.name for each in self._graph.definition.streams}
        self._observers: list[Observer] = []
        self._run: Run | None = None
        self._observed = 0
        self._closed: set[str] = set()
        self._is_over = False
        self.graph_input_stream_add_mode = GraphInputStreamAddMode.WAIT_TILL_NOT_FULL

    @property
    def text_config(self) -> str:
        """As it was given; mediapipe has it with subgraphs expanded."""
        return binary.to_text(self.binary_config)

    @property
    def binary_config(self) -> bytes:
        """The same as bytes."""
        return binary.to_binary(self._text)

    @property
    def max_queue_size(self) -> int:
        """Of the pbtxt; 100 if it has none."""
        return self._graph.definition.max_queue_size

    def observe_output_stream(
        self,
        stream_name: str,
        callback_fn: Callable[[str, Packet], object],
        observe_timestamp_bounds: bool = False,
    ) -> None:
        """Have the packets of any stream, in the runs that are started later; with
        bounds an empty packet for each timestamp at which the stream is settled.

        Raises RuntimeError for a stream that does not exist.
        """
        if stream_name not in self._streams:
            msg = (
                f'; Unable to attach observer to output stream "{stream_name}" because '
                "it doesn't exist."
            )
            raise RuntimeError(msg)

        def packet(packet: CorePacket) -> None:
            self._observed += 1
            callback_fn(stream_name, Packet.of(packet.payload, packet.timestamp))

        def bound(timestamp: int) -> None:
            self._observed += 1
            callback_fn(stream_name, Packet.of(EMPTY, timestamp))

        wanted = bound if observe_timestamp_bounds else None
        self._observers.append(Observer(stream_name, packet, wanted))

    def start_run(self, input_side_packets: Mapping[str, Packet] | None = None) -> None:
        """Open all nodes. Raises for side packets that are missing or of another type;
        a node that cannot be opened fails the run, which `wait_until_done` tells.
        """
        if self._run is not None and not self._run.is_done:
            raise RuntimeError("the graph is running")
        packets = input_side_packets or {}
        for name, packet in packets.items():
            if packet.is_empty():
                raise ValueError(f'Side packet "{name}" failed validation: it is empty')
        values = {name: packet.payload for name, packet in packets.items()}
        self._observed = 0
        self._closed = set()
        self._is_over = False
        run = self._graph.run(values, observe=self._observers)
        error = run.error
        if error is not None and error.status is Status.MEDIAPIPE_GRAPH_START_ERROR:
            raise configs.run_error(error) from error
        self._run = run

    def add_packet_to_input_stream(
        self, stream: str, packet: Packet, timestamp: Timestamp | int = UNSET
    ) -> None:
        """The packet at its own timestamp, or at the one given. Without a payload it
        says that no packet comes at its timestamp. What comes when the run has ended
        by itself is dropped; on a stream that was closed it is a ValueError, and after
        `wait_until_done` a RuntimeError.

        Waits while the graph is full, or raises RuntimeError in the other mode.
        """
        given = number(timestamp)
        at = packet.microseconds if given == UNSET else given
        if not is_allowed_in_stream(at):
            msg = f"{describe(at)} can't be the timestamp of a Packet in a stream."
            raise ValueError(msg)
        self._check_input("AddPacketToInputStream", stream)
        self._raise_if_failed()
        run = self._running()
        if self._is_over and run.is_done:
            raise RuntimeError(f"{_ADD}() is called before StartRun()")
        if run.is_done:
            if stream in self._closed:
                raise ValueError(f'Packet sent to closed stream "{stream}".')
            return
        self._wait_for_room(run)
        with suppress(ServingError):  # what follows from it is told by later calls
            if packet.is_empty():
                run.skip(stream, at=at)
            else:
                run.feed(stream, packet.payload, at=at)

    def _wait_for_room(self, run: Run) -> None:
        mode = self.graph_input_stream_add_mode
        waits = mode is GraphInputStreamAddMode.WAIT_TILL_NOT_FULL
        try:
            run.wait_for_room(None if waits else 0)
        except TimeoutError:
            raise RuntimeError("Graph is throttled.") from None
        except ServingError as error:
            raise configs.run_error(error) from error

    def close_input_stream(self, stream: str) -> None:
        """No more packets on it. Raises RuntimeError if it is no graph input."""
        self._check_input("CloseInputStream", stream)
        self._running().close(stream)
        self._closed.add(stream)

    def close_all_packet_sources(self) -> None:
        """Close all graph inputs, and end sources."""
        run = self._running()
        run.close()
        run.stop_sources()
        self._closed.update(self._graph.inputs)

    def close(self) -> None:
        """Close all graph inputs and sources, and wait for the end."""
        self.close_all_packet_sources()
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """Wait for the end of the run, which something must bring about."""
        run = self._running()
        self._is_over = True
        self._wait(run.wait_done)

    def wait_until_idle(self) -> None:
        """Wait until nothing can happen without new input."""
        self._wait(self._running().wait_idle)

    def wait_for_observed_output(self) -> None:
        """Wait for a callback since the last call of this. Raises RuntimeError if none
        comes without new input, where mediapipe waits for ever.
        """
        if not self._observed:
            self.wait_until_idle()
        self._raise_if_failed()
        if not self._observed:
            raise RuntimeError("no output comes without new input")
        self._observed = 0

    def has_error(self) -> bool:
        """True if the run has failed."""
        return self._run is not None and self._run.error is not None

    def get_combined_error_message(self) -> str:
        """What failed, empty if nothing."""
        error = None if self._run is None else self._run.error
        return "" if error is None else configs.message_of(error)

    def get_output_side_packet(self, packet_name: str) -> Packet:
        """Any side packet of a run that is done. Raises RuntimeError if it is not, or
        has no such packet.
        """
        run = self._running()
        if not run.is_done:
            raise RuntimeError("the graph is running")
        values = run.side_packets
        if packet_name not in values:
            raise RuntimeError(f"Output side packet {packet_name} does not exist.")
        return Packet.of(values[packet_name])

    def disallow_service_default_initialization(self) -> None:
        """Nothing: our graphs have no services that begin by themselves."""

    def _check_input(self, call: str, stream: str) -> None:
        if stream not in self._graph.inputs:
            msg = (
                f'{call} called on input stream "{stream}" which is not a graph input '
                "stream."
            )
            raise RuntimeError(msg)

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("start_run has not been called")
        return self._run

    def _wait(self, wait: Callable[[], None]) -> None:
        try:
            wait()
        except ServingError as error:
            raise configs.run_error(error) from error

    def _raise_if_failed(self) -> None:
        self._wait(self._running().check)
