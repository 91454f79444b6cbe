"""One stream's way: frames from a source through a graph into a sink."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from ovms_mp_clients.backoff import Backoff
from ovms_mp_clients.channel import Keepalive
from ovms_mp_clients.client import Client
from ovms_mp_clients.errors import ClientError, ConnectionLost, RequestRefused
from ovms_mp_clients.streaming import Stream
from ovms_mp_clients.tensors import Result
from ovms_mp_clients.video.flow import Flow
from ovms_mp_clients.video.sinks import ReaderGone, Sink
from ovms_mp_clients.video.sources import Source, VideoError

# A graph that is sent frames and says nothing for three minutes has stopped, as far as
# a video goes. Only then do the pings that notice a dead server vex a server.
KEEPALIVE: Final = Keepalive(time=60.0)

# How soon a sender without room sees that it should stop.
_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Route:
    """Where frames are sent, how many, and what of the answer is wanted."""

    address: str
    graph: str
    input_name: str
    output_name: str
    window: int
    limit_frames: int
    limit_seconds: float
    backoff: Backoff


class Relay:
    """Carries frames until the source ends, a limit is reached, or `stop`.

    `run` is for a thread of its own; it closes source and sink, and leaves what went
    wrong in `error`. `tell` takes lines for the user, from any thread; so does `trace`,
    one for each frame.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        route: Route,
        *,
        tell: Callable[[str], None],
        trace: Callable[[str], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._route = route
        self._tell = tell
        self._trace = trace
        self._numbers = count()
        self._has_ended = threading.Event()
        self._client = Client(route.address, keepalive=KEEPALIVE)
        self.flow = Flow()
        self.error: Exception | None = None
        self._is_streaming = False
        self._is_aborted = False

    def run(self) -> None:
        """Carry frames."""
        try:
            self._run()
        except ReaderGone:
            self._has_ended.set()
        except RequestRefused as error:
            self._fail(RequestRefused(f"frame {error.timestamp} was refused: {error}"))
        except (ClientError, VideoError) as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self.flow.ended()
            self._client.close()
            self._source.close()
            self._sink.close()

    def stop(self) -> None:
        """Send no more; what is in flight may still come."""
        self._has_ended.set()
        if not self._is_streaming:
            self.abort()

    def abort(self) -> None:
        """End now."""
        self._has_ended.set()
        self._is_aborted = True
        self._client.close()

    def _run(self) -> None:
        route = self._route
        for stream in self._client.streams(
            route.graph, window=route.window, backoff=route.backoff
        ):
            if self.flow.lost_count:
                self._tell("a new stream, which begins without state")
                self._source.catch_up()
            try:
                self._is_streaming = True
                self._relay(stream)
            except ConnectionLost as lost:
                unanswered = self.flow.lost()
                self._tell(f"stream lost with {unanswered} frames in flight: {lost}")
                if self._has_ended.is_set():
                    return
            finally:
                self._is_streaming = False

    def _relay(self, stream: Stream) -> None:
        sender = threading.Thread(target=self._send, args=(stream,))
        with stream:
            sender.start()
            try:
                for result in stream:
                    self._take(result)
            finally:
                stream.cancel()
                sender.join()

    def _take(self, result: Result) -> None:
        # Each output comes in a response of its own.
        if self._route.output_name not in result.outputs or result.timestamp is None:
            return
        latency = self.flow.answered(result.timestamp)
        if latency is not None:
            self._trace(f"frame {result.timestamp}: {1000 * latency:.1f} ms")
        self._sink.write(result.outputs[self._route.output_name])

    def _send(self, stream: Stream) -> None:
        try:
            while not self._is_enough() and self._send_next(stream):
                pass
            self._has_ended.set()
            stream.half_close()
        except ClientError:
            return  # the receiving end has the same error, and the better place for it
        except VideoError as error:
            self._fail(error)
            stream.cancel()

    def _send_next(self, stream: Stream) -> bool:
        """Send a frame, or find that it has to wait; False when there is none."""
        source = self._source
        if source.is_live:
            if not source.grab():
                return False
            if not stream.wait_for_room(0):
                next(self._numbers)
                self.flow.dropped()
                return True
        elif not stream.wait_for_room(_LOOK):
            return True
        elif not source.grab():
            return False
        frame = source.retrieve()
        number = next(self._numbers)
        self.flow.sent(number)
        stream.send({self._route.input_name: frame}, timestamp=number)
        return True

    def _is_enough(self) -> bool:
        route, flow = self._route, self.flow
        return (
            self._has_ended.is_set()
            or 0 < route.limit_frames <= flow.sent_count
            or 0 < route.limit_seconds <= flow.seconds
        )

    def _fail(self, error: Exception) -> None:
        self._has_ended.set()
        if not self._is_aborted:
            self.error = self.error or error
