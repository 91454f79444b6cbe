"""OpenVINO behind its one door: what loads, what ports are called, whose memory is whose."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.shape import Dim
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import ModelConfig
from ovms_mp.inference.model import PooledModel
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.ports import ports_of
from ovms_mp.inference.openvino.slot import SHARED_FROM, InferSlot, sharable
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

Load = Callable[..., PooledModel]


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


@pytest.fixture
def load(engine: OpenVINOEngine, tmp_path: Path) -> Iterator[Load]:
    loaded: list[PooledModel] = []

    def load(model: ov.Model, config: ModelConfig = EXACT) -> PooledModel:
        path = tiny.save(tmp_path, model, f"model{len(loaded)}")
        compiled = engine.load(path, config)
        assert isinstance(compiled, PooledModel)
        loaded.append(compiled)
        return compiled

    yield load
    for model in loaded:
        assert (model.busy, model.waiting) == (0, 0)
        model.close()


def infer(model: PooledModel, *tensors: Array) -> tuple[Array, ...]:
    return model.infer(tensors).result(30).outputs


def failure(model: PooledModel, *tensors: Array) -> ServingError:
    with pytest.raises(ServingError) as caught:
        infer(model, *tensors)
    return caught.value


# Loading


def test_a_model_that_is_not_there_is_file_invalid(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    with pytest.raises(ServingError) as caught:
        engine.load(tmp_path / "absent.xml", EXACT)
    assert caught.value.status is Status.FILE_INVALID
    assert caught.value.details == "absent.xml"


@pytest.mark.parametrize("name", ["m.xml", "m.onnx", "m.tflite", "m.pdmodel", "m.pb"])
@pytest.mark.parametrize("content", [b"", b"rubbish" * 9], ids=["empty", "rubbish"])
def test_a_broken_file_is_told_in_one_line_without_its_path(
    engine: OpenVINOEngine, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ServingError) as caught:
        engine.load(tmp_path / name, EXACT)
    assert caught.value.status is Status.MODEL_NOT_LOADED
    assert caught.value.details.startswith(f"{name}: ")
    assert str(tmp_path) not in caught.value.text
    assert "\n" not in caught.value.text
    assert "src/" not in caught.value.text


def test_weights_that_are_missing_are_told(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one())
    path.with_suffix(".bin").unlink()
    with pytest.raises(ServingError, match="bin file cannot be found") as caught:
        engine.load(path, EXACT)
    assert caught.value.status is Status.MODEL_NOT_LOADED


def test_a_device_that_is_not_there_is_told(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one())
    with pytest.raises(ServingError, match="no device FPGA; available: CPU") as caught:
        engine.load(path, ModelConfig(target_device="FPGA"))
    assert caught.value.status is Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE


def test_an_unknown_property_is_told_by_its_key(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one())
    with pytest.raises(ServingError, match="unknown key COLOUR") as caught:
        engine.load(path, ModelConfig(plugin_config={"COLOUR": "red"}))
    assert caught.value.status is Status.MODEL_NOT_LOADED


def test_a_property_with_a_wrong_value_is_told(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one())
    with pytest.raises(ServingError, match="number of streams") as caught:
        engine.load(path, ModelConfig(plugin_config={"NUM_STREAMS": "many"}))
    assert caught.value.status is Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE


@pytest.mark.parametrize("value", ["NO", "YES", False, True])
def test_memory_mapping_can_be_chosen(load: Load, value: bool | str) -> None:
    config = ModelConfig(plugin_config={"ENABLE_MMAP": value})
    assert infer(load(tiny.add_one(), config), np.zeros((1, 10), np.float32))


def test_auto_takes_the_properties_of_its_devices(load: Load) -> None:
    model = load(
        tiny.add_one(),
        ModelConfig("AUTO:CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}, nireq=2),
    )
    (y,) = infer(model, np.zeros((1, 10), np.float32))
    assert np.all(y == 1)


def test_slots_are_as_many_as_asked_for_or_as_the_device_finds_optimal(
    load: Load,
) -> None:
    assert load(tiny.add_one(), ModelConfig(nireq=5)).slots == 5
    two = ModelConfig(plugin_config={"NUM_STREAMS": 2})
    assert load(tiny.add_one(), two).slots == 2
    assert load(tiny.add_one(), two).streams == 2


def test_processes_that_share_a_machine_divide_its_cores(tmp_path: Path) -> None:
    """With one thread there is one stream, whatever is asked for; who says how many
    threads there are to be has them.
    """
    path = tiny.save(tmp_path, tiny.add_one())
    cores = len(os.sched_getaffinity(0))
    throughput = {"PERFORMANCE_HINT": "THROUGHPUT"}
    named = {**throughput, "INFERENCE_NUM_THREADS": cores}

    def streams(share: int, properties: dict[str, Any]) -> int:
        engine = OpenVINOEngine(share=share)
        model = engine.load(path, ModelConfig(plugin_config=properties))
        model.close()
        engine.close()
        return model.streams

    assert streams(cores, throughput) == streams(2 * cores, throughput) == 1
    assert streams(cores, named) == streams(1, named)


# Ports


def test_ports_tell_type_and_shape(load: Load) -> None:
    (port,) = load(tiny.add_one((-1, 3, (2, 7), (4, -1)), np.int64)).inputs
    assert port.datatype is Datatype.INT64
    assert port.shape == (Dim(0, -1), Dim(3, 3), Dim(2, 7), Dim(4, -1))
    assert port.info.shape == (-1, 3, -1, -1)
    assert not port.is_static


def test_every_name_of_a_port_finds_it_with_and_without_its_index(load: Load) -> None:
    x = tiny.parameter({"image", "serving/image:0"}, (1, 4))
    one = op.constant(np.float32(1))
    boxes = tiny.named(op.add(x, one), {"boxes:0"})
    # `boxes` is another port's own name, so `boxes` is not short for `boxes:0`.
    scores = tiny.named(op.multiply(x, one), {"boxes"})
    model = load(tiny.model([boxes, scores], [x]))
    for name in ("image", "image:0", "serving/image:0", "serving/image"):
        assert model.inputs.find(name) == 0
    assert model.inputs.find("imag") is None
    assert [model.outputs.find(name) for name in ("boxes:0", "boxes")] == [0, 1]


def test_two_outputs_of_one_tensor_have_names_of_their_own(load: Load) -> None:
    x = tiny.parameter("x", (1, 4))
    y = tiny.named(op.relu(x), "y")
    model = load(tiny.model([op.result(y), op.result(y)], [x]))
    names = [port.name for port in model.outputs]
    assert len(set(names)) == 2


# Memory


@pytest.mark.parametrize(
    "datatype", list(Datatype), ids=[datatype.name for datatype in Datatype]
)
def test_every_datatype_goes_in_and_comes_out_unchanged(
    load: Load, datatype: Datatype
) -> None:
    dtype = datatype.dtype
    in_model = ov.Type.bf16 if datatype is Datatype.BF16 else dtype
    model = load(tiny.twice((1, 5), in_model))
    numbers = np.array([[0, 1, 2, 100, 77]])
    # What bfloat16 is made of says nothing to numpy: any two bytes will do.
    x = (
        numbers.astype("<u2").view(dtype)
        if dtype.kind == "V"
        else numbers.astype(dtype)
    )
    (y,) = infer(model, x)
    assert y.dtype == dtype
    assert np.array_equal(y, np.concatenate([x, x]))


STATIC, DYNAMIC = (1, SHARED_FROM // 4 + 1), (-1, -1)


@pytest.mark.parametrize("shape", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_read_only_memory_is_shared_and_never_written_to(
    load: Load, shape: tuple[int, ...]
) -> None:
    model = load(tiny.add_one(shape))
    x = np.frombuffer(np.arange(STATIC[1], dtype=np.float32).tobytes(), np.float32)
    before = x.tobytes()
    (y,) = infer(model, x.reshape(STATIC))
    assert np.array_equal(y[0], np.frombuffer(before, np.float32) + 1)
    assert x.tobytes() == before


@pytest.mark.parametrize("shape", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_shared_memory_is_let_go_of_when_the_result_is_there(
    load: Load, shape: tuple[int, ...]
) -> None:
    """The next inference, which reads every input, would crash or differ otherwise."""
    model = load(tiny.total(shape))
    x = np.ones(STATIC, np.float32)
    (y,) = infer(model, x)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None
    (y2,) = infer(model, np.full(STATIC, 2, np.float32))
    assert (y[0], y2[0]) == (STATIC[1], 2 * STATIC[1])


def test_a_request_refers_to_nobodys_memory_after_its_inference() -> None:
    model = tiny.add_one(STATIC)
    request = ov.Core().compile_model(model, "CPU").create_infer_request()
    slot = InferSlot(
        request,
        ports_of(model.inputs, model.inputs, "in"),
        ports_of(model.outputs, model.outputs, "out"),
    )

    def addresses() -> list[int]:
        tensors = request.get_input_tensor(0), request.get_output_tensor(0)
        return [tensor.data.ctypes.data for tensor in tensors]

    before = addresses()
    for _ in range(2):
        x = np.ones(STATIC, np.float32)
        (y,) = slot.infer([x]).outputs
        assert addresses() == before
        assert y.ctypes.data not in before


def test_only_memory_that_openvino_cannot_read_is_copied() -> None:
    plain = np.zeros((3, 4), np.float32)
    frozen = np.frombuffer(bytes(48), np.float32).reshape(3, 4)
    unaligned = np.frombuffer(bytes(49), np.float32, offset=1).reshape(3, 4)
    for array in (plain, frozen):
        assert np.shares_memory(sharable(array), array)
        assert sharable(array).flags.writeable
    for array in (unaligned, plain.T, plain[:, ::2]):
        assert not np.shares_memory(sharable(array), array)


@pytest.mark.parametrize("shape", [(1, 10), DYNAMIC, STATIC])
def test_an_output_survives_the_next_inference(
    load: Load, shape: tuple[int, ...]
) -> None:
    model = load(tiny.add_one(shape))
    size = STATIC[1] if shape == STATIC else 10
    kept = [infer(model, np.full((1, size), i, np.float32))[0] for i in range(4)]
    assert [y.min() for y in kept] == [1, 2, 3, 4]
    assert [y.max() for y in kept] == [1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(2, 10), DYNAMIC, (2, SHARED_FROM)])
def test_any_layout_of_memory_is_read_right(load: Load, shape: tuple[int, ...]) -> None:
    model = load(tiny.add_one(shape))
    size = max(shape[1], 10)
    plain = np.random.default_rng(1).random((2, size), np.float32)
    shifted = bytes(1) + plain.tobytes()
    layouts = {
        "columns": np.asfortranarray(plain),
        "reversed": plain[::-1].copy()[::-1],
        "strided": np.repeat(plain, 2, axis=1)[:, ::2],
        "unaligned": np.frombuffer(shifted, np.float32, offset=1).reshape(plain.shape),
    }
    for x in layouts.values():
        (y,) = infer(model, x)
        assert np.array_equal(y, plain + 1)


@pytest.mark.parametrize("shape", [((2, 5), 10), ((3, -1), 10), ((1, 9), (5, 20))])
def test_a_range_of_shapes_is_one_model(
    load: Load, shape: tuple[int | tuple[int, int], ...]
) -> None:
    model = load(tiny.add_one(shape))
    for rows in (3, 5, 3):
        (y,) = infer(model, np.full((rows, 10), rows, np.float32))
        assert y.tolist() == [[rows + 1] * 10] * rows


@pytest.mark.parametrize("shape", [(0, 10), DYNAMIC])
def test_an_empty_tensor_is_an_answer_too(load: Load, shape: tuple[int, ...]) -> None:
    model = load(tiny.add_one(shape))
    (y,) = infer(model, np.empty((0, 10), np.float32))
    assert y.shape == (0, 10)


def test_a_scalar_stays_one(load: Load) -> None:
    (y,) = infer(load(tiny.add_one(())), np.array(41, np.float32))
    assert (y.shape, y.item()) == ((), 42)


# Failures


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        ((1, 10), np.zeros((1, 1), np.float32)),  # numpy would broadcast it
        (STATIC, np.zeros((1, 10), np.float32)),
        ((1, 10), np.zeros((1, 10), np.float64)),  # and convert this
        (DYNAMIC, np.zeros((1, 10), np.float64)),
        (DYNAMIC, np.zeros(10, np.float32)),
    ],
)
def test_an_array_that_does_not_fit_fails_and_is_not_made_to_fit(
    load: Load, shape: tuple[int, ...], wrong: Array
) -> None:
    model = load(tiny.add_one(shape))
    for _ in range(2):
        error = failure(model, wrong)
        assert error.status is Status.OV_INTERNAL_INFERENCE_ERROR
    assert model.busy == 0


def test_a_failing_inference_says_why_and_its_slot_works_on(load: Load) -> None:
    model = load(tiny.into_two_by_three())
    for length in (5, 7):
        error = failure(model, np.zeros(length, np.float32))
        assert error.status is Status.OV_INTERNAL_INFERENCE_ERROR
        assert "Reshape" in error.details
        assert "src/" not in error.details
        assert model.busy == 0
        (y,) = infer(model, np.arange(6, dtype=np.float32))
        assert y.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_too_few_arrays_do_not_run_on_what_the_last_user_left(load: Load) -> None:
    model = load(tiny.two_inputs())
    b, a = np.ones((1, 3), np.float32), np.ones((1, 2), np.int64)
    infer(model, b, a)
    assert failure(model, b).status is Status.OV_INTERNAL_INFERENCE_ERROR
