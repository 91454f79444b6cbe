"""A file that ends whoever reads it ends a child, and the server tells."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.engine import ModelConfig
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.probe import Probe
from tests.unit.inference.slots import await_

# Answers as the real child, but for files named after what they do to a process.
CHILD = """
import json, os, signal, sys
for line in sys.stdin:
    name = os.path.basename(json.loads(line))
    if name == "segv.xml":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exit.xml":
        os._exit(7)
    if name == "hang.xml":
        sys.stdin.read()
    print("read", flush=True)
    if name == "late.xml":
        os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def probe():
    made = Probe(command=(sys.executable, "-c", CHILD))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "cause"), [("segv.xml", "SIGSEGV"), ("exit.xml", "exit code 7")]
)
def test_a_file_that_ends_its_reader_is_refused_and_the_next_is_probed(
    probe, tmp_path, name, cause
):
    with pytest.raises(ServingError) as caught:
        probe.check(tmp_path / name)
    assert caught.value.status is Status.MODEL_NOT_LOADED
    assert caught.value.details == (
        f"{name}: to read it ends the process that does, by {cause}"
    )
    probe.check(tmp_path / "good.xml")


def test_a_child_that_dies_of_an_earlier_file_is_not_this_ones_fault(probe, tmp_path):
    probe.check(tmp_path / "late.xml")
    probe.check(tmp_path / "good.xml")


def test_without_a_child_to_be_had_a_model_is_refused(tmp_path):
    probe = Probe(command=(str(tmp_path / "no_such_python"),))
    with pytest.raises(ServingError) as caught:
        probe.check(tmp_path / "good.xml")
    assert caught.value.details == (
        "good.xml: no process to probe it: No such file or directory"
    )


def test_the_real_child_reads_what_can_be_read_and_survives_what_cannot(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    probe = Probe()
    try:
        probe.check(bad)
        probe.check(tmp_path / "missing\n.xml")
    finally:
        probe.close()


def test_an_engine_loads_nothing_that_its_probe_refuses(tmp_path):
    crashes = tmp_path / "segv.xml"
    crashes.write_text("<net/>")
    engine = OpenVINOEngine(Probe(command=(sys.executable, "-c", CHILD)))
    try:
        with pytest.raises(ServingError, match="SIGSEGV"):
            engine.load(crashes, ModelConfig())
    finally:
        engine.close()


def test_what_is_abandoned_is_read_no_further_and_nothing_after_it(probe, tmp_path):
    probe.check(tmp_path / "good.xml")
    child = probe._child
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(probe.check, tmp_path / "hang.xml")
        await_(probe._lock.locked)
        probe.abandon()
        with pytest.raises(ServingError, match=r"hang.xml: the server stops"):
            reading.result(60)
    assert child.returncode is not None
    with pytest.raises(ServingError, match=r"good.xml: the server stops"):
        probe.check(tmp_path / "good.xml")
    assert probe._child is None


def test_a_child_that_is_abandoned_before_it_has_begun_ends(probe, tmp_path):
    started = probe._start

    def start():
        child = started()
        probe._is_over = True  # by an abandon that has seen no child
        return child

    probe._start = start
    with pytest.raises(ServingError, match=r"hang.xml: the server stops"):
        probe.check(tmp_path / "hang.xml")
    assert probe._child is None


def test_an_engine_that_is_abandoned_has_no_child(tmp_path):
    probe = Probe(command=(sys.executable, "-c", CHILD))
    engine = OpenVINOEngine(probe)
    probe.check(tmp_path / "good.xml")
    child = probe._child
    assert child is not None
    engine.abandon()
    assert child.returncode == 0
    engine.close()


def test_closing_ends_the_child(tmp_path):
    probe = Probe(command=(sys.executable, "-c", CHILD))
    probe.check(tmp_path / "good.xml")
    child = probe._child
    assert child is not None
    probe.close()
    assert child.returncode == 0
