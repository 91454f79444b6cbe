"""A graph that can be run in this process, any number of times.

graph = Graph.load("graph.pbtxt")
with graph.run() as run:
run.feed("in", 1, at=0)
run.close()
for packet in run.poll("out"):
print(packet.timestamp, packet.payload)
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from ovms_mp.calculator.services import Models, Services
from ovms_mp.graph.run import GraphRun
from ovms_mp.library import loading
from ovms_mp.library.errors import graph_errors
from ovms_mp.library.models import ModelSet, beside, model_set
from ovms_mp.library.run import Run
from ovms_mp.library.stream import Frames, Timestamped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ovms_mp.core.errors import ServingError
    from ovms_mp.core.pace import Pace
    from ovms_mp.core.strand import Submit
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.config import GraphConfig
    from ovms_mp.graph.definition import GraphDefinition
    from ovms_mp.graph.node import Process
    from ovms_mp.graph.run import RunListener
    from ovms_mp.library.loading import Calculators
    from ovms_mp.library.models import ModelSource
    from ovms_mp.library.run import Observed

_WINDOW: Final = 8


class Watch(Protocol):
    """Who wants to know what nodes take, and what waits for them. Thread-safe."""

    def timed(self, node: str, process: Process) -> Process:
        """What is called instead of a node's `process`."""
        ...

    def opened(self, run: GraphRun) -> None:
        """A run is about to start."""
        ...

    def closed(self, run: GraphRun) -> None:
        """It is over."""
        ...


