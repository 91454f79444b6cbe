"""R14: who asks the server to stop gets what was asked before, whole; nobody else is let
in; and the process ends by itself, in time.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
from ovms_mp_protos import kserve

from ovms_mp.app import GRACE_SECONDS, PATIENCE_SECONDS
from tests.gates.gate import Figure, Run, Tier, none, seconds, worst
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.wire.calls import Stream, ask, connect, floats, infer, refusal, text
from tests.wire.waiting import until

UNARY: Final = 50
STREAMS: Final = 20
PARTS: Final = 5
"""What a generator yields, the first of them before the server is asked to stop."""

ENDS_WITHIN: Final = GRACE_SECONDS + PATIENCE_SECONDS
AT_ONCE: Final = 2.0
ONE: Final = floats(1)

REFUSALS: Final = {"UNAVAILABLE", "CANCELLED"}
"""Of newcomers. The second is that of gRPC's core for a call that is on its way while the
core says goodbye to its connection."""

GENERATOR: Final = """
import time
from pathlib import Path

from pyovms import Tensor


class OvmsPythonModel:
    def execute(self, inputs):
        go = Path(bytes(inputs[0]).decode())
        for number in range({parts}):
            if number == 1:
                while not go.exists():
                    time.sleep(0.005)
            yield [Tensor("out", str(number).encode())]
"""
HUNG: Final = """
import time
from pathlib import Path


class OvmsPythonModel:
    def execute(self, inputs):
        Path(bytes(inputs[0]).decode()).touch()
        time.sleep(600)
"""


def clean(run: Run) -> list[Figure]:
    """After SIGTERM health says so first, then nobody new is let in; fifty calls, twenty
    streams and a running generator come to their ends; the process ends with 0, in time,
    however its handlers hang, and at once if it is asked twice.
    """
    rounds: list[list[Figure]] = []
    for number in run.times():
        folder = run.folder / str(number)
        folder.mkdir()
        figures = _drained(folder, folder / "go")
        if run.tier is not Tier.SHORT:  # the suite has a test of each
            figures += _hung(run.folder / f"{number}_hung")
        rounds.append(figures)
    return worst(rounds)


class Bystanders:
    """Who asks while the server stops: a watcher of its health, and somebody new."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.not_serving = self.refused = math.inf
        """When, by time.monotonic()."""
        self.codes: set[str] = set()
        """With which the new ones are refused."""
        self._is_over = threading.Event()
        self._is_watching = threading.Event()
        self._threads = [
            threading.Thread(target=each) for each in (self._watch, self._ask)
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        assert self._is_watching.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()

    @property
    def strange(self) -> list[str]:
        """Codes that they should not have heard."""
        return sorted(self.codes - REFUSALS)

    def _watch(self) -> None:
        with connect(self._address) as channel:
            method: Any = channel.unary_stream(
                kserve.HEALTH_WATCH, None, kserve.HealthCheckResponse.FromString
            )
            with suppress(grpc.RpcError):
                for state in method(b"", timeout=120):
                    if state.status == kserve.HealthCheckResponse.NOT_SERVING:
                        self.not_serving = min(self.not_serving, time.monotonic())
                    self._is_watching.set()

    def _ask(self) -> None:
        with connect(self._address) as channel:
            while not self._is_over.wait(0.002):
                code, _ = refusal(channel, ask("echo", {"in": ONE}))
                if code != "OK":
                    self.refused = min(self.refused, time.monotonic())
                    self.codes.add(code)


def _drained(folder: Path, go: Path) -> list[Figure]:
    """One server that is asked to stop, and what became of everybody."""
    generator = site.graph(), {"handler": GENERATOR.format(parts=PARTS)}
    waiting = text(f"until {go}")
    config = build(folder, parts=generator)
    with (
        Subject(folder, "--config_path", str(config)) as subject,
        ExitStack() as stack,
    ):
        address = subject.ready()
        rest = subject.rest
        channels = [stack.enter_context(connect(address)) for _ in range(4)]
        streams = [
            stack.enter_context(Stream(channels[n % 4], ask("echo", {"in": ONE})))
            for n in range(STREAMS)
        ]
        for each in streams:
            each.answer()
        parts = stack.enter_context(
            Stream(channels[0], ask("parts", {"in": text(str(go))}))
        )
        parts.answer()
        method: Any = channels[1].unary_unary(kserve.MODEL_INFER)
        message = ask("words", {"word": waiting}).SerializeToString()
        unary = [method.future(message, timeout=60) for _ in range(UNARY)]
        # Calls of a connection are taken up in order: all of these are, by then.
        infer(channels[1], ask("echo", {"in": ONE}))
        with Bystanders(address) as others:
            begun = time.monotonic()
            subject.ask_to_stop()
            assert until(
                lambda: others.refused < math.inf and others.not_serving < math.inf
            )
            is_ready = rest.get("/v2/health/ready").code == 200
            go.touch()
            lost = sum(_code(each) != "OK" for each in unary)
            lost += sum(_code_of_last(each) != "OK" for each in streams)
            parts.half_close()
            yielded = 1 + len(list(parts.rest()))
            code = subject.code()
            taken = time.monotonic() - begun
        return [
            Figure("calls and streams under way", UNARY + STREAMS + 1),
            none("that were not finished", lost + (yielded != PARTS)),
            seconds(
                "health was told after the first refusal",
                max(0.0, others.not_serving - others.refused),
                0.05,
            ),
            none(
                f"newcomers refused with {others.strange or 'another code'}",
                len(others.strange),
            ),
            none("REST that called itself ready meanwhile", is_ready),
            none("exit codes other than 0", code != 0),
            seconds("from SIGTERM to the end", taken, ENDS_WITHIN),
            none("faults in the log", len(subject.faults())),
        ]


def _code(call: Any) -> str:
    return call.code().name


def _code_of_last(stream: Stream) -> str:
    """What a stream ends with that asks once more after the server was asked to stop."""
    stream.send(ask("echo", {"in": ONE}))
    stream.half_close()
    try:
        assert len(list(stream.rest())) == 1
    except (grpc.RpcError, AssertionError) as error:
        return repr(error)
    return "OK"


def _hung(folder: Path) -> list[Figure]:
    """A handler that does not return, asked once; and twice."""
    taken: list[float] = []
    codes: list[int] = []
    for times in (1, 2):
        home = folder / str(times)
        home.mkdir(parents=True)
        config = build(home, hung=(site.graph(), {"handler": HUNG}))
        with (
            Subject(home, "--config_path", str(config)) as subject,
            connect(subject.ready()) as channel,
        ):
            method: Any = channel.unary_unary(kserve.MODEL_INFER)
            message = ask("hung", {"in": text(str(home / "here"))})
            call = method.future(message.SerializeToString(), timeout=60)
            assert until((home / "here").exists, 30)
            begun = time.monotonic()
            subject.ask_to_stop()
            if times > 1:
                assert until(lambda: "] stopping" in subject.log)
                subject.ask_to_stop()
            codes.append(subject.code())
            taken.append(time.monotonic() - begun)
            call.cancel()
    return [
        seconds(
            "from SIGTERM to the end, with a handler that hangs",
            taken[0],
            ENDS_WITHIN + 2,
        ),
        none("exit codes other than 0 then", codes[0] != 0),
        seconds("from SIGTERM to the end, asked twice", taken[1], AT_ONCE),
        none("exit codes other than 1 then", codes[1] != 1),
    ]
