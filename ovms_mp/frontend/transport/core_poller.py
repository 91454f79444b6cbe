"""One thread polls one completion queue, accepts calls, and runs what belongs to them:
nothing is handed from thread to thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from grpc._cython import cygrpc

from ovms_mp.frontend.transport.core_call import CoreCall, Keeper
from ovms_mp.frontend.transport.core_stream import StreamCall
from ovms_mp.frontend.transport.core_unary import UnaryCall
from ovms_mp.frontend.transport.vital import VitalThread

log = logging.getLogger(__name__)

MakeCall = Callable[[Keeper, cygrpc.RequestCallEvent], UnaryCall | StreamCall]
"""What a call of one method is made by."""

_Source = tuple[str | None, Callable[[cygrpc.RequestCallEvent], object]]
# A registered path, or all others, and what hears of their calls.

_SHUT_DOWN: Final = cygrpc.CompletionType.queue_shutdown


class Poller:
    """Serves `methods`, which map a path, as the core knows it, to its calls; other
    paths are `otherwise`'s.

    With `reserved` paths it serves these alone, and all of these go to it. `slots` is
    how many calls, of each reserved path or of all, the core may hand over at once; for
    more it waits until one is accepted.
    """

    def __init__(
        self,
        name: str,
        methods: Mapping[bytes, MakeCall],
        otherwise: MakeCall,
        *,
        slots: int,
        reserved: Sequence[str] = (),
    ) -> None:
        self.queue = cygrpc.CompletionQueue()
        self.open_calls = 0
        self.is_quiet = threading.Event()
        """Set when nothing is left to do, once it stops."""
        self._methods = methods
        self._otherwise = otherwise
        self._slots = slots
        self._sources: list[_Source] = [(None, self._on_call)]
        if reserved:
            # The core does not say which method a call of a registered one is of.
            self._sources = [
                (path, partial(self._on_reserved, index))
                for index, path in enumerate(reserved)
            ]
        self._accepting = 0
        self._is_stopping = False
        self._server: cygrpc.Server | None = None
        self._thread = VitalThread(self._run, name)

    @property
    def is_here(self) -> bool:
        """Whether the caller's thread is this one."""
        return threading.current_thread() is self._thread

    def start(self, server: cygrpc.Server) -> None:
        """Accept the calls of a server that has started, which knows the queue."""
        self._server = server
        self._thread.start()

    def stop(self) -> None:
        """The server is about to shut down: be quiet when the last call is over."""
        self._is_stopping = True

    def end(self) -> None:
        """End the thread of a quiet poller."""
        self.queue.shutdown()
        self._thread.join()

    def forget(self) -> None:
        """See `core_call.Keeper`."""
        self.open_calls -= 1

    def _run(self) -> None:
        for source in self._sources * self._slots:
            self._accept(source)
        if self._is_stopping:  # and nothing was accepted
            self._rest()
        poll = self.queue.poll
        while True:
            event = poll()
            if event.completion_type == _SHUT_DOWN:
                return
            try:
                event.tag(event)
            except Exception:
                call = getattr(event.tag, "__self__", None)
                if not isinstance(call, CoreCall):
                    raise
                log.exception("%s: an event could not be handled", call.method)
                call.collapse()
            # Or it would keep its call alive until the next event.
            del event
            if self._is_stopping:
                self._rest()

    def _rest(self) -> None:
        if not self._accepting and not self.open_calls:
            self.is_quiet.set()

    def _accept(self, source: _Source) -> None:
        """Let the core hand one more call over."""
        server, queue = self._server, self.queue
        if server is None:
            raise RuntimeError("calls are accepted of a server that has started")
        path, tag = source
        try:
            refusal = (
                server.request_call(queue, queue, tag)
                if path is None
                else server.request_registered_call(queue, queue, path, tag)
            )
        except ValueError:  # the server shuts down
            return
        if refusal:
            raise RuntimeError(f"the core accepts no calls: {refusal}")
        self._accepting += 1

    def _on_call(self, event: cygrpc.RequestCallEvent) -> None:
        self._accepting -= 1
        if event.success:  # or the server shuts down
            self._accept(self._sources[0])
            path = event.call_details.method
            self._begin(self._methods.get(path, self._otherwise)(self, event))

    def _on_reserved(self, index: int, event: cygrpc.RequestCallEvent) -> None:
        self._accepting -= 1
        if event.success:
            source = self._sources[index]
            self._accept(source)
            path = source[0] or ""
            self._begin(self._methods[path.encode()](self, event))

    def _begin(self, call: UnaryCall | StreamCall) -> None:
        self.open_calls += 1
        try:
            call.begin()
        except Exception:
            log.exception("%s: the call could not begin", call.method)
            call.collapse(is_new=True)
