"""BYTES that models are given, and give: texts, padded texts, pictures. On OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from openvino import opset15 as op15

from ovms_mp.core.adaptation import parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.core.strand import inline
from ovms_mp.core.tensor import Array
from ovms_mp.inference.engine import ModelConfig
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.servable.contents import prefixed
from ovms_mp.servable.decoding import MAX_DECODING
from ovms_mp.servable.model import ModelServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.inference import tiny
from tests.unit.inference.tiny import EXACT

Serve = Callable[..., ModelServable]
WITHIN = 60


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


@pytest.fixture
def serve(engine: OpenVINOEngine, tmp_path: Path) -> Iterator[Serve]:
    served: list[ModelServable] = []

    def serve(
        model: ov.Model, submit: Callable[[Any], object] | None = None, **written: str
    ) -> ModelServable:
        path = tiny.save(tmp_path, model, f"model{len(served)}")
        config = ModelConfig(
            plugin_config=EXACT.plugin_config, adaptation=parse(written)
        )
        compiled = engine.load(path, config)
        served.append(
            ModelServable("m", 1, compiled, Metrics.off(), submit=submit or inline)
        )
        return served[-1]

    yield serve
    for servable in served:
        assert (servable.compiled.busy, servable.compiled.waiting) == (0, 0)
        servable.close()


def raw(values: Sequence[bytes], shape: Sequence[int] | None = None) -> InferRequest:
    shape = (len(values),) if shape is None else tuple(shape)
    tensor = InputTensor("x", "BYTES", tuple(shape), raw=prefixed(values))
    return InferRequest("m", inputs=(tensor,), raw_count=1)


def typed(values: Sequence[bytes], shape: Sequence[int] | None = None) -> InferRequest:
    shape = (len(values),) if shape is None else shape
    tensor = InputTensor(
        "x",
        "BYTES",
        tuple(shape),
        contents=tuple(values),
        contents_field="bytes_contents",
    )
    return InferRequest("m", inputs=(tensor,))


def ask(servable: ModelServable, request: InferRequest) -> Array:
    (output,) = servable.infer(request).result(WITHIN).outputs
    dtype = {"FP32": np.float32, "UINT8": np.uint8, "INT32": np.int32}[output.datatype]
    return np.frombuffer(output.data, dtype).reshape(output.shape)


def refusal(servable: ModelServable, request: InferRequest) -> ServingError:
    with pytest.raises(ServingError) as caught:
        servable.infer(request).result(WITHIN)
    return caught.value


def texts(response: InferResponse) -> list[bytes]:
    (output,) = response.outputs
    assert output.datatype == "BYTES"
    data, found = bytes(output.data), list[bytes]()
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end])
        data = data[end:]
    return found


# Texts


def echo(shape: tiny.Shape = (-1,)) -> ov.Model:
    """y = x, taken apart and put together."""
    x = tiny.parameter("x", shape, ov.Type.string)
    parts = op15.string_tensor_unpack(x).outputs()
    return tiny.model([tiny.named(op15.string_tensor_pack(*parts), "y")], [x])


@pytest.mark.parametrize("send", [raw, typed])
def test_texts_go_through_a_model_of_texts(
    serve: Serve, send: Callable[..., InferRequest]
) -> None:
    servable = serve(echo())
    assert servable.metadata().inputs[0].datatype == "BYTES"
    sent = [b"one", b"", "zw\u00f6lf".encode(), b"\xff\x00 no text"]
    assert texts(servable.infer(send(sent)).result(WITHIN)) == sent
    # Of none OpenVINO gives what it had last, which may be somebody else's.
    assert refusal(servable, send([])).status is Status.BYTES_CONTENTS_EMPTY


def test_a_model_counts_the_bytes_of_texts(serve: Serve) -> None:
    x = tiny.parameter("x", (-1,), ov.Type.string)
    begins, ends, _ = op15.string_tensor_unpack(x).outputs()
    lengths = tiny.named(op.subtract(ends, begins), "y")
    servable = serve(tiny.model([lengths], [x]))
    assert ask(servable, raw([b"four", b"", b"12345678"])).tolist() == [4, 0, 8]


def test_texts_have_the_shape_of_the_input(serve: Serve) -> None:
    servable = serve(echo((2, -1)))
    response = servable.infer(raw([b"a", b"b", b"c", b"d"], (2, 2))).result(WITHIN)
    assert response.outputs[0].shape == (2, 2)
    assert texts(response) == [b"a", b"b", b"c", b"d"]
    for request, status, words in (
        (
            raw([b"a", b"b"], (2,)),
            Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
            "Expected: (2,-1); Actual: (2)",
        ),
        (raw([b"a"], (1, 1)), Status.INVALID_BATCH_SIZE, "Expected: 2; Actual: 1"),
        (
            raw([b"a"], (2, 1)),
            Status.INVALID_VALUE_COUNT,
            "Expected: 2 values; Actual: 1 values",
        ),
    ):
        error = refusal(servable, request)
        assert error.status is status
        assert words in error.details
        assert error.details.endswith("input name: x")


def test_texts_that_cannot_be_are_refused(serve: Serve) -> None:
    servable = serve(echo())
    cut = InputTensor("x", "BYTES", (1,), raw=b"\x09\0\0\0short")
    request = InferRequest("m", inputs=(cut,), raw_count=1)
    assert refusal(servable, request).status is Status.INVALID_CONTENT_SIZE
    assert refusal(servable, raw([b"a\0"])).status is Status.INVALID_STRING_INPUT
    # One long text and many short ones: rows of the longest would be 2 GiB.
    many = [b"x" * (1 << 20), *[b""] * 2047]
    error = refusal(servable, raw(many))
    assert error.status is Status.INVALID_STRING_MAX_SIZE_EXCEEDED
    numbers = InputTensor("x", "FP32", (1,), raw=b"1234")
    error = refusal(servable, InferRequest("m", inputs=(numbers,), raw_count=1))
    assert error.status is Status.INVALID_PRECISION
    assert error.details == "Expected: BYTES; Actual: FP32; input name: x"


# Texts as rows of numbers


def rows(shape: tiny.Shape, output: str = "y") -> ov.Model:
    x = tiny.parameter("x", shape, np.uint8)
    y = op.add(x, op.constant(np.zeros((), np.uint8)))
    return tiny.model([tiny.named(y, output)], [x])


@pytest.mark.parametrize("send", [raw, typed])
def test_texts_become_rows_with_zeros_behind(
    serve: Serve, send: Callable[..., InferRequest]
) -> None:
    got = ask(serve(rows((-1, -1))), send([b"abc", b"", b"zz"]))
    assert got.tolist() == [[97, 98, 99, 0], [0, 0, 0, 0], [122, 122, 0, 0]]


def test_rows_fit_the_model_or_are_refused(serve: Serve) -> None:
    servable = serve(rows((2, 4)))
    assert ask(servable, raw([b"abc", b"z"])).shape == (2, 4)
    error = refusal(servable, raw([b"ab", b"z"]))
    assert error.status is Status.INVALID_SHAPE
    assert error.details == (
        "Expected batch size: 2; got: 2; Expected max null terminated string length: "
        "4; got: 3; input name: x"
    )
    error = refusal(servable, raw([b"abc"]))
    assert error.status is Status.INVALID_BATCH_SIZE
    assert error.details == "Expected: 2; Actual: 1; input name: x"
    error = refusal(servable, raw([b"abc"], (1, 1)))
    assert error.status is Status.INVALID_NO_OF_SHAPE_DIMENSIONS
    assert error.details == (
        "Expected number of input shape dimensions: 1; Actual: 2; input name: x"
    )
    assert refusal(servable, raw([b"abc"], (2,))).status is Status.INVALID_BATCH_SIZE


def test_an_output_called_string_has_texts_of_its_rows(serve: Serve) -> None:
    response = serve(rows((-1, -1), "y_string")).infer(raw([b"abc", b"", b"zz"]))
    assert texts(response.result(WITHIN)) == [b"abc", b"", b"zz"]
    assert response.result(WITHIN).outputs[0].shape == (3,)


# Pictures


def sent(picture: Array, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def picture(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> Array:
    made = np.random.default_rng(height * width).integers(
        0, np.iinfo(dtype).max, (height, width, channels), endpoint=True
    )
    return made.astype(dtype)


def passing(shape: tiny.Shape, dtype: Any = np.float32) -> ov.Model:
    x = tiny.parameter("x", shape, dtype)
    return tiny.model(
        [tiny.named(op.add(x, op.constant(np.zeros((), dtype))), "y")], [x]
    )


@pytest.mark.parametrize("send", [raw, typed])
def test_a_picture_is_in_opencvs_order_of_colours(
    serve: Serve, send: Callable[..., InferRequest]
) -> None:
    servable = serve(passing((1, 6, 8, 3)), layout="NHWC")
    bgr = picture(6, 8)
    assert np.array_equal(ask(servable, send([sent(bgr)]))[0], bgr)


def test_a_picture_is_resized_to_the_model_before_it_is_rounded(serve: Serve) -> None:
    bgr = picture(9, 14)
    for dtype in (np.float32, np.uint8):
        servable = serve(passing((1, 6, 8, 3), dtype), layout="NHWC")
        expected = cv2.resize(bgr.astype(dtype), (8, 6))
        assert np.allclose(ask(servable, raw([sent(bgr)]))[0], expected, atol=1e-4)
    servable = serve(passing((1, 6, 8, 3), np.int32), layout="NHWC")
    expected = np.rint(cv2.resize(bgr.astype(np.float32), (8, 6)))
    assert np.array_equal(ask(servable, raw([sent(bgr)]))[0], expected)


def test_pictures_go_to_a_model_of_another_layout(serve: Serve) -> None:
    servable = serve(
        passing((1, 3, 6, 8)), layout="NHWC:NCHW", color_format="BGR:RGB", scale="255"
    )
    bgr = picture(6, 8)
    expected = bgr[..., ::-1].transpose(2, 0, 1) / 255
    assert np.allclose(ask(servable, raw([sent(bgr)]))[0], expected)


def test_a_size_with_ranges_is_the_nearest_one(serve: Serve) -> None:
    servable = serve(passing((1, (4, 8), (6, 10), 3)), layout="NHWC")
    for height, width, expected in (
        (5, 7, (5, 7)),
        (2, 7, (4, 7)),
        (9, 20, (8, 10)),
    ):
        got = ask(servable, raw([sent(picture(height, width))]))
        assert got.shape == (1, *expected, 3)


def test_where_any_size_goes_all_pictures_have_one(serve: Serve) -> None:
    servable = serve(passing((-1, -1, -1, 3)), layout="NHWC")
    two = [sent(picture(4, 5)), sent(picture(4, 5))]
    assert ask(servable, raw(two)).shape == (2, 4, 5, 3)
    error = refusal(servable, raw([sent(picture(4, 5)), sent(picture(5, 4))]))
    assert error.status is Status.BINARY_IMAGES_RESOLUTION_MISMATCH


def test_pictures_of_many_sizes_are_stacked_where_the_model_has_one(
    serve: Serve,
) -> None:
    servable = serve(passing((2, 6, 8, 3)), layout="NHWC")
    some = [picture(6, 8), picture(12, 9)]
    got = ask(servable, raw([sent(each) for each in some]))
    assert np.array_equal(got[0], some[0])
    assert np.allclose(
        got[1], cv2.resize(some[1].astype(np.float32), (8, 6)), atol=1e-4
    )


def test_a_batch_of_what_comes_takes_as_many_pictures_in_the_size_of_the_file(
    serve: Serve,
) -> None:
    servable = serve(passing((1, 6, 8, 3)), layout="NHWC", batch_size="auto")
    got = ask(servable, raw([sent(picture(3, 4)), sent(picture(6, 8))]))
    assert got.shape == (2, 6, 8, 3)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_those_of_the_model(serve: Serve, channels: int) -> None:
    servable = serve(passing((1, 6, 8, channels)), layout="NHWC")
    own = picture(6, 8, channels)
    assert np.array_equal(ask(servable, raw([sent(own)]))[0], own)
    error = refusal(servable, raw([sent(picture(6, 8))]))
    assert error.status is Status.INVALID_NO_OF_CHANNELS
    assert error.details == f"Expected: {channels}; Actual: 3; input name: x"


def test_sixteen_bits_stay_where_the_model_has_them_and_end_at_its_limits(
    serve: Serve,
) -> None:
    deep = picture(6, 8, 3, np.uint16)
    wide = serve(passing((1, 6, 8, 3), np.int32), layout="NHWC")
    assert np.array_equal(ask(wide, raw([sent(deep)]))[0], deep)
    narrow = serve(passing((1, 6, 8, 3), np.uint8), layout="NHWC")
    expected = np.minimum(deep, 255)
    assert np.array_equal(ask(narrow, raw([sent(deep)]))[0], expected)


def test_pictures_that_cannot_be_are_refused(serve: Serve) -> None:
    servable = serve(passing((1, 6, 8, 3)), layout="NHWC")
    for data, status in (
        ([b"rubbish"], Status.IMAGE_PARSING_FAILED),
        ([b""], Status.BYTES_CONTENTS_EMPTY),
        ([sent(picture(6, 8))[:-40]], Status.IMAGE_PARSING_FAILED),
        ([sent(picture(6, 8))] * 2, Status.INVALID_BATCH_SIZE),
        ([], Status.INVALID_BATCH_SIZE),
    ):
        error = refusal(servable, raw(data))
        assert error.status is status, error.text
        assert "input name: x" in error.details


def test_a_model_of_another_layout_takes_no_pictures(serve: Serve) -> None:
    error = refusal(
        serve(passing((1, 3, 6, 8)), layout="NCHW"), raw([sent(picture(6, 8))])
    )
    assert error.status is Status.UNSUPPORTED_LAYOUT
    # Without a layout nobody knows which side is which: nothing is resized (OVMS).
    servable = serve(passing((1, 6, 8, 3)))
    assert ask(servable, raw([sent(picture(6, 8))])).shape == (1, 6, 8, 3)
    assert refusal(servable, raw([sent(picture(4, 8))])).status is Status.INVALID_SHAPE


def test_pictures_are_decoded_in_another_thread_than_the_readers(serve: Serve) -> None:
    waiting: list[Callable[[], object]] = []
    servable = serve(passing((1, 6, 8, 3)), waiting.append, layout="NHWC")
    data = raw([sent(picture(6, 8))])
    first, second = servable.infer(data), servable.infer(data)
    assert not first.is_settled
    assert second.cancel()
    for work in waiting:
        threading.Thread(target=work).start()
    assert first.result(WITHIN).outputs[0].shape == (1, 6, 8, 3)
    statistics = servable.statistics()
    assert (statistics.success.count, statistics.fail.count) == (1, 0)


def test_who_sends_more_pictures_than_can_wait_hears_so(serve: Serve) -> None:
    waiting: list[Callable[[], object]] = []
    servable = serve(passing((1, 6, 8, 3)), waiting.append, layout="NHWC")
    data = raw([sent(picture(6, 8))])
    asked = [servable.infer(data) for _ in range(MAX_DECODING)]
    assert refusal(servable, data).status is Status.RESOURCE_EXHAUSTED
    for work in waiting:
        work()
    for each in asked:
        each.result(WITHIN)
    waiting.clear()
    late = servable.infer(data)
    waiting[0]()
    late.result(WITHIN)
