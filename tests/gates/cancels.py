"""R10: a call may be cancelled at any point of its life."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run, none
from tests.gates.kinds import STATELESS
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.wire import zoo
from tests.wire.calls import Stream, ask, connect, floats, infer
from tests.wire.servers import HOST
from tests.wire.waiting import until

PATIENCE: Final = 30.0
LONGEST: Final = 0.008
"""Seconds in which a short call is over, wherever it is cancelled."""

ONE: Final = floats(1)
SQUARE: Final = np.zeros((512, 512), np.float32)
LARGE: Final = np.zeros(4 << 20, np.uint8)

# A hook tells that it is reached by a connection, and goes on when that is closed.
CALCULATORS: Final = """
import socket

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output


def hook():
    with socket.create_connection(("{host}", {port})) as link:
        link.recv(1)


class OpenHookCalculator(Calculator):
    given = Input(np.ndarray)
    told = Output(np.ndarray)
    timestamp_offset = 0

    def open(self, ctx):
        hook()

    def process(self, ctx):
        ctx.send(self.told, ctx[self.given])


class ProcessHookCalculator(Calculator):
    given = Input(np.ndarray)
    told = Output(np.ndarray)
    timestamp_offset = 0

    def process(self, ctx):
        hook()
        ctx.send(self.told, ctx[self.given])


class CloseHookCalculator(Calculator):
    given = Input(np.ndarray)
    told = Output(np.ndarray)
    timestamp_offset = 0

    def process(self, ctx):
        ctx.send(self.told, ctx[self.given])

    def close(self, ctx):
        hook()
"""
HANDLER: Final = """
import socket

from pyovms import Tensor


def hook():
    with socket.create_connection(("{host}", {port})) as link:
        link.recv(1)


class OvmsPythonModel:
    def execute(self, inputs):
        if bytes(inputs[0]) == b"yield":
            return self.generate()
        hook()
        return [Tensor("out", b"x")]

    def generate(self):
        yield [Tensor("out", b"x")]
        hook()
        yield [Tensor("out", b"y")]
"""
HOOKED: Final = ("OpenHook", "ProcessHook", "CloseHook")


class Hooks:
    """Where hooks report."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0), backlog=64)
        self._listening.settimeout(PATIENCE)

    @property
    def port(self) -> int:
        return self._listening.getsockname()[1]

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Wait until somebody is there; he goes on when the `with` block is left."""
        link, _ = self._listening.accept()
        with link:
            yield

    def close(self) -> None:
        """All who come now go on at once."""
        self._listening.close()


class Point:
    """What to ask, so that a call comes to a point, and how it is cancelled there."""

    def __init__(self, subject: Subject, channel: grpc.Channel, hooks: Hooks) -> None:
        self._subject = subject
        self._channel = channel
        self._hooks = hooks
        self._chance = random.Random(10)

    def _call(self, name: str, **inputs: Any) -> Any:
        method: Any = self._channel.unary_unary(kserve.MODEL_INFER)
        return method.future(ask(name, inputs).SerializeToString(), timeout=PATIENCE)

    def accepted(self) -> None:
        """As soon as it is made."""
        self._call("echo", **{"in": ONE}).cancel()

    def in_open(self) -> None:
        """A calculator opens."""
        self._hooked("OpenHook")

    def in_process(self) -> None:
        """A calculator is at work."""
        self._hooked("ProcessHook")

    def in_close(self) -> None:
        """A calculator closes."""
        self._hooked("CloseHook")

    def in_execute(self) -> None:
        """A handler is at work."""
        self._hooked("inside", b"call")

    def in_a_worker(self) -> None:
        """A handler is at work in a process of its own."""
        self._hooked("outside", b"call")

    def between_parts(self) -> None:
        """A handler yields, in this process and in another."""
        for name in ("inside", "outside"):
            request = ask(name, {"in": np.frombuffer(b"yield", np.uint8)})
            with Stream(self._channel, request) as stream:
                stream.answer()
                with self._hooks.reached():
                    stream.cancel()

    def waiting_and_inferred(self) -> None:
        """An inference waits for those that are computed, which are cancelled next."""
        slots = self._subject.total("ovms_infer_req_queue_size") or 1
        running: list[Any] = []

        def is_busy() -> bool:
            if all(each.done() for each in running):  # before anybody has looked
                running.extend(
                    self._call("sluggish", x=SQUARE) for _ in range(int(slots))
                )
            return self._subject.total("ovms_infer_req_active") >= 1

        assert until(is_busy, PATIENCE)
        waiting = self._call("slow", **{"in": SQUARE})
        waiting.cancel()
        for each in running:
            each.cancel()

    def on_the_wire(self) -> None:
        """Something large is read, parsed, serialised or written."""
        call = self._call("echo", **{"in": LARGE})
        time.sleep(self._chance.uniform(0, 3 * LONGEST))
        call.cancel()

    def anywhere(self) -> None:
        """At a moment that nobody has chosen, of a call of any kind."""
        method: Any = self._channel.unary_unary(kserve.MODEL_INFER)
        kind = self._chance.choice(STATELESS)
        call = method.future(kind.ask(1).SerializeToString())
        time.sleep(self._chance.uniform(0, LONGEST))
        call.cancel()

    def _hooked(self, name: str, word: bytes = b"") -> None:
        given = np.frombuffer(word, np.uint8) if word else ONE
        call = self._call(name, **{"in": given})
        with self._hooks.reached():
            call.cancel()


POINTS: Final[tuple[Callable[[Point], None], ...]] = (
    Point.accepted,
    Point.in_open,
    Point.in_process,
    Point.in_close,
    Point.in_execute,
    Point.in_a_worker,
    Point.between_parts,
    Point.waiting_and_inferred,
    Point.on_the_wire,
    Point.anywhere,
)


def harmless(run: Run) -> list[Figure]:
    """Calls that are cancelled as they come, while they wait, are parsed, opened,
    computed, inferred, written and closed, or at any moment, leave nothing, and the next
    call is answered.
    """
    hooks = Hooks()
    folder = run.folder / "calculators"
    folder.mkdir()
    (folder / "hooks.py").write_text(CALCULATORS.format(host=HOST, port=hooks.port))
    handler = {"handler": HANDLER.format(host=HOST, port=hooks.port)}
    graphs = {
        **{name: (_through(f"{name}Calculator"), {}) for name in HOOKED},
        "inside": (site.graph(), handler),
        "outside": (site.graph(options=site.PROCESS), handler),
    }
    flags = ("--config_path", str(build(run.folder, **graphs)))
    left = cancelled = unanswered = 0
    with ExitStack() as stack:
        more = ("--calculators_path", str(folder))
        subject = stack.enter_context(Subject(run.folder, *flags, *more))
        channel = stack.enter_context(connect(subject.ready()))
        stack.callback(hooks.close)
        for kind in STATELESS:
            infer(channel, kind.ask(1))
        before = subject.state()
        point = Point(subject, channel, hooks)
        for reach in POINTS:
            for _ in run.times():
                reach(point)
                cancelled += 1
            left += not until(subject.is_idle, PATIENCE)
            unanswered += sum(
                not kind.is_answered(infer(channel, kind.ask(2)), 2)
                for kind in STATELESS
            )
        return [
            Figure("points of a call's life", len(POINTS)),
            Figure("calls cancelled", cancelled),
            none("points after which something was left", left),
            none("calls after them that were not answered", unanswered),
            *subject.left(before),
        ]


def _through(calculator: str) -> str:
    lines = ('input_stream: "in"', 'output_stream: "out"')
    return zoo.graph(["in"], ["out"], zoo.node(calculator, *lines))
