"""Names and classes: from packages, from folders, one class under many names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from ovms_mp.calculator import (
    Calculator,
    Context,
    ContractError,
    Input,
    Options,
    Output,
    Services,
)
from ovms_mp.core.errors import ServingError
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry

CALCULATOR = """
from ovms_mp.calculator import Calculator, Context, Input, Output

class {name}(Calculator):
    value = Input(int)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, ctx[self.value])
"""


def written(name: str) -> str:
    return CALCULATOR.format(name=name)


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        file = path / f"{name}.py".replace("__slash__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def loaded(path: Path, **files: str) -> Registry:
    registry = Registry()
    registry.add_folder(folder(path, **files))
    return registry


def complaint(registry: Registry, name: str) -> str:
    """Why a graph with a node of the calculator is not served."""
    text = f'node {{ calculator: "{name}" }}'
    parsed = config.parse(text.encode(), "graph.pbtxt")
    with pytest.raises(ServingError) as caught:
        builder.load(parsed, registry, Path(), Services())
    return caught.value.text


def test_one_class_serves_a_family_of_names():
    class Begin(Calculator):
        value = Input(Any)
        out = Output(str)

        def process(self, ctx: Context) -> None:
            ctx.send(self.out, self.node.calculator)

    registry = Registry()
    for name in ("BeginLoopFloat", "BeginLoopInt"):
        registry.add(name, Begin, "the tests")
    text = """
      input_stream: "in"
      node { calculator: "BeginLoopFloat" input_stream: "in" output_stream: "f" }
      node { calculator: "BeginLoopInt" input_stream: "in" output_stream: "i" }
    """
    parsed = config.parse(text.encode(), "graph.pbtxt")
    nodes = builder.load(parsed, registry, Path(), Services()).nodes
    told = [node.instantiate().node.calculator for node in nodes]
    assert told == ["BeginLoopFloat", "BeginLoopInt"]


def test_calculators_of_a_folder_have_the_names_of_their_classes(tmp_path: Path):
    registry = loaded(tmp_path, first=written("First"), second=written("Second"))
    assert list(registry.names()) == ["First", "Second"]
    first = registry.find("First")
    assert first is not None
    assert first.origin == "'first.py' of the calculators path"


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder(tmp_path / "mine", first=written("First"))
    monkeypatch.chdir(tmp_path)
    registry = Registry()
    registry.add_folder(Path("mine"))
    assert list(registry.names()) == ["First"]


def test_only_public_classes_written_in_the_module_are_its_calculators(tmp_path: Path):
    text = written("_Hidden") + written("Shown")
    more = "from .base import Shown as Again\nfrom .base import Shown\n"
    assert list(loaded(tmp_path, base=text, more=more).names()) == ["Shown"]


def test_a_mapping_gives_other_names(tmp_path: Path):
    text = written("Any") + 'calculators = {"FloatCalculator": Any, "Int": Any}\n'
    registry = loaded(tmp_path, family=text)
    assert list(registry.names()) == ["FloatCalculator", "Int"]


def test_modules_of_a_folder_import_each_other_relatively(tmp_path: Path):
    text = "from . import _values\n" + written("User").replace(
        "ctx[self.value]", "_values.FACTOR"
    )
    registry = loaded(tmp_path, user=text, _values="FACTOR = 3\n")
    assert registry.find("User") is not None


def test_a_package_of_a_folder_is_a_module(tmp_path: Path):
    files = {
        "pack__slash____init__": "from .inner import Inner\n",
        "pack__slash__inner": written("Inner"),
        "tests__slash__test_it": "raise RuntimeError",
    }
    registry = loaded(tmp_path, **files)
    assert list(registry.names()) == ["Inner"]
    assert registry.missing("X") == 'there is no calculator named "X"'


def test_an_init_file_comes_first_and_may_have_calculators(tmp_path: Path):
    files = {"__init__": written("Base"), "other": "from . import Base\n"}
    assert list(loaded(tmp_path, **files).names()) == ["Base"]


def test_a_folder_hides_no_module_and_leaves_the_path_alone(tmp_path: Path):
    path = list(sys.path)
    text = "import json\njson.dumps\n" + written("UsesJson")
    registry = loaded(tmp_path, json="raise RuntimeError('hidden')", uses=text)
    assert registry.find("UsesJson") is not None
    assert sys.path == path
    assert "json.py failed to import" in registry.missing("X")


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path):
    registry = Registry()
    registry.add_folder(folder(tmp_path / "a", scale=written("A")))
    registry.add_folder(folder(tmp_path / "b", scale=written("B")))
    assert list(registry.names()) == ["A", "B"]


@pytest.mark.parametrize(
    "fault",
    ["import no_such_module", "1 +", "raise SystemExit(3)", "calculators = [1]"],
)
def test_a_file_that_fails_disturbs_only_graphs_that_name_what_is_missing(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
):
    registry = loaded(tmp_path, broken=fault, fine=written("Fine"))
    assert registry.find("Fine") is not None
    assert complaint(registry, "Broken").endswith(
        'graph.pbtxt:1: node "Broken": there is no calculator named "Broken"; of the '
        "calculators path, broken.py failed to import"
    )
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(tmp_path / "broken.py") in record.getMessage()


def test_a_file_name_that_no_module_can_have_is_told(tmp_path: Path):
    (tmp_path / "a.b.py").write_text(written("Dotted"))
    registry = loaded(tmp_path)
    assert list(registry.names()) == []
    assert "a.b.py failed to import" in registry.missing("Dotted")


def test_a_wrong_contract_in_a_folder_disturbs_only_graphs_that_name_it(tmp_path: Path):
    wrong = written("Wrong") + "    max_in_flight = 0\n"
    registry = loaded(tmp_path, right=written("Right"), wrong=wrong)
    assert registry.find("Right") is not None
    assert complaint(registry, "Wrong").endswith(
        "calculator 'Wrong' from 'wrong.py' of the calculators path: max_in_flight "
        "should be an int of at least 1, not 0"
    )


def test_a_name_that_is_taken_is_an_error_that_names_both_origins(tmp_path: Path):
    files = {"a": written("Twice"), "b": written("Twice")}
    with pytest.raises(ContractError) as caught:
        loaded(tmp_path, **files)
    assert str(caught.value) == (
        "calculator 'Twice' comes from 'a.py' of the calculators path and from 'b.py' "
        "of the calculators path"
    )


def test_a_folder_may_not_take_the_name_of_an_installed_calculator(tmp_path: Path):
    registry = Registry.installed()
    with pytest.raises(
        ContractError, match=r"comes from distribution 'ovms-mp .*' and"
    ):
        registry.add_folder(folder(tmp_path, mine=written("PassThroughCalculator")))


def scale_options() -> type[Message]:
    """A message of a pool that is nobody else's."""
    file = descriptor_pb2.FileDescriptorProto(name="scale.proto", package="acme")
    file.message_type.add(name="ScaleOptions").field.add(
        name="factor",
        number=1,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("acme.ScaleOptions")
    return message_factory.GetMessageClass(found)


def test_options_are_of_the_descriptor_pool_that_the_calculator_takes():
    message = scale_options()

    class Scale(Calculator):
        options = Options(message)

    registry = Registry()
    registry.add("Scale", Scale, "the tests")
    assert registry.options("Scale") is message
    assert registry.options("Unknown") is None
    text = b"""
      node {
        calculator: "Scale"
        node_options { [type.googleapis.com/acme.ScaleOptions] { factor: 3 } }
      }
    """
    parsed = config.parse(text, "graph.pbtxt", options=registry.options)
    (node,) = builder.load(parsed, registry, Path(), Services()).nodes
    options = node.attributes["options"]
    assert options.factor == 3
    assert isinstance(options, message)


def test_who_has_no_options_or_a_wrong_contract_tells_none(tmp_path: Path):
    wrong = written("Wrong") + "    max_in_flight = 0\n"
    registry = loaded(tmp_path, right=written("Right"), wrong=wrong)
    assert registry.options("Right") is None
    assert registry.options("Wrong") is None
