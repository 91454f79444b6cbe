"""Models that clients see otherwise than their files say: numbers are compared with what
numpy makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovms_mp.core.adaptation import parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import TensorInfo
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import CompiledModel, ModelConfig, NameMapping
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

Load = Callable[..., CompiledModel]


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


@pytest.fixture
def load(engine: OpenVINOEngine, tmp_path: Path) -> Iterator[Load]:
    loaded: list[CompiledModel] = []

    def load(
        model: ov.Model,
        names: NameMapping | None = None,
        plugin_config: Mapping[str, Any] = EXACT.plugin_config,
        target_device: str = "CPU",
        **written: Any,
    ) -> CompiledModel:
        path = tiny.save(tmp_path, model, f"model{len(loaded)}")
        config = ModelConfig(
            target_device=target_device,
            plugin_config=plugin_config,
            adaptation=parse(written),
            names=names or NameMapping(),
        )
        loaded.append(engine.load(path, config))
        return loaded[-1]

    yield load
    for model in loaded:
        assert (model.busy, model.waiting) == (0, 0)
        model.close()


def infer(model: CompiledModel, *tensors: Array) -> Array:
    (output,) = model.infer(tensors).result(60).outputs
    return output


def refused(load: Load, model: ov.Model, **written: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        load(model, **written)
    return caught.value


def image(shape: tuple[int, ...] = (1, 3, 4, 6), dtype: Any = np.float32) -> ov.Model:
    """y = x, of a picture in the order of the model: channels, height, width."""
    x = tiny.parameter("x", shape, dtype)
    return tiny.model(
        [tiny.named(op.add(x, op.constant(np.zeros((), dtype))), "y")], [x]
    )


def pixels(*shape: int, dtype: Any = np.float32) -> Array:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# Layouts


def test_a_layout_of_clients_and_one_of_the_model_transpose(load: Load) -> None:
    model = load(image(), layout="NHWC:NCHW")
    assert model.inputs.infos == (TensorInfo("x", "FP32", (1, 4, 6, 3)),)
    assert model.outputs.infos == (TensorInfo("y", "FP32", (1, 3, 4, 6)),)
    sent = pixels(1, 4, 6, 3)
    assert np.array_equal(infer(model, sent), sent.transpose(0, 3, 1, 2))


def test_layouts_by_name_are_of_inputs_and_outputs(load: Load) -> None:
    model = load(image(), layout={"x": "NHWC:NCHW", "y": "NHWC:NCHW"})
    assert model.outputs.infos == (TensorInfo("y", "FP32", (1, 4, 6, 3)),)
    sent = pixels(1, 4, 6, 3)
    assert np.array_equal(infer(model, sent), sent)


def test_one_layout_says_where_the_batch_is_and_transposes_nothing(load: Load) -> None:
    model = load(image((6, 4, 3)), layout="HNC")
    assert model.inputs[0].layout == "HNC"
    assert model.inputs[0].batch_axis == 1
    assert np.array_equal(infer(model, pixels(6, 4, 3)), pixels(6, 4, 3))


def test_a_model_knows_its_own_layout(load: Load, tmp_path: Path) -> None:
    made = image()
    made.inputs[0].get_node().set_layout(ov.Layout("NCHW"))
    assert load(made).inputs[0].layout == "NCHW"
    assert load(image()).inputs[0].layout == "N..."


# Numbers


def test_mean_is_subtracted_and_then_divided_by_scale(load: Load) -> None:
    one = load(image(), layout="NCHW", mean="10", scale="4")
    sent = pixels(1, 3, 4, 6)
    assert np.allclose(infer(one, sent), (sent - 10) / 4)
    each = load(image(), layout="NHWC:NCHW", mean="[1,2,3]", scale="(2,4,8)")
    sent = pixels(1, 4, 6, 3)
    expected = (sent - [1, 2, 3]) / [2, 4, 8]
    assert np.allclose(infer(each, sent), expected.transpose(0, 3, 1, 2))


def test_a_colour_format_turns_channels_round(load: Load) -> None:
    model = load(image(), layout="NHWC:NCHW", color_format="BGR:RGB")
    sent = pixels(1, 4, 6, 3)
    assert np.array_equal(infer(model, sent), sent[..., ::-1].transpose(0, 3, 1, 2))


def test_a_precision_is_the_one_of_clients(load: Load) -> None:
    model = load(image(), layout="NCHW", precision="uint8:fp32", mean="1", scale="2")
    assert model.inputs[0].datatype is Datatype.UINT8
    sent = pixels(1, 3, 4, 6, dtype=np.uint8)
    got = infer(model, sent)
    assert got.dtype == np.float32
    assert np.allclose(got, (sent.astype(np.float32) - 1) / 2)


def test_all_of_it_together_is_what_a_classifier_wants(load: Load) -> None:
    model = load(
        image(),
        layout="NHWC:NCHW",
        color_format="BGR:RGB",
        precision="uint8:fp32",
        mean="[123.6,116.7,103.9]",
        scale="[58.4,57.1,57.4]",
    )
    sent = pixels(1, 4, 6, 3, dtype=np.uint8)
    rgb = sent[..., ::-1].astype(np.float32)
    expected = (rgb - [123.6, 116.7, 103.9]) / [58.4, 57.1, 57.4]
    assert np.allclose(infer(model, sent), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_mean_of_whole_numbers_needs_a_precision(load: Load) -> None:
    error = refused(load, image(dtype=np.uint8), layout="NCHW", mean="1")
    assert error.status is Status.MODEL_NOT_LOADED
    assert "convert_element_type" in error.details


# Shapes


def test_a_shape_is_the_one_that_clients_see(load: Load) -> None:
    model = load(image(), layout="NHWC:NCHW", shape="(1,8,2,3)")
    assert model.inputs.infos == (TensorInfo("x", "FP32", (1, 8, 2, 3)),)
    sent = pixels(1, 8, 2, 3)
    assert np.array_equal(infer(model, sent), sent.transpose(0, 3, 1, 2))


def test_a_shape_may_have_ranges_and_open_sides(load: Load) -> None:
    model = load(image(), shape="(1,3,-1,2:5)")
    assert model.inputs.infos == (TensorInfo("x", "FP32", (1, 3, -1, -1)),)
    assert [str(dim) for dim in model.inputs[0].shape or ()] == [
        "1",
        "3",
        "-1",
        "[2~5]",
    ]
    for height, width in ((1, 2), (9, 5)):
        sent = pixels(1, 3, height, width)
        assert np.array_equal(infer(model, sent), sent)


def test_each_input_may_have_a_shape(load: Load) -> None:
    model = load(tiny.two_inputs(), shape={"b": "(4,3)"})
    assert model.inputs.infos == (
        TensorInfo("a", "INT64", (1, 2)),
        TensorInfo("b", "FP32", (4, 3)),
    )


@pytest.mark.parametrize(
    ("batch_size", "shape"), [("5", (5, 3, 4, 6)), ("-1", (-1, 3, 4, 6)), ("2:6", None)]
)
def test_a_batch_size_is_for_every_input_that_has_a_batch(
    load: Load, batch_size: str, shape: tuple[int, ...] | None
) -> None:
    model = load(image(), batch_size=batch_size)
    assert model.inputs[0].info.shape == (shape or (-1, 3, 4, 6))
    sent = pixels(5, 3, 4, 6)
    assert np.array_equal(infer(model, sent), sent)


def test_a_batch_size_goes_where_the_layout_has_it(load: Load) -> None:
    model = load(image((6, 1, 3)), layout="HNC", batch_size="4")
    assert model.inputs[0].info.shape == (6, 4, 3)


REFUSALS: Mapping[str, tuple[ov.Model, dict[str, Any], Status]] = {
    "a shape that the operations cannot have": (
        tiny.into_two_by_three(),
        {"shape": "(5)"},
        Status.RESHAPE_ERROR,
    ),
    "a shape of another rank": (
        tiny.total((1, 4)),
        {"shape": "(1)"},
        Status.RESHAPE_ERROR,
    ),
    "a shape for no input": (
        tiny.add_one(),
        {"shape": {"z": "(1,2)"}},
        Status.CONFIG_SHAPE_IS_NOT_IN_MODEL,
    ),
    "a layout for no tensor": (
        tiny.add_one(),
        {"layout": {"z": "NC"}},
        Status.CONFIG_LAYOUT_IS_NOT_IN_MODEL,
    ),
    "one shape for many inputs": (
        tiny.two_inputs(),
        {"shape": "(1,3)"},
        Status.ANONYMOUS_FIXED_SHAPE_NOT_ALLOWED,
    ),
    "one layout for many inputs": (
        tiny.two_inputs(),
        {"layout": "NC"},
        Status.ANONYMOUS_FIXED_LAYOUT_NOT_ALLOWED,
    ),
    "one mean for many inputs": (
        tiny.two_inputs(),
        {"layout": {"a": "NC"}, "mean": "1"},
        Status.MODEL_NOT_LOADED,
    ),
    "a layout of another rank": (
        tiny.add_one(),
        {"layout": "NHWC"},
        Status.LAYOUT_INCOMPATIBLE_WITH_SHAPE,
    ),
    "an automatic batch of a scalar": (
        tiny.add_one(()),
        {"batch_size": "auto"},
        Status.MODEL_WITH_SCALAR_AUTO_UNSUPPORTED,
    ),
    "an automatic shape of a model that remembers": (
        tiny.running_total(),
        {"shape": "auto"},
        Status.MODEL_NOT_LOADED,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_the_model_is_refused_in_ovms_words(
    load: Load, case: str
) -> None:
    model, written, status = REFUSALS[case]
    error = refused(load, model, **written)
    assert error.status is status, error.text
    assert error.details.startswith("model0.xml")


# Names


def test_a_mapping_gives_ports_their_public_names(load: Load) -> None:
    names = NameMapping({"a": "b", "b": "a"}, {"sum": "total"})
    model = load(tiny.two_inputs(), names)
    assert model.inputs.infos == (
        TensorInfo("a", "FP32", (1, 3)),
        TensorInfo("b", "INT64", (1, 2)),
    )
    assert [info.name for info in model.outputs.infos] == ["double", "total"]
    assert model.inputs.find("a") == 0
    assert model.outputs.find("sum") is None


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("shape", Status.CONFIG_SHAPE_MAPPED_BUT_USED_REAL_NAME),
        ("layout", Status.CONFIG_LAYOUT_MAPPED_BUT_USED_REAL_NAME),
    ],
)
def test_a_config_speaks_of_public_names(load: Load, key: str, status: Status) -> None:
    text = {"shape": "(1,3,8,8)", "layout": "NHWC:NCHW"}[key]
    names = NameMapping({"x": "picture"})
    model = load(image(), names, **{key: {"picture": text}})
    assert model.inputs[0].name == "picture"
    assert model.inputs[0].info.shape in {(1, 3, 8, 8), (1, 4, 6, 3)}
    error = refused(load, image(), names=names, **{key: {"x": text}})
    assert error.status is status


def test_a_mapping_that_makes_two_of_a_name_is_refused(load: Load) -> None:
    error = refused(load, tiny.two_inputs(), names=NameMapping({"a": "b"}))
    assert "two inputs are called b" in error.details


def test_a_mapping_of_what_there_is_not_is_told_with_its_model(
    engine: OpenVINOEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny.save(tmp_path, tiny.two_inputs())
    names = NameMapping({"zip": "a"}, {"sum": "total"})
    engine.load(path, replace(EXACT, names=names))
    line = f"mapping_config.json of {path}: none of its inputs is zip"
    assert [each.getMessage() for each in caplog.records] == [line]


def test_outputs_without_a_name_are_numbered(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    x = tiny.parameter("x", (1, 4))
    path = tiny.save(tmp_path, tiny.model([op.add(x, x), op.multiply(x, x)], [x]))
    # OpenVINO writes names of its own; files of other tools have none.
    path.write_text(re.sub(r' (output_)?names="(?!x")[^"]*"', "", path.read_text()))
    model = engine.load(path, EXACT)
    assert [port.name for port in model.outputs] == ["out_0", "out_1"]
    sent = pixels(1, 4)
    total, product = model.infer([sent]).result(30).outputs
    model.close()
    assert np.array_equal(total, sent + sent)
    assert np.array_equal(product, sent * sent)


# Devices


@pytest.mark.parametrize(
    "device", ["CPU", "AUTO", "AUTO:CPU", "AUTO:GPU,CPU", "MULTI:CPU", "HETERO:CPU"]
)
def test_devices_made_of_a_cpu_infer(load: Load, device: str) -> None:
    model = load(tiny.add_one(), target_device=device, plugin_config={})
    sent = pixels(1, 10)
    assert np.array_equal(infer(model, sent), sent + 1)


@pytest.mark.parametrize("device", ["GPU", "NPU", "MULTI:GPU", "CPUX", "HETERO:NPU"])
def test_a_device_that_is_not_there_is_an_error_that_names_it(
    load: Load, device: str
) -> None:
    error = refused(load, tiny.add_one(), target_device=device, plugin_config={})
    assert error.status is Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
    assert device.rpartition(":")[2] in error.details
    assert "available: CPU" in error.details
