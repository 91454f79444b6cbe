"""What the server can be asked over REST, as an OpenAPI document: for people, and for
programs that make clients of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp.core.tensor import BYTES, Datatype
from ovms_mp.frontend.http.errors import JSON
from ovms_mp.frontend.http.request import HEADER
from ovms_mp.frontend.http.values import BF16

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.routing import Route

PATH: Final = "/openapi.json"

_OCTETS: Final = "application/octet-stream"
_MAX_INT64: Final = 2**63 - 1


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of these routes; `version` is the product's."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in ("get", "post"):
            if method.upper() in (route.methods or ()):
                paths.setdefault(route.path, {})[method] = _operation(route.path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenVINO Model Server",
            "description": "KServe v2 over HTTP, and OVMS's management.",
            "version": version,
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(path: str) -> dict[str, Any]:
    end = path.rpartition("/")[2]
    summary, answers, more = _OPERATIONS[path.replace(_VERSION, "")]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [*parameters, *_HEADERS.get(end, ())],
        "responses": {**answers, "default": _REFUSED},
        **more,
    }
    return operation


def _named(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _answer(what: str, schema: str = "", kind: str = JSON) -> dict[str, Any]:
    if not schema:
        return {"description": what}
    return {"description": what, "content": {kind: {"schema": _named(schema)}}}


def _array(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema, **more}


def _object(
    properties: Mapping[str, Any], *required: str, **more: Any
) -> dict[str, Any]:
    made = {"type": "object", "properties": properties, **more}
    return {**made, "required": list(required)} if required else made


_VERSION: Final = "/versions/{version}"
_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "name": {"type": "string", "minLength": 1},
    "version": {"type": "string", "pattern": "^[0-9]+$"},
}
_REFUSED: Final = _answer("A refusal, and why.", "Error")
_HEADERS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    end: (
        {
            "name": HEADER,
            "in": "header",
            "description": "How many bytes of the body are JSON; tensors follow.",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        },
    )
    for end in ("infer", "infer_stream")
}
_READY: Final = {
    "200": _answer("It takes requests."),
    "503": _answer("Not now."),
}
_INFERRED: Final = {
    "200": {
        "description": "The outputs, in JSON or, if that is asked for, as they are.",
        "headers": {HEADER: {"schema": {"type": "string"}}},
        "content": {
            JSON: {"schema": _named("InferResponse")},
            _OCTETS: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_ASKED: Final = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _named("InferRequest")},
            _OCTETS: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

_Operation = tuple[str, "Mapping[str, Any]", "Mapping[str, Any]"]

# By path, without a version; what is answered well, and what is sent.
_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "/v2": ("What the server is.", {"200": _answer("It.", "Server")}, {}),
    "/v2/health/live": (
        "Whether the process answers.",
        {"200": _answer("It does.")},
        {},
    ),
    "/v2/health/ready": (
        "Whether all that is configured is served.",
        _READY,
        {},
    ),
    "/v2/models/{name}/ready": ("Whether requests are taken.", _READY, {}),
    "/v2/models/{name}": (
        "What a model or graph takes and gives.",
        {"200": _answer("That.", "Metadata")},
        {},
    ),
    "/v2/models/{name}/infer": (
        "An inference, or a run of a graph.",
        _INFERRED,
        _ASKED,
    ),
    "/v2/models/{name}/infer_stream": (
        "A stream with one request: each answer as it comes.",
        {
            "200": {
                "description": "An event for each answer, `error` for a refusal.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
        _ASKED,
    ),
    "/v1/config": (
        "The state of everything.",
        {"200": _answer("By name.", "States")},
        {},
    ),
    "/v1/config/reload": (
        "Look at what is mounted now.",
        {
            "200": _answer("Nothing to do.", "States"),
            "201": _answer("Something else is served.", "States"),
        },
        {},
    ),
    "/v1/limits": (
        "How much clients may use up, as flags say.",
        {"200": _answer("By the names of the flags; 0 is no limit.", "Limits")},
        {},
    ),
    "/v1/models/{name}": (
        "The state of a model or graph.",
        {"200": _answer("By version.", "State")},
        {},
    ),
    "/metrics": (
        "Metrics for Prometheus.",
        {"200": {"description": "A page.", "content": {"text/plain": {}}}},
        {},
    ),
    PATH: (
        "This document.",
        {"200": {"description": "It.", "content": {JSON: {}}}},
        {},
    ),
}

_STRING: Final = {"type": "string"}
_PARAMETER: Final = {
    "anyOf": [
        _STRING,
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**63), "maximum": _MAX_INT64},
    ]
}
_SIZES: Final = _array(
    {"type": "integer", "minimum": 0, "maximum": _MAX_INT64}, maxItems=32
)
_SHAPE: Final = _array({"type": "integer", "minimum": -1})
_VALUES: Final = {"type": "array", "description": "Flat or nested."}
_INPUT_PARAMETERS: Final = _object(
    {"binary_data_size": {"type": "integer", "minimum": 0}},
    additionalProperties=_PARAMETER,
)
_TENSOR_OF_METADATA: Final = _object(
    {"name": _STRING, "datatype": _STRING, "shape": _SHAPE},
    "name",
    "datatype",
    "shape",
)

_SCHEMAS: Final[Mapping[str, Any]] = {
    "Error": _object({"error": _STRING}, "error"),
    "Server": _object(
        {"name": _STRING, "version": _STRING, "extensions": _array(_STRING)},
        "name",
        "version",
        "extensions",
    ),
    "Metadata": _object(
        {
            "name": _STRING,
            "versions": _array(_STRING),
            "platform": _STRING,
            "inputs": _array(_TENSOR_OF_METADATA),
            "outputs": _array(_TENSOR_OF_METADATA),
            "rt_info": {"type": "object"},
        },
        "name",
        "versions",
        "platform",
        "inputs",
        "outputs",
    ),
    "Input": _object(
        {
            "name": _STRING,
            "shape": _SIZES,
            "datatype": {
                "type": "string",
                "examples": [*Datatype.__members__, BF16, BYTES],
            },
            "parameters": _INPUT_PARAMETERS,
            "data": _VALUES,
        },
        "name",
        "shape",
        "datatype",
    ),
    "InferRequest": _object(
        {
            "id": _STRING,
            "parameters": _object(
                {"binary_data_output": {"type": "boolean"}},
                additionalProperties=_PARAMETER,
            ),
            "inputs": _array(_named("Input"), minItems=1),
            "outputs": _array(
                _object(
                    {
                        "name": _STRING,
                        "parameters": _object(
                            {"binary_data": {"type": "boolean"}},
                            additionalProperties=_PARAMETER,
                        ),
                    },
                    "name",
                )
            ),
        },
        "inputs",
    ),
    "InferResponse": _object(
        {
            "model_name": _STRING,
            "model_version": _STRING,
            "id": _STRING,
            "parameters": {"type": "object"},
            "outputs": _array(
                _object(
                    {
                        "name": _STRING,
                        "shape": _SIZES,
                        "datatype": _STRING,
                        "parameters": {"type": "object"},
                        "data": _VALUES,
                    },
                    "name",
                    "shape",
                    "datatype",
                )
            ),
        },
        "model_name",
        "model_version",
        "outputs",
    ),
    "State": _object(
        {
            "model_version_status": _array(
                _object(
                    {
                        "version": _STRING,
                        "state": {
                            "enum": [
                                "START",
                                "LOADING",
                                "AVAILABLE",
                                "UNLOADING",
                                "END",
                            ]
                        },
                        "status": _object(
                            {"error_code": _STRING, "error_message": _STRING},
                            "error_code",
                            "error_message",
                        ),
                        "reason": _STRING,
                    },
                    "version",
                    "state",
                    "status",
                )
            ),
            "reason": _STRING,
        },
        "model_version_status",
    ),
    "Limits": _object(
        {}, additionalProperties={"type": ["integer", "boolean"], "minimum": 0}
    ),
    "States": _object({}, additionalProperties=_named("State")),
}
