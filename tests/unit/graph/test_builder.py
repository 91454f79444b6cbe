"""What is wrong with a graph is known when it is loaded, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovms_mp.calculator import Calculator, ContractError, Input, Output, Services
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from tests.unit.graph.support import define, registry

PASS = 'calculator: "PassThrough"'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('node {\n calculator: "Nope" }', 1, 'no calculator named "Nope"'),
        (
            f'input_stream: "a"\nnode {{ {PASS} input_stream: "a" output_stream: "a" }}',
            2,
            "already made by",
        ),
        (f'node {{ {PASS}\n input_stream: "a" output_stream: "b" }}', 2, "no producer"),
        ('\noutput_stream: "x"', 2, "no producer"),
        (
            (
                f'node {{ name: "one" {PASS} input_stream: "b" output_stream: "a" }}\n'
                f'node {{ name: "two" {PASS} input_stream: "a" output_stream: "b" }}'
            ),
            1,
            '"one" <- "two" <- "one"',
        ),
        (
            'node {\n calculator: "Takes" input_stream: "IN:a" output_stream: "LENGTH:b" }',
            1,
            '"IN:a" is unknown',
        ),
        (
            'input_stream: "a"\nnode { calculator: "Takes" input_stream: "TEXT:a" }',
            2,
            "output stream LENGTH is missing",
        ),
        (
            (
                'input_stream: "a" input_stream: "b"\nnode { calculator: "Takes" '
                'input_stream: "TEXT:0:a" input_stream: "TEXT:1:b" output_stream: "LENGTH:c" }'
            ),
            2,
            "given 2 times",
        ),
        (
            (
                'input_stream: "a" node { calculator: "Takes" input_stream: "TEXT:a" output_stream: "LENGTH:n" }\n'
                'node { calculator: "Takes"\n input_stream: "TEXT:n" output_stream: "LENGTH:m" }'
            ),
            3,
            "carries int, the calculator takes str",
        ),
        (
            (
                f'input_stream: "a" node {{ {PASS} input_stream: "a" output_stream: "b"\n'
                ' input_stream_handler { input_stream_handler: "Nope" } }'
            ),
            2,
            '"Nope" does not exist',
        ),
        ('input_stream: "a"\ninput_stream: "A:a"', 2, "declared twice"),
    ],
)
def test_a_fault_names_file_line_and_what_was_expected(text, line, message):
    with pytest.raises(ServingError) as caught:
        define(text)
    assert f"graph.pbtxt:{line}: " in caught.value.text, caught.value.text
    assert message in caught.value.text


def test_options_of_another_calculator_have_no_effect_and_the_log_says_so(caplog):
    """As in MediaPipe, which says nothing."""
    define(
        f'input_stream: "a"\nnode {{ {PASS} input_stream: "a" output_stream: "b" node_options {{ '
        '[type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions] { handler_path: "x" } } }'
    )
    (said,) = [
        each.getMessage() for each in caplog.records if each.levelname == "WARNING"
    ]
    assert "graph.pbtxt:2: options mediapipe.PythonExecutorCalculatorOptions" in said
    assert "are not those of PassThrough, and have no effect" in said


def test_nodes_are_opened_after_those_that_feed_them():
    definition = define(
        'input_stream: "a" '
        f'node {{ name: "last" {PASS} input_stream: "c" output_stream: "d" }} '
        f'node {{ name: "mid" {PASS} input_stream: "b" output_stream: "c" }} '
        f'node {{ name: "first" {PASS} input_stream: "a" output_stream: "b" }}'
    )
    assert [node.info.name for node in definition.nodes] == ["first", "mid", "last"]


def test_what_a_node_loads_is_loaded_once_and_unloaded_when_a_later_one_fails():
    told = []

    class Loads(Calculator):
        value = Input(object)
        out = Output(object)

        @classmethod
        def load(cls, node):
            if node.name == "bad":
                raise ContractError("cannot")
            told.append(f"load {node.name}")
            return node.name

        @classmethod
        def unload(cls, shared):
            told.append(f"unload {shared}")

        def process(self, ctx):
            pass

    known = Registry()
    known.add("Loads", Loads, "the tests")
    text = (
        'input_stream: "a" node { name: "good" calculator: "Loads" input_stream: "a" output_stream: "b" }\n'
        'node { name: "bad" calculator: "Loads" input_stream: "b" output_stream: "c" }'
    )
    parsed = config.parse(text.encode(), "graph.pbtxt")
    with pytest.raises(ServingError, match=r'graph\.pbtxt:2: node "bad": cannot'):
        builder.load(parsed, known, Path(), Services())
    assert told == ["load good", "unload good"]


def test_what_a_calculator_refuses_to_load_keeps_its_status_and_gets_a_line():
    class Refuses(Calculator):
        value = Input(object)

        @classmethod
        def load(cls, node):
            raise ServingError(Status.PYTHON_NODE_MISSING_NAME, "why")

        def process(self, ctx):
            pass

    known = Registry()
    known.add("Refuses", Refuses, "the tests")
    text = b'input_stream: "a"\nnode { calculator: "Refuses" input_stream: "a" }'
    with pytest.raises(ServingError) as caught:
        builder.load(config.parse(text, "graph.pbtxt"), known, Path(), Services())
    assert caught.value.status is Status.PYTHON_NODE_MISSING_NAME
    assert caught.value.details == "graph.pbtxt:2: why"


def test_a_contract_that_makes_no_sense_is_refused_with_its_origin():
    class Twice(Calculator):
        one = Output(int, "X")
        two = Output(int, "X")

    with pytest.raises(
        ContractError, match=r"'T' from acme 1\.0: output 'X' is declared twice"
    ):
        Registry().add("T", Twice, "acme 1.0")


def test_a_name_belongs_to_one_calculator():
    known = registry()
    with pytest.raises(ContractError, match="comes from the tests and from acme"):
        known.add("PassThrough", Calculator, "acme")


def test_installed_calculators_are_found_by_their_entry_points():
    assert "PassThroughCalculator" in Registry.installed().names()
