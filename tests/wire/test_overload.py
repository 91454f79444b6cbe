"""More work than a model can do: who is refused, who is served, and who does not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.pace import BURST, LONGEST, RATE
from ovms_mp.inference.engine import Inferred
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.repository.config import ModelSpec
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, connect
from tests.wire.rest import Rest, inputs, tensor
from tests.wire.servers import HOST, Process, Server, serving
from tests.wire.waiting import ROUNDS, until

QUEUE: Final = 3
SIZE: Final = 512
SMALL: Final = 128
SECONDS: Final = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("overload")
    zoo.add_model(folder, "model", tiny.slow(steps=8, size=SIZE))
    spec = ModelSpec("model", folder / "model", nireq=1, max_queue_length=QUEUE)
    with serving(spec) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with connect(f"{HOST}:{server.app.port}") as channel:
        yield channel


MESSAGE: Final = ask(
    "model", {"x": np.zeros((SIZE, SIZE), np.float32)}
).SerializeToString()
ZEROS: Final = np.zeros((SIZE, SIZE), np.float32).tobytes()
SMALL_MESSAGE: Final = ask(
    "model", {"x": np.zeros((SMALL, SMALL), np.float32)}
).SerializeToString()


MIDDLE_MESSAGE: Final = ask(
    "model", {"x": np.zeros((2 * SMALL, 2 * SMALL), np.float32)}
).SerializeToString()

PAUSE: Final = 0.02  # of who is refused, and does not ask again at once


def closed_loop(
    channel: grpc.Channel,
    clients: int,
    until_served: int,
    *,
    message: bytes,
    pause: float,
) -> tuple[list[float], list[grpc.StatusCode]]:
    """Each client asks again when it is answered; who is refused, after a `pause`. How
    long those took that were served, and what the others were told.
    """
    call = channel.unary_unary(kserve.MODEL_INFER)
    served: list[float] = []
    refused: list[grpc.StatusCode] = []

    def client() -> None:
        while len(served) < until_served:
            begun = time.perf_counter()
            try:
                call(message, timeout=SECONDS)
            except grpc.RpcError as error:
                told: Any = error
                refused.append(told.code())
                time.sleep(pause)
            else:
                served.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(clients) as pool:
        for each in [pool.submit(client) for _ in range(clients)]:
            each.result()
    return served, refused


@pytest.mark.timeout(300)
def test_overload_is_refused_and_who_is_served_does_not_wait_for_it(
    tmp_path: Path,
) -> None:
    """The queue is what a client may wait for: with eight times as many clients as fit,
    those that are served take at most twice as long as when just as many as fit ask. The
    server has a process of its own: threads of so many clients fill this one.
    """
    # One processor computes: the other has the clients, who are refused by the thousand.
    one = {"INFERENCE_NUM_THREADS": 1}
    zoo.add_model(tmp_path, "model", tiny.slow(steps=64, size=SMALL))
    entry = zoo.entry("model", nireq=1, max_queue_length=QUEUE, plugin_config=one)
    config = zoo.write_config(tmp_path, [entry])
    with (
        Process(tmp_path, "--config_path", str(config)) as server,
        connect(server.ready()) as channel,
    ):
        ratios = overloaded(channel)
    assert min(ratios) <= 2, ratios


@pytest.mark.timeout(300)
def test_clients_that_ask_again_at_once_take_no_cores_from_a_model_that_has_all(
    tmp_path: Path,
) -> None:
    """The same, where the model computes on each core, and refusals, of the server as of
    its clients, take from it what they take: they have a pace.
    """
    zoo.add_model(tmp_path, "model", tiny.slow(steps=16, size=2 * SMALL))
    entry = zoo.entry("model", nireq=1, max_queue_length=QUEUE)
    config = zoo.write_config(tmp_path, [entry])
    with (
        Process(tmp_path, "--config_path", str(config)) as server,
        connect(server.ready()) as channel,
    ):
        ratios = overloaded(channel, 0, MIDDLE_MESSAGE)
    assert min(ratios) <= 2, ratios


def overloaded(
    channel: grpc.Channel, pause: float = PAUSE, message: bytes = SMALL_MESSAGE
) -> list[float]:
    """How long who is served takes under overload, of how long without: more than once
    as long as that is too long, for anything on this machine may come between.
    """
    ask_again = partial(closed_loop, channel, message=message, pause=pause)
    ask_again(1, 3)
    ratios: list[float] = []
    while len(ratios) < 5 and min(ratios, default=9) > 2:
        fitting, refused = ask_again(1 + QUEUE, 30)
        assert refused == []
        served, refused = ask_again(8 * (1 + QUEUE), 30)
        assert set(refused) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        ratios.append(float(np.percentile(served, 99) / np.percentile(fitting, 99)))
    return ratios


def test_the_queue_is_as_long_as_the_config_says(
    server: Server, channel: grpc.Channel
) -> None:
    call = channel.unary_unary(kserve.MODEL_INFER)
    asked: list[Any] = []
    codes: list[grpc.StatusCode] = []
    # While these are sent, some of the first may be served, and all if that takes long.
    for _ in range(ROUNDS):
        asked = [call.future(MESSAGE, timeout=SECONDS) for _ in range(4 * (1 + QUEUE))]
        codes = [each.code() for each in asked]
        assert codes.count(grpc.StatusCode.OK) >= 1 + QUEUE
        if grpc.StatusCode.RESOURCE_EXHAUSTED in codes:
            break
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    details = {each.details() for each in asked if each.code() != grpc.StatusCode.OK}
    assert details == {
        f"Resource exhausted - {QUEUE} inferences wait for the model already"
    }
    until(server.is_idle)


@pytest.mark.parametrize("interface", ["gRPC", "REST"])
def test_who_is_refused_and_asks_again_at_once_hears_it_at_a_pace(
    server: Server, channel: grpc.Channel, interface: str
) -> None:
    """Whatever the machine does, there are no more refusals than the pace has, and those
    that have waited as long as a client may; each as it was.
    """
    call = channel.unary_unary(kserve.MODEL_INFER)
    rest = Rest(server.app.rest_port)
    document = inputs(tensor("x", np.zeros((SIZE, SIZE), np.float32)))
    (spoken,) = document["inputs"]
    del spoken["data"]
    spoken["parameters"] = {"binary_data_size": len(ZEROS)}

    def told_by_grpc() -> str | None:
        one = call.future(MESSAGE, timeout=SECONDS)
        if one.code() is grpc.StatusCode.OK:
            return None
        assert one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return one.details()

    def told_by_rest() -> str | None:
        answer = rest.infer("model", document, ZEROS)
        if answer.code == 200:
            return None
        assert answer.code == 429
        return answer.error

    ask_once = {"gRPC": told_by_grpc, "REST": told_by_rest}[interface]
    clients, begun = 4, time.perf_counter()
    filling = [call.future(MESSAGE, timeout=SECONDS) for _ in range(1 + QUEUE)]
    refused: list[str] = []

    def ask_again() -> None:
        while not all(each.done() for each in filling):
            told = ask_once()
            if told is not None:
                refused.append(told)

    with ThreadPoolExecutor(clients) as pool:
        for each in [pool.submit(ask_again) for _ in range(clients)]:
            each.result()
    passed = time.perf_counter() - begun
    at_pace = BURST + passed * RATE
    assert len(refused) <= at_pace + clients * (1 + passed / LONGEST)
    text = f"Resource exhausted - {QUEUE} inferences wait for the model already"
    assert set(refused) <= {text}
    until(server.is_idle)


def test_a_full_queue_and_a_busy_model_do_not_delay_health(
    server: Server, channel: grpc.Channel
) -> None:
    """Health is asked while all slots are busy and the queue is full, and each answer
    comes before the inferences are over that were asked before it.
    """
    call = channel.unary_unary(kserve.MODEL_INFER)
    is_over = threading.Event()

    def press() -> None:
        while not is_over.is_set():
            wave = [call.future(MESSAGE, timeout=SECONDS) for _ in range(1 + QUEUE)]
            for each in wave:
                each.code()

    pressing = [threading.Thread(target=press) for _ in range(2)]
    for each in pressing:
        each.start()
    until(lambda: server.busy_slots() == 1)
    live = channel.unary_unary(kserve.SERVER_LIVE)
    taken: list[float] = []
    for _ in range(50):
        begun = time.perf_counter()
        live(b"", timeout=SECONDS)
        taken.append(time.perf_counter() - begun)
    is_over.set()
    for each in pressing:
        each.join()
    begun = time.perf_counter()
    call(MESSAGE, timeout=SECONDS)
    assert np.median(taken) < time.perf_counter() - begun
    until(server.is_idle)


def test_a_deadline_reaches_who_waits_and_who_is_inferred(
    server: Server, channel: grpc.Channel
) -> None:
    """What nobody waits for is not computed: the model is idle long before the time that
    all the work would have taken.
    """
    call = channel.unary_unary(kserve.MODEL_INFER)

    def took() -> float:
        begun = time.perf_counter()
        call(MESSAGE, timeout=SECONDS)
        return time.perf_counter() - begun

    # The least: a deadline must not leave the time that something else has taken.
    one = min(took() for _ in range(5))
    done = inferences(server)
    for _ in range(5):
        wave = [call.future(MESSAGE, timeout=one / 4) for _ in range(1 + QUEUE)]
        for each in wave:
            assert each.code() in {
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            }
        until(server.is_idle)
    assert inferences(server) - done < 5 * (1 + QUEUE)


def inferences(server: Server) -> int:
    statistics = server.app.catalog.model("model", "").statistics()
    return statistics.execution_count


def test_streams_of_a_graph_wait_where_others_are_refused(tmp_path: Path) -> None:
    """Their clients are not read meanwhile: each has four requests in the graph at most,
    and none is lost. Who asks the same graph once hears that there is no room.
    """
    model = tiny.slow(steps=8, size=SIZE)
    zoo.add_model(tmp_path, "model", model)
    nodes = zoo.session("model"), zoo.inferring({"x": "in"}, {"y": "out"})
    zoo.add_graph(tmp_path, "graph", zoo.graph(["in"], ["out"], *nodes))
    entry = zoo.entry("model", nireq=1, max_queue_length=1)
    config = zoo.write_config(tmp_path, [entry], [{"name": "graph"}])
    request = ask("graph", {"in": np.zeros((SIZE, SIZE), np.float32)})
    message = request.SerializeToString()
    with serving(config) as server, ExitStack() as stack:
        compiled = server.compiled("model")
        channels = [stack.enter_context(server.connect()) for _ in range(3)]
        streams = [stack.enter_context(Stream(each)) for each in channels]
        for stream in streams:
            stream.send(*[message] * 8)
        assert until(lambda: compiled.waiting > 1)
        call = channels[0].unary_unary(kserve.MODEL_INFER)
        asked = [call.future(message, timeout=SECONDS) for _ in range(3)]
        told = {each.details() for each in asked if each.code()}
        assert any("inferences wait for the model already" in each for each in told)
        for stream in streams:
            stream.half_close()
            assert len(list(stream.rest())) == 8
        assert until(server.is_idle)


def test_the_limit_is_known_to_the_engine(tmp_path: Path) -> None:
    """Zero is a limit, too: nobody waits."""
    engine = OpenVINOEngine()
    config = type(tiny.EXACT)(nireq=1, max_queue_length=0)
    model = engine.load(tiny.save(tmp_path, tiny.slow()), config)
    x = np.zeros((512, 512), np.float32)
    running: list[Pending[Inferred]] = []
    with pytest.raises(Exception, match="0 inferences wait"):
        # The first may be over before the second is asked for.
        running.extend(model.infer([x]) for _ in range(100))
    for each in running:
        each.cancel()
    until(lambda: model.busy == 0)
    model.close()
    engine.close()