class Graph:
    """A loaded graph. Runs share nothing but models and what calculators load once;
    they may be in different threads. Close it after the last one, or use `with`.
    """

    def __init__(
        self, definition: GraphDefinition, models: Models | None = None
    ) -> None:
        self.definition = definition
        self._models = models
        self._is_closed = False
        self._open = 0
        self._lock = threading.Lock()
        self._on_closed: Callable[[], object] | None = None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        models: ModelSource | None = None,
        calculators: Calculators | None = None,
        services: Mapping[type[Any], Any] | None = None,
        base_path: Path | str | None = None,
        check: Callable[[GraphConfig], object] | None = None,
    ) -> Self:
        """Read a pbtxt file. Subgraphs are looked for beside it, and so are files that
        its nodes name, unless `base_path` is their folder.

        `models` are those that the graph may name: by name a session or a path, or
        the path of a config.json or of a folder of models, or a Models of the
        caller's; without it, what the subconfig.json beside the graph says.
        `calculators` are classes by name, or a folder of modules, besides those that
        are installed. `services` are what calculators ask `self.node.services` for, by
        type. `check` may refuse what the pbtxt says, with a ServingError.

        Raises GraphError, in at most three lines, with file and line for what is wrong
        in the pbtxt.
        """
        path = Path(path)
        with graph_errors():
            found = beside(path) if models is None else model_set(models)
            return cls._load(
                path, found, calculators, services, base_path=base_path, check=check
            )

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        models: ModelSource | None = None,
        calculators: Calculators | None = None,
        services: Mapping[type[Any], Any] | None = None,
        base_path: Path | str = ".",
    ) -> Self:
        """The same for the text of a pbtxt; `base_path` is the folder that its files
        are in.
        """
        with graph_errors():
            path = Path(base_path) / "graph.pbtxt"
            found = model_set(models)
            return cls._load(path, found, calculators, services, text=text)

    @classmethod
    def _load(
        cls,
        path: Path,
        models: Models,
        calculators: Calculators | None,
        services: Mapping[type[Any], Any] | None,
        *,
        base_path: Path | str | None = None,
        check: Callable[[GraphConfig], object] | None = None,
        text: str | None = None,
    ) -> Self:
        try:
            definition = loading.load(
                path,
                loading.registry_of(calculators),
                Services({Models: models, **(services or {})}),
                text=text,
                base_path=None if base_path is None else Path(base_path),
                check=check,
            )
            return cls(definition, models)
        except BaseException:
            if isinstance(models, ModelSet):
                models.close()
            raise

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input streams."""
        return tuple(name.name for name, _ in self.definition.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output streams."""
        return tuple(name.name for name, _ in self.definition.outputs)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """Names of the side packets that a run must be given."""
        return tuple(self.definition.side_inputs)

    @property
    def max_queue_size(self) -> int:
        """Packets that may wait at an input of a node before `feed` does; -1: any."""
        return self.definition.max_queue_size

    def run(
        self,
        side_packets: Mapping[str, Any] | None = None,
        *,
        observe: Iterable[Observed] | None = None,
    ) -> Run:
        """Start a run. `observe` names streams to poll, or has an Observer for one;
        without it all outputs of the graph can be polled. What nobody takes from a
        polled stream is kept.

        Runs in the calling thread; a graph with sources has a thread of its own. A node
        that cannot be opened fails the run, which the next call of the run tells.

        Raises ValueError for a stream that the graph does not have.
        """
        wanted = self.outputs if observe is None else observe
        return Run(self.definition, side_packets or {}, wanted)

    def stream(
        self,
        inputs: Mapping[str, Iterable[Any]],
        *,
        at: Iterable[Timestamp] | None = None,
        side_packets: Mapping[str, Any] | None = None,
        window: int | None = None,
    ) -> Iterator[Timestamped]:
        """Feed values of each input together, at 0, 1, 2, … or the timestamps `at`, and
        yield (timestamp, {output stream: value}) in order: one for each timestamp at
        which there is an output. None as a value is no packet. Ends with the shortest
        input.

        Inputs are taken as they are needed: at most `window` of them, 8 or
        max_queue_size if that is less, are on their way. To close the iterator ends the
        run, and leaving a loop over it does that; a run that fails raises GraphError.
        """
        limit = self.max_queue_size
        if window is None:
            window = min(_WINDOW, limit) if limit > 0 else _WINDOW
        frames = Frames(self.outputs, window)
        return frames.through(
            lambda: self.run(side_packets, observe=frames.observers), inputs, at
        )

    def open(
        self,
        listener: RunListener,
        submit: Submit,
        *,
        pace: Pace | None = None,
        tells_bounds: bool = False,
        is_patient: bool = False,
        watch: Watch | None = None,
    ) -> GraphRun:
        """A run for a listener that is called on its strand: the server's way. With
        `tells_bounds` it is a BoundListener. While `pace`, which its runs share, is
        short, the run uses the threads of who posts. `is_patient`: see Context. `watch`
        sees the run from before its start to its end.
        """
        with self._lock:
            self._open += 1

        def left() -> None:
            if watch is not None:
                watch.closed(run)
            self._left()

        run = GraphRun(
            self.definition,
            _Last(listener, self._left if watch is None else left),
            submit,
            pace=pace,
            tells_bounds=tells_bounds,
            is_patient=is_patient,
            timed=None if watch is None else watch.timed,
        )
        if watch is not None:
            watch.opened(run)
        return run

    def when_closed(self, call: Callable[[], object]) -> None:
        """Call this once the graph needs nothing any more: to release what was lent to
        it. One call, and before `close`.
        """
        self._on_closed = call

    def close(self) -> None:
        """Release what the graph's nodes share, and its models: after the last run, at
        the end of which it happens if any that was had by `open` is under way.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._open:
                return
        self._release()

    def _left(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open or not self._is_closed:
                return
        self._release()

    def _release(self) -> None:
        self.definition.unload()
        if isinstance(self._models, ModelSet):
            self._models.close()
        if self._on_closed is not None:
            self._on_closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Last:
    """A RunListener whose run somebody wants to see the end of; all else goes straight
    to the listener.
    """

    __slots__ = ("_ended", "_finished", "bound", "packet", "settled")

    def __init__(self, listener: RunListener, ended: Callable[[], None]) -> None:
        self.packet = listener.packet
        self.settled = listener.settled
        self.bound = getattr(listener, "bound", None)
        self._finished = listener.finished
        self._ended = ended

    def finished(self, error: ServingError | None) -> None:
        self._finished(error)
        self._ended()
