"""Input tensors as clients send them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import Buffer, InputTensor
from ovms_mp.core.tensor import IN_GRAPHS
from ovms_mp.servable.boundary import Kind, to_payload

EVERY = [datatype.name for datatype in IN_GRAPHS]
CONTENTS = {
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int32),
    "INT16": ("int_contents", np.int32),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint32),
    "UINT16": ("uint_contents", np.uint32),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    "FP16": ("fp32_contents", np.float32),
}


def raw(datatype: str, shape: tuple[int, ...], data: Buffer) -> InputTensor:
    return InputTensor("in", datatype, shape, raw=data)


def typed(datatype: str, shape: tuple[int, ...], values: Any) -> InputTensor:
    field, dtype = CONTENTS.get(datatype, ("fp32_contents", np.float32))
    contents = np.array(values, dtype)
    return InputTensor("in", datatype, shape, contents=contents, contents_field=field)


def refusal(kind: Kind, tensor: InputTensor) -> tuple[Status, str]:
    with pytest.raises(ServingError) as caught:
        to_payload(kind, tensor)
    return caught.value.status, caught.value.details
