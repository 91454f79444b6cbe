"""What is written into the form is what is asked, and what is answered is what is shown,
whatever the datatype.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.wire import zoo
from tests.wire.servers import serving

ECHO = """
input_stream: "OVMS_PY_TENSOR:in"
output_stream: "OVMS_PY_TENSOR:out"
node {
  name: "echo"
  calculator: "PythonExecutorCalculator"
  input_side_packet: "PYTHON_NODE_RESOURCES:py"
  input_stream: "IN:in"
  output_stream: "OUT:out"
  node_options: {
    [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: {
      handler_path: "echo.py"
    }
  }
}
"""
HANDLER = """
from pyovms import Tensor


class OvmsPythonModel:
    def execute(self, inputs):
        (tensor,) = inputs
        return [Tensor("out", bytes(tensor), list(tensor.shape), tensor.datatype)]
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("values")
    zoo.add_graph(root, "echo", ECHO)
    (Path(root) / "echo" / "echo.py").write_text(HANDLER)
    with serving(zoo.write_config(root, [], [{"name": "echo"}])) as server:
        yield Site(server, "echo")


@pytest.mark.parametrize(
    ("datatype", "written", "shown"),
    [
        ("INT64", "[9223372036854775807, -9223372036854775808]", None),
        ("UINT64", "[18446744073709551615, 0]", None),
        ("FP32", '[0.1, "NaN", "-Infinity", 3.4028235e+38]', None),
        ("FP32", "[-0.0, 1e-45]", "[-0,1.4013e-45]"),
        ("FP64", '[0.1, "Infinity", 1e-300]', None),
        ("FP16", "[0.5, 65504, -0.0009765625]", None),
        ("BF16", "[1.5, -2, 65536]", None),
        ("BOOL", "[true, false]", None),
        ("INT8", "[-128, 127]", None),
        ("BYTES", '["a\\"b", "", "\\u00e9"]', '["a\\"b","","\u00e9"]'),
        ("BYTES", '[{"b64": "/wA="}]', None),
    ],
)
def test_values_come_back_as_they_were_written(
    page: Page, echo: Site, datatype: str, written: str, shown: str | None
) -> None:
    page.goto(echo.page)
    form = page.locator("#request")
    form.get_by_label("Datatype").select_option(datatype)
    form.get_by_label("Shape").fill(str(written.count(",") + 1))
    form.get_by_label("Values, as JSON").fill(written)
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_have_text(re.compile(r"^Answered in \d+ ms"))
    said = form.locator(".answer pre")
    expect(said).to_have_text(shown or written.replace(" ", ""))


@pytest.mark.parametrize(
    ("datatype", "zeros"),
    [("FP32", "[0,0]"), ("BOOL", "[false,false]"), ("BYTES", '["",""]')],
)
def test_zeros_are_of_the_datatype_and_the_shape(
    page: Page, echo: Site, datatype: str, zeros: str
) -> None:
    page.goto(echo.page)
    form = page.locator("#request")
    form.get_by_label("Datatype").select_option(datatype)
    form.get_by_label("Shape").fill("1, 2")
    expect(form.get_by_label("Values, as JSON")).to_have_value(zeros)
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".answer pre")).to_have_text(zeros)
    form.get_by_label("Values, as JSON").fill("[7]")
    form.get_by_label("Shape").fill("1")
    expect(form.get_by_label("Values, as JSON")).to_have_value("[7]")
