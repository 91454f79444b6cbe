"""Arrays that a graph gives to a model are judged as a client's are."""

from __future__ import annotations

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import Array
from ovms_mp.inference.engine import Ports
from ovms_mp.servable.validation import order_inputs
from tests.unit.servable.ports import port

TWO = Ports([port("b", (1, 10)), port("a", (1, 10))])
TEN = np.zeros(10, np.float32)

ORDERED = {
    "count": (
        {"a": TEN.reshape(1, 10)},
        Status.INVALID_NO_OF_INPUTS,
        "Expected: 2; Actual: 1",
    ),
    "unknown": (
        {"a": TEN.reshape(1, 10), "c": TEN.reshape(1, 10)},
        Status.INVALID_UNEXPECTED_INPUT,
        "input name: c",
    ),
    "missing": (
        {"b": TEN.reshape(1, 10), "b:0": TEN.reshape(1, 10)},
        Status.INVALID_MISSING_INPUT,
        "Required input: a",
    ),
    "dtype": (
        {"a": TEN.reshape(1, 10), "b": np.zeros((1, 10), np.int64)},
        Status.INVALID_PRECISION,
        "Expected: FP32; Actual: INT64; input name: b",
    ),
    "dtype without a name on the wire": (
        {"a": TEN.reshape(1, 10), "b": np.zeros((1, 10), np.complex64)},
        Status.INVALID_PRECISION,
        "Expected: FP32; Actual: complex64; input name: b",
    ),
    "shape": (
        {"a": TEN.reshape(1, 10), "b": TEN.reshape(10, 1)},
        Status.INVALID_BATCH_SIZE,
        "Expected: 1; Actual: 10; input name: b",
    ),
}


@pytest.mark.parametrize(
    ("arrays", "status", "details"), ORDERED.values(), ids=ORDERED.keys()
)
def test_arrays_of_a_graph_are_judged_in_the_same_words(
    arrays: dict[str, Array], status: Status, details: str
) -> None:
    with pytest.raises(ServingError) as caught:
        order_inputs(arrays, TWO)
    assert (caught.value.status, caught.value.details) == (status, details)


def test_arrays_come_in_the_models_order() -> None:
    a, b = TEN.reshape(1, 10), TEN.reshape(1, 10) + 1
    assert [array[0, 0] for array in order_inputs({"a": a, "b": b}, TWO)] == [1, 0]
