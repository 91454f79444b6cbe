"""Laws of OpenVINOModelServerSessionCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.session import OpenVINOModelServerSessionCalculator

from ovms_mp.calculator import Services
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.support import GraphOf, OneModel, floats, services

GRAPH = """
input_stream: "in" output_stream: "out"
node { calculator: "OpenVINOInferenceCalculator"
       input_side_packet: "SESSION:session"
       input_stream: "OVTENSORS:in" output_stream: "OVTENSORS:out"
       node_options: {
         [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
           input_order_list: ["a", "b"] output_order_list: ["sum"] } } }
node { calculator: "OpenVINOModelServerSessionCalculator"
       output_side_packet: "SESSION:session" %s }
"""


def options(text: str) -> str:
    name = "mediapipe.OpenVINOModelServerSessionCalculatorOptions"
    return f"node_options: {{ [type.googleapis.com/{name}]: {{ {text} }} }}"


def loaded(text: str, offered: Services | None = None) -> CalculatorRunner:
    node = 'calculator: "OpenVINOModelServerSessionCalculator" output_side_packet: '
    return CalculatorRunner(
        OpenVINOModelServerSessionCalculator,
        f'{node} "SESSION:session" {text}',
        services=services() if offered is None else offered,
    )


def test_the_session_reaches_the_nodes_that_infer_wherever_they_stand():
    graph = GraphOf(GRAPH % options('servable_name: "arithmetic"'))
    graph.start()
    graph.feed("in", [floats(1, 2), floats(3, 4)], at=5)
    assert graph.error is None
    ((at, (total,)),) = graph.outputs["out"]
    assert at == 5
    assert total.tolist() == [4, 6]


@pytest.mark.parametrize("version", ["", "0", "3", "03", "latest", "-1"])
def test_a_version_that_is_no_positive_number_is_the_default_one(version: str):
    loaded(options(f'servable_name: "arithmetic" servable_version: "{version}"'))


def test_a_model_that_is_missing_is_known_when_the_graph_is_loaded():
    with pytest.raises(ServingError, match="nobody") as caught:
        loaded(options('servable_name: "nobody"'))
    assert caught.value.status is Status.MODEL_NAME_MISSING


def test_a_version_that_is_missing_is_known_when_the_graph_is_loaded():
    with pytest.raises(ServingError, match="12") as caught:
        loaded(options('servable_name: "arithmetic" servable_version: "12"'))
    assert caught.value.status is Status.MODEL_VERSION_MISSING


@pytest.mark.parametrize("text", ["", options("")])
def test_the_name_of_the_model_is_required(text: str):
    with pytest.raises(ServingError, match=r"servable_name|SessionCalculatorOptions"):
        loaded(text)


def test_options_of_standalone_applications_change_nothing():
    loaded(options('servable_name: "arithmetic" service_url: "x" server_config: "y"'))


def test_a_graph_without_models_says_so():
    with pytest.raises(ServingError, match="there are no models to choose from"):
        loaded(options('servable_name: "arithmetic"'), Services())


def test_one_session_serves_many_nodes():
    models = OneModel()
    node = """
    node { calculator: "OpenVINOInferenceCalculator"
           input_side_packet: "SESSION:session"
           input_stream: "OVTENSORS:in" output_stream: "OVTENSORS:second"
           node_options: {
             [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
               input_order_list: ["a", "b"] } } }
    """
    text = GRAPH % options('servable_name: "arithmetic"')
    graph = GraphOf(f'output_stream: "second" {text} {node}', offered=services(models))
    graph.start()
    graph.feed("in", [floats(1), floats(2)], at=0)
    assert len(models.model.waiting) == 2
    assert [len(graph.outputs[name]) for name in ("out", "second")] == [1, 1]
