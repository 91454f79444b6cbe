"""What ports are called, and what they say of models that no device has compiled."""

from __future__ import annotations

import pytest
from openvino import opset13 as op

from ovms_mp.inference.openvino.ports import ports_of, published_name
from tests.unit.inference import tiny


def test_a_port_of_unknown_rank_has_no_shape() -> None:
    """Whether such a model compiles is the device's choice; the CPU refuses it."""
    model = tiny.add_one(None)
    (port,) = ports_of(model.inputs, model.inputs, "in")
    assert port.shape is None
    assert port.info.shape == ()
    assert not port.is_static


@pytest.mark.parametrize(
    ("names", "published"),
    [
        ({"b", "a"}, "a"),
        ({"serving/x", "x:0", "x"}, "x"),
        ({"a/path", "name"}, "name"),
        ({"z/path", "a/path"}, "a/path"),
        (set[str](), None),
    ],
)
def test_the_published_name_is_the_first_that_is_no_path(
    names: set[str], published: str | None
) -> None:
    assert published_name(names) == published


def test_a_port_without_a_name_of_its_own_gets_one_by_its_number() -> None:
    """OpenVINO of today names what a file does not; two outputs of one tensor share."""
    x = tiny.parameter("x", (2,))
    y = tiny.named(op.relu(x), "y")
    model = tiny.model([y, y], [x])
    ports = ports_of(model.outputs, model.outputs, "out")
    assert [port.name for port in ports] == ["y", "out_1"]
    assert [ports.find(name) for name in ("y", "out_1")] == [0, 1]
