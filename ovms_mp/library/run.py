"""A run of a graph as its caller sees it: feed, poll, observe, wait.

The caller's thread does the work. What a node waits for goes on in threads of its own,
and the thread that ends it takes the run further.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.core.timestamp import next_allowed
from ovms_mp.graph.run import GraphRun
from ovms_mp.library.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import GraphDefinition

MAX_POLLED: Final = 100
"""Packets of a stream that wait for `poll` before a graph with sources is held."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told of the packets of a stream, any stream of the graph, as they come; and
    with `bound` how far it is settled: no packet at or before the timestamp will come.

    Calls come one at a time and in order, in the thread that works on the run. They may
    feed the run and close its inputs, and must not wait for it. What one raises fails
    the run and is raised to the caller.
    """

    stream: str
    packet: Callable[[Packet], object]
    bound: Callable[[Timestamp], object] | None = None


Observed: TypeAlias = "str | Observer"


class Run:
    """Made by Graph.run. Methods may be called from any thread; once the run has failed
    they raise GraphError. In a `with` block the end of the block closes all inputs and
    sources and waits; an exception in it cancels the run.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        side_packets: Mapping[str, Any],
        observed: Iterable[Observed],
    ) -> None:
        self._changed = threading.Condition()
        self._inputs = {name.name: number for name, number in definition.inputs}
        self._has_room = True
        self._is_idle = False
        self._posted = 0
        self._is_done = False
        self._is_held = False
        self._limit: int | None = MAX_POLLED
        self._error: ServingError | None = None
        self._raised: BaseException | None = None
        self._worker: int | None = None
        self._polled: dict[str, deque[Packet]] = {}
        self._pool = _pool(definition)
        submit = inline if self._pool is None else self._pool.submit
        self._run = GraphRun(definition, self, submit)
        self._told: dict[int, Observer] = {}
        for each in observed:
            self._observe(each)
        self._post(lambda: self._run.start(side_packets))

    def _observe(self, observed: Observed) -> None:
        if isinstance(observed, str):
            queue = self._polled.setdefault(observed, deque())
            observed = Observer(observed, queue.append)
        try:
            wants_bounds = observed.bound is not None
            output = self._run.observe(observed.stream, bounds=wants_bounds)
        except KeyError:
            msg = f'the graph has no stream "{observed.stream}"'
            raise ValueError(msg) from None
        self._told[output] = observed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.cancel()
            return
        self.close()
        self.stop_sources()
        self.wait_done()

    # Input

    def feed(self, stream: str, value: Any, *, at: Timestamp) -> None:
        """A packet on a graph input; waits until the graph has room for it, if nodes
        hold more than max_queue_size. Nobody may change `value` afterwards.

        Raises ValueError for a name that is no input. What is wrong with a packet fails
        the run.
        """
        number = self._number(stream)
        if not self._has_room and self._worker != threading.get_ident():
            self.wait_for_room()
        packet = Packet(at, value)
        self._post(lambda: self._run.feed(number, packet))

    def skip(self, stream: str, *, at: Timestamp) -> None:
        """No packet comes at `at`, nor before (MediaPipe's empty packet)."""
        number = self._number(stream)
        bound = next_allowed(at)
        self._post(lambda: self._run.advance(number, bound))

    def close(self, stream: str | None = None) -> None:
        """No more packets on a graph input, or on all of them."""
        if stream is None:
            self._post(self._run.close_inputs, must_run=False)
            return
        number = self._number(stream)
        self._post(lambda: self._run.close_input(number), must_run=False)

    def stop_sources(self) -> None:
        """End nodes that make packets from nothing."""
        self._post(self._run.stop_sources, must_run=False)
        self._release(for_good=True)

    def cancel(self) -> None:
        """End the run at once. Nodes are closed, their last packets dropped."""
        self._run.cancel()

    def _number(self, stream: str) -> int:
        try:
            return self._inputs[stream]
        except KeyError:
            known = ", ".join(self._inputs) or "none"
            msg = f'"{stream}" is not an input of the graph; its inputs: {known}'
            raise ValueError(msg) from None

    def _post(self, call: Callable[[], object], *, must_run: bool = True) -> None:
        with self._changed:
            if self._is_done:
                if must_run:
                    self.check()
                    raise RuntimeError("the run has ended")
                return
            self._posted += 1
            self._is_idle = False

        def turn() -> None:
            with self._changed:
                self._posted -= 1
            call()

        self._run.post(turn)

    # Output

    def poll(self, stream: str, *, timeout: float | None = None) -> Iterator[Packet]:
        """The packets of an observed stream, in order, waiting for those to come; ends
        with the run. Raises TimeoutError if none comes for so many seconds.

        Close the inputs first, or feed from another thread: else it waits for ever.
        """
        queue = self._queue(stream)
        while True:
            self.wait_for(lambda: bool(queue), timeout)
            if not queue:
                self.check()
                return
            packet = queue.popleft()
            if not queue:
                self._release()
            yield packet

    def take(self, stream: str) -> list[Packet]:
        """The packets of an observed stream that are there by now."""
        queue = self._queue(stream)
        taken = [queue.popleft() for _ in range(len(queue))]
        self._release()
        return taken

    def _queue(self, stream: str) -> deque[Packet]:
        try:
            return self._polled[stream]
        except KeyError:
            msg = f'stream "{stream}" is not observed'
            raise ValueError(msg) from None

    @property
    def side_packets(self) -> Mapping[str, Any]:
        """The side packets of the run by name: those it was given, and those that nodes
        have set by now.
        """
        return dict(self._run.side_outputs)

    # State

    @property
    def is_done(self) -> bool:
        """True if the run has ended, well or not."""
        return self._is_done

    @property
    def is_idle(self) -> bool:
        """True if nothing can happen without new input."""
        return self._is_idle or self._is_done

    @property
    def error(self) -> ServingError | None:
        """Why the run failed."""
        return self._error

    def check(self) -> None:
        """Raises GraphError if the run has failed, or what an observer has raised."""
        if self._raised is not None:
            raise self._raised
        if self._error is not None:
            raise GraphError.of(self._error) from self._error

    def wait_for_room(self, timeout: float | None = None) -> None:
        """Wait until the graph can take more. Raises GraphError, TimeoutError."""
        self.wait_for(lambda: self._has_room, timeout)
        self.check()

    def wait_idle(self, timeout: float | None = None) -> None:
        """Wait until nothing can happen without new input. Raises GraphError if the run
        has failed, TimeoutError when the seconds are over.
        """
        self.wait_for(lambda: self._is_idle, timeout)
        self.check()

    def wait_done(self, timeout: float | None = None) -> None:
        """Wait for the end: the inputs are closed, and everything is out. Raises
        GraphError if the run has failed, TimeoutError when the seconds are over.
        """
        self._release(for_good=True)
        self.wait_for(lambda: False, timeout)
        self.check()

    def wait_for(self, is_so: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until `is_so()`, which is asked whenever the run has got further, or
        until the run is done. Raises TimeoutError.
        """
        if self._worker == threading.get_ident():
            raise RuntimeError("an observer may not wait for the run that calls it")
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_done or is_so(), timeout):
                raise TimeoutError(f"the run is not there after {timeout:g} s")

    def _release(self, *, for_good: bool = False) -> None:
        if self._pool is None:
            return
        with self._changed:
            if for_good:
                self._limit = None
            self._is_held = False
        self._run.release()

    # RunListener

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener."""
        observer = self._told.get(output)
        if observer is None:
            return
        self._tell(observer.packet, packet)
        with self._changed:
            if self._pool is not None and self._limit is not None:
                queue = self._polled.get(observer.stream, ())
                if len(queue) >= self._limit and not self._is_held:
                    self._is_held = True
                    self._run.hold()
            self._changed.notify_all()

    def bound(self, output: int, timestamp: Timestamp) -> None:
        """BoundListener."""
        observer = self._told.get(output)
        if observer is not None and observer.bound is not None:
            self._tell(observer.bound, timestamp)

    def _tell(self, call: Callable[[Any], object], what: Any) -> None:
        self._worker = threading.get_ident()
        try:
            call(what)
        except BaseException as error:  # it is the caller's, and goes to the caller
            if self._raised is None:
                self._raised = error
            details = f"an observer raised {type(error).__name__}"
            self._run.fail(ServingError(Status.INTERNAL_ERROR, details))
        finally:
            self._worker = None

    def settled(self, *, has_room: bool) -> None:
        """RunListener."""
        with self._changed:
            self._has_room = has_room or self._is_held
            self._is_idle = not (self._posted or self._is_held) and self._run.is_idle
            self._changed.notify_all()

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        with self._changed:
            self._error = error
            self._is_done = True
            self._changed.notify_all()
        if self._pool is not None:
            self._pool.shutdown(wait=False)


def _pool(definition: GraphDefinition) -> ThreadPoolExecutor | None:
    """A thread for graphs with sources, which might never let the caller's go."""
    has_sources = any(
        node.output_streams and not node.input_streams for node in definition.nodes
    )
    return ThreadPoolExecutor(1, "graph") if has_sources else None
