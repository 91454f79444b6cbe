"""One thread polls one completion queue, accepts calls, and runs what belongs to them:
nothing is handed from thread to thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from grpc._cython import cygrpc

from ovms_mp.frontend.transport.call import MAX_KEPT
from ovms_mp.frontend.transport.core_call import CoreCall, Keeper
from ovms_mp.frontend.transport.core_stream import StreamCall
from ovms_mp.frontend.transport.core_unary import UnaryCall
from ovms_mp.frontend.transport.vital import VitalThread

log = logging.getLogger(__name__)

MakeCall = Callable[[Keeper, cygrpc.RequestCallEvent], UnaryCall | StreamCall]
"""What a call of one method is made by."""

# Between two looks at whether anybody has come.
_LOOKS_EVERY: Final = 0.05

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
        self._reserved = reserved
        self._accepting = 0
        self._came = 0
        self._turns = 0  # odd while it waits for an event
        self._late: MakeCall | None = None
        self._kept: list[UnaryCall | StreamCall] = []
        self._farewell = threading.Event()
        self._is_parting = False
        self._is_stopping = False
        self._requests: list[Callable[[], int]] = []
        self._thread = VitalThread(self._run, name)

    @property
    def is_reserved(self) -> bool:
        """Whether it has paths of its own."""
        return bool(self._reserved)

    @property
    def is_here(self) -> bool:
        """Whether the caller's thread is this one."""
        return threading.current_thread() is self._thread

    def start(self, server: cygrpc.Server) -> None:
        """Accept the calls of a server that has started, which knows the queue."""
        queue = self.queue
        # The core does not say which method a call of a registered one is of.
        self._requests = [
            partial(
                *(server.request_registered_call, queue, queue, path),
                partial(self._on_reserved, index, self._methods[path.encode()]),
            )
            for index, path in enumerate(self._reserved)
        ] or [partial(server.request_call, queue, queue, self._on_call)]
        self._thread.start()

    def turn_away(self, late: MakeCall) -> None:
        """Have calls from now on made by `late`, which begin when the goodbye is said."""
        self._late = late

    def catch_up(self, seconds: float) -> None:
        """Wait until none comes any more that the core has kept, at most so long. From
        another thread.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            came, turns = self._came, self._turns
            time.sleep(min(left, _LOOKS_EVERY))
            has_turned = self._turns != turns or turns % 2
            if has_turned and self._came == came:
                return

    def stop(self) -> None:
        """The server is about to shut down: be quiet when the last call is over."""
        self._is_stopping = True

    def said_goodbye(self) -> None:
        """The server is shutting down, and its connections know."""
        self._farewell.set()

    def end(self) -> None:
        """End the thread of a quiet poller."""
        self.queue.shutdown()
        self._thread.join()

    def forget(self) -> None:
        """See `core_call.Keeper`."""
        self.open_calls -= 1

    def _run(self) -> None:
        for request in self._requests * self._slots:
            self._accept(request)
        if self._is_stopping:  # and nothing was accepted
            self._rest()
        poll = self.queue.poll
        while True:
            self._turns += 1
            event = poll()
            self._turns += 1
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

    def _accept(self, request: Callable[[], int]) -> None:
        """Let the core hand one more call over."""
        try:
            refusal = request()
        except ValueError:  # the server shuts down, and no event will say so
            self._let_go()
            return
        if refusal:
            raise RuntimeError(f"the core accepts no calls: {refusal}")
        self._accepting += 1

    def _on_call(self, event: cygrpc.RequestCallEvent) -> None:
        self._accepting -= 1
        if not event.success:  # the server shuts down
            self._let_go()
            return
        self._accept(self._requests[0])
        self._came += 1
        make = self._late
        if make is None:
            make = self._methods.get(event.call_details.method, self._otherwise)
            self._begin(make(self, event))
        elif not self._is_parting and len(self._kept) < MAX_KEPT:
            self.open_calls += 1
            self._kept.append(make(self, event))
        else:
            self._begin(make(self, event))

    def _on_reserved(
        self, index: int, make: MakeCall, event: cygrpc.RequestCallEvent
    ) -> None:
        self._accepting -= 1
        if event.success:
            self._accept(self._requests[index])
            self._begin(make(self, event))

    def _let_go(self) -> None:
        """The server shuts down: from now on calls that came late begin."""
        if self._is_parting:
            return
        self._is_parting = True
        if self._kept:
            self._farewell.wait()
        kept, self._kept = self._kept, []
        for call in kept:
            self.open_calls -= 1
            self._begin(call)

    def _begin(self, call: UnaryCall | StreamCall) -> None:
        self.open_calls += 1
        try:
            call.begin()
        except Exception:
            log.exception("%s: the call could not begin", call.method)
            call.collapse(is_new=True)
