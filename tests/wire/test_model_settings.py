"""What a config says of how a model is run, on a whole server."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.reload.test_loading_beside import convolutions
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, connect, infer, refusal
from tests.wire.servers import Process, sample, serving
from tests.wire.waiting import until

ROW = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("CPU", "KIND_CPU"),
        ("AUTO", "KIND_AUTO"),
        ("AUTO:CPU", "KIND_AUTO"),
        ("MULTI:CPU", "KIND_AUTO"),
        ("HETERO:CPU", "KIND_AUTO"),
    ],
)
def test_a_device_is_the_one_of_the_config(
    tmp_path: Path, device: str, kind: str
) -> None:
    zoo.add_model(tmp_path, "m", tiny.add_one())
    zoo.add_graph(
        tmp_path,
        "g",
        zoo.graph(
            ["in"], ["out"], zoo.session("m"), zoo.inferring({"x": "in"}, {"y": "out"})
        ),
    )
    entry = zoo.entry("m", target_device=device, plugin_config={})
    config = zoo.write_config(tmp_path, [entry], [{"name": "g"}])
    with serving(config) as server, server.connect() as channel:
        for name, port in (("m", "x"), ("g", "in")):
            (values,) = arrays(infer(channel, ask(name, {port: ROW}))).values()
            assert values == (ROW + 1).tolist()
        with triton.InferenceServerClient(server.address) as client:
            told: Any = client.get_model_config("m", as_json=True)
        (group,) = told["config"]["instance_group"]
        assert group.get("kind", "KIND_AUTO") == kind


@pytest.mark.parametrize("device", ["GPU", "MULTI:GPU", "NOTHING"])
def test_a_device_that_is_not_there_leaves_out_its_model_and_names_those_there_are(
    tmp_path: Path, device: str
) -> None:
    for name in ("m", "n"):
        zoo.add_model(tmp_path, name, tiny.add_one())
    entries = [zoo.entry("m", target_device=device, plugin_config={}), zoo.entry("n")]
    with (
        serving(zoo.write_config(tmp_path, entries)) as server,
        server.connect() as channel,
    ):
        assert server.said("model m version 1: Cannot compile", "available: CPU")
        code, _ = refusal(channel, ask("m", {"x": ROW}))
        assert code == "UNAVAILABLE"
        assert arrays(infer(channel, ask("n", {"x": ROW})))["y"] == (ROW + 1).tolist()


def test_requests_and_streams_of_a_device_are_as_many_as_the_config_says(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "m", tiny.add_one())
    entry = zoo.entry("m", nireq=5, plugin_config={"NUM_STREAMS": 2})
    with serving(zoo.write_config(tmp_path, [entry])) as server:
        page = server.app.metrics.render().decode()
        labels = {"name": "m", "version": "1"}
        assert sample(page, "ovms_infer_req_queue_size", labels) == 5
        assert sample(page, "ovms_streams", labels) == 2


def test_nobody_waits_for_the_shape_of_somebody_else(tmp_path: Path) -> None:
    """A shape that is new takes seconds to compile. Meanwhile those are answered who ask
    for a shape that is there, of the same model and of others; and later nobody waits
    for that shape again.
    """
    zoo.add_model(tmp_path, "auto", convolutions(layers=16))
    zoo.add_model(tmp_path, "other", tiny.add_one())
    entries = [zoo.entry("auto", shape="auto"), zoo.entry("other")]
    known = ask("auto", {"x": shape(28)})
    with (
        serving(zoo.write_config(tmp_path, entries)) as server,
        server.connect() as channel,
        ThreadPoolExecutor(1) as beside,
    ):
        before = server.compiled("auto")
        infer(channel, known)
        for side in (30, 32, 34):  # more than one, if nobody has time meanwhile
            new = ask("auto", {"x": shape(side)})
            late = beside.submit(infer, channel, new)
            assert until(lambda late=late: before.waiting == 1 or late.done())
            answered = 0
            while not late.done():
                infer(channel, known)
                infer(channel, ask("other", {"x": ROW}))
                answered += not late.done()
            assert list(late.result().outputs[0].shape) == [1, 128, side, side]
            again = [beside.submit(infer, channel, each) for each in (new, known, new)]
            assert {tuple(each.result(60).outputs[0].shape) for each in again} == {
                (1, 128, side, side),
                (1, 128, 28, 28),
            }
            if answered >= 2:
                break
        assert answered >= 2
        assert server.compiled("auto") is before
        assert until(server.is_idle)


def shape(side: int) -> np.ndarray:
    return np.zeros((1, 128, side, side), np.float32)


def test_an_extension_is_loaded_into_the_server(tmp_path: Path) -> None:
    """A library of operations; here a copy of one that OpenVINO has."""
    installed = Path(sys.modules["openvino"].__file__ or "").parent.parent
    library = tmp_path / "operations_of_somebody.so"
    shutil.copy(
        installed / "openvino_tokenizers/lib/libopenvino_tokenizers.so", library
    )
    zoo.add_model(tmp_path, "m", tiny.add_one())
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    flags = ("--config_path", str(config), "--cpu_extension", str(library))
    with Process(tmp_path, *flags) as server, connect(server.ready()) as channel:
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert str(library) in mapped
        assert arrays(infer(channel, ask("m", {"x": ROW})))["y"] == (ROW + 1).tolist()


def test_a_wrong_extension_ends_the_server_and_says_why(tmp_path: Path) -> None:
    library = tmp_path / "text.so"
    library.write_text("no library")
    zoo.add_model(tmp_path, "m", tiny.add_one())
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    flags = ("--config_path", str(config), "--cpu_extension", str(library))
    with Process(tmp_path, *flags) as server:
        assert server.code() == 1
        assert "text.so is no extension" in server.log
