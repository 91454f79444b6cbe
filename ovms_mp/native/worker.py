"""The worker process: one native graph, driven by frames from the server.

    python -m ovms_mp.native.worker SOCKET_FD LIFELINE_FD

It ends when the server closes either, and with no ceremony: native graphs are not
closed, for nothing that they hold outlives the process.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ovms_mp.isolation import frames, worker
from ovms_mp.isolation.frames import Frame
from ovms_mp.native.packets import Packets
from ovms_mp.native.types import Item

_PACKAGE: Final = "mediapipe"


def load_bindings() -> Any:
    """The wheel's extension module alone: 0.1 s and 30 MB, where `import mediapipe`,
    which brings its solutions, takes ten times that.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{_PACKAGE} is not installed")
    root = Path(spec.submodule_search_locations[0])
    for name, folder in ((_PACKAGE, root), (f"{_PACKAGE}.python", root / "python")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    bindings = importlib.import_module(f"{_PACKAGE}.python._framework_bindings")
    # Models of the wheel's subgraphs are named from where the wheel is installed.
    bindings.resource_util.set_resource_dir(str(root.parent))
    return bindings


class Island:
    """One native graph and what it has put out since it was last asked."""

    def __init__(self, bindings: Any, packets: Packets) -> None:
        self._bindings = bindings
        self._packets = packets
        self._timestamp = bindings.timestamp.Timestamp
        self._empty = bindings.packet.Packet()
        self._graph: Any = None
        self._types: dict[str, str] = {}
        self._ended: set[str] = set()
        # Filled by native threads, which must not be kept waiting.
        self._put_out: deque[tuple[int, Any]] = deque()
        self._problem = ""

    def describe(self, header: dict[str, Any]) -> dict[str, Any]:
        """Judge a graph, and tell what is known of the types at its border."""
        config = self._bindings.validated_graph_config.ValidatedGraphConfig()
        config.initialize(graph_config=header["text"])

        def types(names: list[str], ask: Any) -> dict[str, str]:
            found: dict[str, str] = {}
            for name in names:
                try:
                    cpp_type = ask(name)
                except RuntimeError:  # it can be anything
                    cpp_type = ""
                is_choice = cpp_type.startswith("OneOf<")
                found[name] = "" if is_choice else cpp_type
            return found

        return {
            "streams": types(header["streams"], config.registered_stream_type_name),
            "sides": types(header["sides"], config.registered_side_packet_type_name),
        }

    def start(self, header: dict[str, Any], buffers: list[bytearray]) -> None:
        """Make the graph and run it; what goes wrong is told to the first who asks."""
        try:
            self._start(header, buffers)
        except Exception as error:
            self._problem = str(error)

    def _start(self, header: dict[str, Any], buffers: list[bytearray]) -> None:
        graph = self._bindings.calculator_graph.CalculatorGraph(
            graph_config=header["text"]
        )
        for slot, name in enumerate(header["outputs"]):
            graph.observe_output_stream(
                name, self._take(slot), observe_timestamp_bounds=True
            )
        sides: dict[str, Any] = {}
        left = iter(buffers)
        for name, cpp_type, kind, meta, count in header["sides"]:
            item = Item(kind, meta, [next(left) for _ in range(count)])
            sides[name] = self._packets.packet(cpp_type, item)
        graph.start_run(sides)
        self._graph = graph

    def _take(self, slot: int) -> Callable[[str, Any], None]:
        def take(_: str, packet: Any) -> None:
            self._put_out.append((slot, packet))

        return take

    def feed(
        self, header: dict[str, Any], buffers: list[bytearray]
    ) -> tuple[dict[str, Any], list[Any]]:
        """Give it packets, bounds and ends of streams, and wait for all that follows."""
        if self._problem:
            raise RuntimeError(self._problem)
        graph = self._graph
        left = iter(buffers)
        for name, at, cpp_type, kind, meta, count in header["packets"]:
            item = Item(kind, meta, [next(left) for _ in range(count)])
            packet = self._packets.packet(cpp_type, item)
            graph.add_packet_to_input_stream(name, packet.at(self._at(at)))
        for name, at in header["bounds"]:
            # An empty packet moves the bound just past it.
            graph.add_packet_to_input_stream(name, self._empty.at(self._at(at)))
        for name in header["ended"]:
            if name not in self._ended:
                self._ended.add(name)
                end = self._empty.at(self._timestamp.MAX)
                graph.add_packet_to_input_stream(name, end)
        graph.wait_until_idle()
        if graph.has_error():
            raise RuntimeError(graph.get_combined_error_message())
        return self._answer()

    def _at(self, value: int | str) -> Any:
        return (
            getattr(self._timestamp, value)
            if isinstance(value, str)
            else self._timestamp(value)
        )

    def _answer(self) -> tuple[dict[str, Any], list[Any]]:
        emissions: list[Any] = []
        buffers: list[Any] = []
        while self._put_out:
            slot, packet = self._put_out.popleft()
            at = packet.timestamp.value
            if packet.is_empty():
                emissions.append((slot, at))
                continue
            item = self._packets.item(packet)
            emissions.append((slot, at, item.kind, item.meta, len(item.buffers)))
            buffers += item.buffers
        return {"emissions": emissions}, buffers


def _answer_to(island: Island, frame: Frame) -> tuple[dict[str, Any], list[Any]]:
    header = frame.header
    match header["call"]:
        case "describe":
            return island.describe(header), []
        case "start":
            island.start(header, frame.buffers)
            return {}, []
        case _:
            return island.feed(header, frame.buffers)


def serve(link: socket.socket) -> None:
    """Answer until the server is gone."""
    bindings = load_bindings()
    island = Island(bindings, Packets(bindings))
    while True:
        try:
            frame = frames.receive(link)
        except (EOFError, OSError):
            return
        try:
            header, buffers = _answer_to(island, frame)
        except Exception as error:
            header, buffers = {"error": str(error)}, []
        frames.send(link, header, buffers)


def main() -> None:
    """Run as a worker of the server that started this process."""
    serve(worker.connect(sys.argv))
    os._exit(0)


if __name__ == "__main__":
    main()
