"""What a table on a page lists is what the code has."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from ovms_mp_protos import graph

from ovms_mp import cli
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.stream_policy import STREAM_PARAMETERS
from ovms_mp.core.tensor import Datatype
from ovms_mp.frontend.access import Realm
from ovms_mp.frontend.grpc import access as grpc_access
from ovms_mp.frontend.grpc.status import CODES
from ovms_mp.frontend.http import app as http_app
from ovms_mp.frontend.http import errors as rest_errors
from ovms_mp.frontend.http import management, values
from ovms_mp.frontend.http.app import Rest
from ovms_mp.frontend.http.looks import Looks
from ovms_mp.frontend.http.seeing import Seeing
from ovms_mp.graph import config as graph_config
from ovms_mp.graph import handlers
from ovms_mp.graph.registry import Registry
from ovms_mp.repository import schema
from ovms_mp.servable import boundary
from ovms_mp.servable.status import Report
from ovms_mp.servable.watching import Watching
from ovms_mp.settings import settings_from
from ovms_mp.telemetry.families import FAMILIES, OF_WORKERS
from ovms_mp.telemetry.recent import Recent
from tests.docs.blocks import Table, blocks_of
from tests.fakes.catalog import FakeCatalog

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
CALCULATORS = [each.name for each in entry_points(group="ovms_mp.calculators")]
FLOW = " calculators: "  # of flow, of vision


def words(cell: str) -> list[str]:
    """The words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def named(table: Table) -> list[str]:
    """All words in the first column."""
    return [word for row in table.rows for word in words(row[0])]


