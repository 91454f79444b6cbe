"""The video client at work: streams side by side, what they tell, how fast they were."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from ovms_mp_clients.backoff import Backoff
from ovms_mp_clients.client import Client
from ovms_mp_clients.video.options import NO_OUTPUT, PIPE, SCREEN, Options
from ovms_mp_clients.video.relay import Relay, Route
from ovms_mp_clients.video.sinks import (
    FileSink,
    NoSink,
    PipeSink,
    Screen,
    Sink,
    WindowSink,
    numbered,
)
from ovms_mp_clients.video.sources import Source, VideoError

_TURN: Final = 0.05  # seconds between looks at streams and windows
_ON_TERMINAL: Final = 0.5
_IN_LOG: Final = 10.0
_DRAIN: Final = 10.0  # for what is in flight when the user has had enough
_INTERRUPTED: Final = 130


def play(options: Options) -> int:
    """Stream as the options say; 0 if all went well, 1 if not, 130 if interrupted.

    Raises VideoError or ClientError for what cannot even begin.
    """
    route = _route(options)
    notes = Notes(sys.stderr)
    screen = Screen() if options.output_stream == SCREEN else None
    relays = _relays(options, route, notes, screen)
    threads = [threading.Thread(target=each.run) for each in relays]
    for thread in threads:
        thread.start()
    try:
        is_interrupted = not _watch(threads, relays, notes, screen)
    finally:
        for relay in relays:
            relay.abort()
        for thread in threads:
            thread.join()
        if screen is not None:
            screen.close()
    notes.clear()
    # Standard output is taken where the frames go there.
    report = sys.stderr if options.output_stream == PIPE else sys.stdout
    for index, relay in enumerate(relays, 1):
        report.write(f"stream {index}: {relay.flow.summary()}\n")
    for index, relay in enumerate(relays, 1):
        if relay.error is not None:
            notes.line(f"stream {index} failed: {relay.error}")
    if is_interrupted:
        return _INTERRUPTED
    return int(any(relay.error is not None for relay in relays))


class Notes:
    """Lines for the user, from any thread, and one that shows the progress."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._lock = threading.Lock()
        self._shown = ""
        self._is_terminal = to.isatty()
        self._next = time.monotonic() + (0 if self._is_terminal else _IN_LOG)

    def line(self, text: str) -> None:
        """Say this."""
        with self._lock:
            self._to.write(f"{self._erased()}{text}\n")
            self._to.flush()

    def clear(self) -> None:
        """Leave no progress on the terminal."""
        self._replace("")

    def progress(self, relays: list[Relay]) -> None:
        """Say how far it is, if it is time to: in place on a terminal, else seldom."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_ON_TERMINAL if self._is_terminal else _IN_LOG)
        answered = sum(each.flow.answered_count for each in relays)
        seconds = max(each.flow.seconds for each in relays)
        text = f"{answered} frames, {answered / max(seconds, _TURN):.1f} frames/s"
        if self._is_terminal:
            self._replace(text)
        else:
            self.line(text)

    def _replace(self, text: str) -> None:
        with self._lock:
            self._to.write(self._erased() + text)
            self._to.flush()
            self._shown = text

    def _erased(self) -> str:
        blank, self._shown = " " * len(self._shown), ""
        return f"\r{blank}\r" if blank else ""


def _route(options: Options) -> Route:
    """Where frames go, by names that the graph has."""
    with Client(options.grpc_address) as client:
        known = client.metadata(options.model_name)
    inputs = [each.name for each in known.inputs]
    outputs = [each.name for each in known.outputs]
    return Route(
        address=options.grpc_address,
        graph=options.model_name,
        input_name=_chosen("input", options.input_name, inputs, options.model_name),
        output_name=_chosen("output", options.output_name, outputs, options.model_name),
        window=options.window,
        limit_frames=options.limit_frames,
        limit_seconds=options.limit_stream_duration,
        backoff=Backoff(give_up_after=options.reconnect),
    )


def _chosen(kind: str, given: str, names: list[str], graph: str) -> str:
    if given in names:
        return given
    listed = ", ".join(names)
    if given:
        raise VideoError(f"{graph} has no {kind} {given!r}, it has: {listed}")
    if len(names) != 1:
        raise VideoError(
            f"{graph} has {len(names)} {kind}s: {listed}; choose with --{kind}_name"
        )
    return names[0]


def _relays(
    options: Options, route: Route, notes: Notes, screen: Screen | None
) -> list[Relay]:
    relays: list[Relay] = []
    sources: list[Source] = []
    try:
        for index in range(1, options.streams + 1):
            tell = partial(_say, notes, index)
            source = Source(options.input_stream)
            sources.append(source)
            sink = _sink(options, index, source.fps, tell=tell, screen=screen)
            trace = tell if options.verbose else _say_nothing
            relays.append(Relay(source, sink, route, tell=tell, trace=trace))
    except VideoError:
        for source in sources:
            source.close()
        for relay in relays:
            relay.abort()
        raise
    return relays


def _sink(
    options: Options,
    index: int,
    fps: float,
    *,
    tell: Callable[[str], None],
    screen: Screen | None,
) -> Sink:
    output = options.output_stream
    if screen is not None:
        return WindowSink(screen, f"{options.model_name} {index}")
    if output == NO_OUTPUT:
        return NoSink()
    if output == PIPE:
        return PipeSink(sys.stdout.fileno(), fps, tell)
    return FileSink(numbered(Path(output), index, options.streams), fps)


def _watch(
    threads: list[threading.Thread],
    relays: list[Relay],
    notes: Notes,
    screen: Screen | None,
) -> bool:
    """Wait for the streams; False if the user did not. A second Ctrl-C aborts."""
    try:
        while any(thread.is_alive() for thread in threads):
            notes.progress(relays)
            if screen is not None and not screen.show():
                break
            time.sleep(_TURN)
    except KeyboardInterrupt:
        is_done = False
    else:
        is_done = True
    try:
        for relay in relays:
            relay.stop()
        deadline = time.monotonic() + _DRAIN
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    except KeyboardInterrupt:
        notes.line("aborted")
    return is_done


def _say(notes: Notes, index: int, text: str) -> None:
    notes.line(f"stream {index}: {text}")


def _say_nothing(text: str) -> None:
    pass
