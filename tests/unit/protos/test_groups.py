"""The groups live beside anybody's copy of the same protos, and say what they offer."""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import ovms_mp_protos
import pytest
from google.protobuf.message import Message
from ovms_mp_protos import graph, kserve

PACKAGE = Path(ovms_mp_protos.__file__).parent

NEIGHBOURS = {
    "tritonclient": (
        "from tritonclient.grpc import service_pb2 as other",
        "from ovms_mp_protos import kserve as own",
        "ModelInferRequest(model_name='m')",
    ),
    "mediapipe": (
        "from mediapipe.framework import calculator_pb2 as other",
        "from ovms_mp_protos import graph as own",
        "CalculatorGraphConfig(input_stream=['a'])",
    ),
}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("neighbour", sorted(NEIGHBOURS))
def test_a_copy_of_the_same_protos_lives_in_the_same_process(
    neighbour: str, ours_first: bool
) -> None:
    if find_spec(neighbour) is None:
        pytest.skip(f"needs {neighbour}")
    other, own, message = NEIGHBOURS[neighbour]
    imports = [own, other] if ours_first else [other, own]
    check = f"assert own.{message}.SerializeToString() == other.{message}.SerializeToString()"
    done = run("\n".join([*imports, check]))
    assert done.returncode == 0, done.stderr


def test_the_default_pool_learns_nothing() -> None:
    done = run(
        "from google.protobuf import descriptor_pool\n"
        "from ovms_mp_protos import graph, kserve\n"
        "for name in ('inference.ModelInferRequest', 'mediapipe.CalculatorOptions'):\n"
        "    try: descriptor_pool.Default().FindMessageTypeByName(name)\n"
        "    except KeyError: continue\n"
        "    raise SystemExit(name)\n"
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_no_group() -> None:
    done = run("import sys, ovms_mp_protos; sys.exit('google.protobuf' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_pure_python_protobuf_is_refused_with_the_way_out() -> None:
    done = run(
        "import ovms_mp_protos.kserve", PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python"
    )
    assert done.returncode == 1
    assert "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION" in done.stderr.splitlines()[-1]


def declared(body: list[ast.stmt]) -> set[str]:
    """What a stub's body declares, imports apart."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names.add(statement.name)
        elif isinstance(statement, ast.AnnAssign):
            assert isinstance(statement.target, ast.Name)
            names.add(statement.target.id)
    return names


def stub(module: ModuleType) -> list[ast.stmt]:
    name = module.__name__.rpartition(".")[2]
    return ast.parse((PACKAGE / f"{name}.pyi").read_text(encoding="utf-8")).body


@pytest.mark.parametrize("module", [kserve, graph])
def test_the_stub_declares_what_the_module_offers(module: ModuleType) -> None:
    own = {"annotations", "groups"}
    offered = {name for name in vars(module) if not name.startswith("_")} - own
    assert declared(stub(module)) == offered


def undefined(body: list[ast.stmt], owner: type[Message]) -> list[str]:
    """Names that a stub's class declares, and neither class nor message has."""
    message = owner()
    names = declared(body)
    found = [n for n in names if not (hasattr(owner, n) or hasattr(message, n))]
    for nested in body:
        if isinstance(nested, ast.ClassDef):
            found += undefined(nested.body, getattr(owner, nested.name))
    return [f"{owner.__name__}.{name}" for name in found]


@pytest.mark.parametrize("module", [kserve, graph])
def test_every_attribute_that_a_stub_declares_is_there(module: ModuleType) -> None:
    classes = [each for each in stub(module) if isinstance(each, ast.ClassDef)]
    assert len(classes) > 20
    found = [undefined(each.body, getattr(module, each.name)) for each in classes]
    assert list(itertools.chain(*found)) == []


def test_constants_of_the_stubs_are_the_values_at_run_time() -> None:
    def constants(
        body: list[ast.stmt], owner: object
    ) -> list[tuple[str, object, object]]:
        found: list[tuple[str, object, object]] = []
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                found += constants(statement.body, getattr(owner, statement.name))
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                name = ast.unparse(statement.target)
                value = ast.literal_eval(statement.value)
                found.append((name, value, getattr(owner, name)))
        return found

    every = [*constants(stub(kserve), kserve), *constants(stub(graph), graph)]
    assert len(every) > 200
    assert [each for each in every if each[1] != each[2]] == []


def test_a_path_is_what_grpc_calls() -> None:
    service = "/inference.GRPCInferenceService"
    assert f"{service}/ModelStreamInfer" == kserve.MODEL_STREAM_INFER
    assert kserve.HEALTH_CHECK == "/grpc.health.v1.Health/Check"
    assert kserve.HEALTH_WATCH == "/grpc.health.v1.Health/Watch"
    for version, path in (
        ("v1", kserve.SERVER_REFLECTION_INFO),
        ("v1alpha", kserve.V1ALPHA_SERVER_REFLECTION_INFO),
    ):
        reflection = f"grpc.reflection.{version}.ServerReflection"
        assert path == f"/{reflection}/ServerReflectionInfo"


def test_a_message_has_one_class_however_it_is_asked_for() -> None:
    request = kserve.ModelInferRequest()
    request.inputs.add(name="x")
    nested = kserve.ModelInferRequest.InferInputTensor
    assert kserve.message_class("inference.ModelInferRequest") is type(request)
    assert type(request.inputs[0]) is nested
    assert (
        kserve.message_class("inference.ModelInferRequest.InferInputTensor") is nested
    )
    assert issubclass(nested, Message)


def test_a_message_that_no_group_has_is_a_key_error() -> None:
    for module, name in itertools.product(
        (kserve, graph), ("no.Such", "", "inference")
    ):
        with pytest.raises(KeyError):
            module.message_class(name)