def flags_by_group(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """What `--help` says: flags and their help texts, by the titles of their groups."""
    assert cli.main(["--help"]) == 0
    groups: dict[str, dict[str, str]] = {}
    for title, body in re.findall(
        r"^(\w.*):\n((?:  .*\n)+)", capsys.readouterr().out, re.MULTILINE
    ):
        flags = re.findall(
            r"^  (?:-h, )?(--\S+)(?: \S+)? *(.*(?:\n {4,}.*)*)", body, re.MULTILINE
        )
        groups[title] = {name: " ".join(told.split()) for name, told in flags}
    return groups


def test_every_flag_is_in_the_table_of_what_becomes_of_it(
    tables: dict[str, Table], capsys: pytest.CaptureFixture[str]
) -> None:
    groups = flags_by_group(capsys)
    refused = groups.pop("not supported")
    in_vain = groups.pop("accepted without effect")
    assert sorted(named(tables["flags refused"])) == sorted(refused)
    shown = {
        flag: why
        for flags, why in tables["flags without effect"].rows
        for flag in words(flags)
    }
    assert shown == in_vain
    working = [flag for flags in groups.values() for flag in flags]
    assert sorted(named(tables["flags"])) == sorted(working)


def test_the_defaults_of_flags_are_those_of_the_settings(
    tables: dict[str, Table],
) -> None:
    settings: Any = settings_from({"model_name": "m", "model_path": "m"})
    seen = 0
    for flag, default, _ in tables["flags"].rows:
        name = words(flag)[0].removeprefix("--").replace("grpc_bind", "bind")
        name = name.replace("bind_address", "bind_addresses")
        value = next(
            (
                getattr(each, name)
                for each in (settings, settings.rest, settings.limits)
                if hasattr(each, name)
            ),
            None,
        )
        if value is None or value == () or not words(default):
            continue
        text = value[0] if isinstance(value, tuple) else value
        assert words(default) == [
            str(text).lower() if isinstance(text, bool) else str(text)
        ]
        seen += 1
    assert seen >= 12


def test_every_conversion_is_in_its_table(tables: dict[str, Table]) -> None:
    installed = {each.name for each in entry_points(group="ovms_mp.conversions")}
    assert set(named(tables["conversions"])) == installed


def test_every_key_of_a_config_is_in_its_table(tables: dict[str, Table]) -> None:
    assert sorted(named(tables["model keys"])) == sorted(schema._MODEL_KEYS)
    assert sorted(tables["graph keys"].column(0)) == sorted(schema._GRAPH_KEYS)


def test_every_key_of_a_streams_policy_is_in_its_table(
    tables: dict[str, Table],
) -> None:
    rows = tables["stream policies"].rows
    assert sorted(words(row[0])[0] for row in rows) == sorted(schema._STREAM_KEYS)
    parameters = {word for row in rows for word in words(row[2])}
    assert parameters == STREAM_PARAMETERS


def test_every_metric_is_in_its_table(tables: dict[str, Table]) -> None:
    for name, families in (("metrics", FAMILIES), ("metrics of workers", OF_WORKERS)):
        assert [(row[0].strip("`"), row[1]) for row in tables[name].rows] == [
            (family.name, "on" if family.is_default else "off") for family in families
        ]


def test_every_status_is_in_a_table_with_its_code(tables: dict[str, Table]) -> None:
    shown = [
        (row[0].strip("`"), row[1].strip("`"))
        for name in ("statuses of requests", "statuses of loading")
        for row in tables[name].rows
    ]
    assert sorted(shown) == sorted(
        (status.value, CODES[status].name) for status in Status
    )


def test_codes_that_differ_from_ovms_are_ours(tables: dict[str, Table]) -> None:
    for text, _, ours in tables["codes that differ"].rows:
        assert CODES[Status(text.strip("`"))].name == ours.strip("`")


def test_every_path_of_rest_is_in_its_table(tables: dict[str, Table]) -> None:
    app = Rest(FakeCatalog(), Report, "1", page=lambda: b"")
    app.close()
    known = [(route.methods, route.path) for route in app.routes]
    shown = [
        ({method} | ({"HEAD"} if method == "GET" else set()), path.strip("`"))
        for method, path, _ in tables["paths of REST"].rows
    ]
    assert shown == known


def test_every_path_of_the_page_is_in_its_table(tables: dict[str, Table]) -> None:
    looks = Looks(FakeCatalog(), Watching(), Recent())
    seeing = Seeing(FakeCatalog(), looks, has_page=True)
    known = [(method, path) for method, path, _ in seeing.handlers()]
    shown = [
        (method, path)
        for method, paths, _ in tables["paths of the page"].rows
        for path in words(paths)
    ]
    assert shown == known


def test_what_wants_no_key_or_another_is_in_the_table(
    tables: dict[str, Table],
) -> None:
    names = {
        each.rpartition("/")[2]: realm for each, realm in grpc_access.REALMS.items()
    }
    known = {**names, **http_app.REALMS}
    shown = {
        name: Realm[realm.strip("`")]
        for realm, _, what in tables["realms"].rows
        for name in words(what)
    }
    assert shown == known
    assert {realm.strip("`") for realm, _, _ in tables["realms"].rows} == {
        realm.name for realm in Realm
    }


def test_every_error_of_rest_is_in_a_table_with_its_code(
    tables: dict[str, Table],
) -> None:
    shown = {row[0].strip("`"): int(row[1]) for row in tables["codes of REST"].rows}
    assert shown == {code.name: http for code, http in rest_errors.CODES.items()}
    assert set(rest_errors.CODES) == set(CODES.values())
    shown = {row[0].strip("`"): int(row[1]) for row in tables["problems of REST"].rows}
    assert shown == {text: http for http, text in map(_value, rest_errors.Problem)}
    texts = {row[1].strip("`") for row in tables["answers to a reload"].rows}
    assert texts >= {
        management.CONFIG_UNREADABLE,
        management.CONFIG_FAILED,
        management.VERSIONS_FAILED,
    }


def _value(problem: rest_errors.Problem) -> tuple[int, str]:
    return problem.value


def test_every_test_of_security_is_in_its_table(
    root: Any, tables: dict[str, Table]
) -> None:
    named = {file for row in tables["tests of security"].rows for file in words(row[2])}
    assert not [file for file in named if not (root / file).is_file()]
    there = {f"tests/security/{each.name}" for each in root.glob("tests/security/*.py")}
    assert there <= named


def test_every_datatype_has_its_json_in_the_table(tables: dict[str, Table]) -> None:
    known = [*Datatype.__members__, "BYTES", values.BF16]
    assert sorted(named(tables["JSON of datatypes"])) == sorted(set(known))


LIMITS = (
    "requests",
    "connections",
    "streams",
    "REST",
    "configuration",
    "Python nodes",
    "the process",
)


@pytest.mark.parametrize("which", LIMITS)
def test_a_limit_is_the_constant_beside_it(
    tables: dict[str, Table], which: str
) -> None:
    for limit, constant, _ in tables[f"limits of {which}"].rows:
        found = re.match(r"([\d.]+)(?: (\w+))?", limit)
        assert found is not None
        number = float(found[1]) * UNITS.get(found[2] or "", 1)
        value = constant_at(constant.strip("`"))
        number *= 1000 if constant.endswith("_MS`") else 1
        if callable(value):  # what it is on this machine
            assert float(str(value())) <= number, constant
        else:
            assert value == number, constant


def constant_at(path: str) -> Any:
    """What is at a dotted path; of a field of a dataclass, its default."""
    names = path.split(".")
    length = next(n for n in range(len(names), 0, -1) if is_module(names[:n]))
    value: Any = import_module(".".join(names[:length]))
    for name in names[length:]:
        if is_dataclass(value):
            value = next(each.default for each in fields(value) if each.name == name)
        else:
            value = getattr(value, name)
    return value


def is_module(names: list[str]) -> bool:
    try:
        return find_spec(".".join(names)) is not None
    except ModuleNotFoundError:
        return False


def test_every_field_of_the_graph_language_is_in_its_table(
    tables: dict[str, Table],
) -> None:
    messages = {
        "graph fields": graph.CalculatorGraphConfig,
        "node fields": graph.CalculatorGraphConfig.Node,
    }
    for name, message in messages.items():
        known = [field.name for field in message.DESCRIPTOR.fields]
        assert sorted(named(tables[name])) == sorted(known)


def test_fields_are_refused_if_their_table_says_so(tables: dict[str, Table]) -> None:
    refused = {
        "graph fields": graph_config.REFUSED_IN_GRAPH,
        "node fields": graph_config.REFUSED_IN_NODE,
    }
    for name, expected in refused.items():
        rows = [row for row in tables[name].rows if row[1] == "refused"]
        assert {word for row in rows for word in words(row[0])} == expected


def test_input_policies_are_those_of_the_table(tables: dict[str, Table]) -> None:
    (row,) = [row for row in tables["node fields"].rows if "handler" in row[0]][:1]
    assert set(words(row[2])) == set(handlers.OPTIONS)


def test_tags_of_the_boundary_are_those_of_the_table(tables: dict[str, Table]) -> None:
    for tags, payload, _ in tables["boundary tags"].rows:
        for tag in words(tags):
            if payload:
                assert boundary.kind_of(tag) is not None
            else:
                with pytest.raises(ServingError):
                    boundary.kind_of(tag)
    known = {word for row in tables["boundary tags"].rows for word in words(row[0])}
    assert known == {*boundary._KIND_BY_PREFIX, *boundary._UNSUPPORTED_PREFIXES}


def test_datatypes_of_tensor_streams_are_those_of_the_table(
    tables: dict[str, Table],
) -> None:
    (row,) = [row for row in tables["boundary tags"].rows if row[0] == "`TENSOR`"]
    shown = {Datatype.from_name(each) for each in re.findall(r"[A-Z]+\d+|BOOL", row[2])}
    assert shown == boundary._MEDIAPIPE_DATATYPES


def test_every_calculator_has_a_node_on_the_page_or_is_in_a_table(
    root: Any, tables: dict[str, Table]
) -> None:
    page = (root / "docs/calculators.md").read_text()
    nodes = [block.text for block in blocks_of(page) if block.language == "pbtxt"]
    listed = [
        name for table in tables for name in named(tables[table]) if FLOW in table
    ]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= set(CALCULATORS)
    for name in set(CALCULATORS) - set(listed):
        assert f"\n### {name}\n" in page
        assert any(f'calculator: "{name}"' in node for node in nodes)


def test_the_table_of_flow_calculators_names_their_options(
    tables: dict[str, Table],
) -> None:
    registry = Registry.installed()
    rows = [row for each in tables for row in tables[each].rows if FLOW in each]
    assert rows
    for names, _, options, _ in rows:
        for name in words(names):
            found = registry.find(name)
            assert found is not None
            declared = found.contract.options
            fields = declared.message.DESCRIPTOR.fields if declared else ()
            assert set(words(options)) == {field.name for field in fields}, name


@pytest.mark.parametrize("calculator", CALCULATORS)
def test_every_option_of_a_calculator_is_in_its_table(
    calculator: str, tables: dict[str, Table]
) -> None:
    if any(calculator in named(tables[each]) for each in tables if FLOW in each):
        return  # its row names them
    full_names = (f"mediapipe.{calculator}Options", f"ovms_mp.{calculator}Options")
    message = None
    for full_name in full_names:
        try:
            message = graph.message_class(full_name)
        except KeyError:
            continue
    table = tables.get(f"options of {calculator}")
    if message is None:
        assert table is None
        return
    assert table is not None
    options = message.DESCRIPTOR.fields_by_name
    assert sorted(named(table)) == sorted(options)
    for names, default, _ in table.rows:
        for name, shown in zip(words(names), words(default), strict=False):
            assert shown_default(options[name]) in {shown, ""}, name


def shown_default(field: Any) -> str:
    """A default as a page writes it; nothing where the message has none."""
    if not field.has_default_value and field.type != FieldDescriptor.TYPE_BOOL:
        return ""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return str(field.default_value).lower()
    if field.enum_type is not None:
        return field.enum_type.values_by_number[field.default_value].name
    return f"{field.default_value:g}"
