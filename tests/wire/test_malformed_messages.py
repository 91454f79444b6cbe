"""Bytes that are no message, and messages about what is not there: each is refused, and
none harms the server.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.wire import calls
from tests.wire.calls import ask, floats, infer, refusal
from tests.wire.servers import Server

TEN: Final = floats(*range(10))
A, B = np.array([[1, 2]]), floats(1, 2, 3)
INVALID: Final = "INVALID_ARGUMENT"


@pytest.mark.parametrize("model", ["add_one", "echo"])
def test_a_message_that_is_cut_anywhere_is_refused_or_understood(
    channel: grpc.Channel, model: str
) -> None:
    port = {"add_one": "x", "echo": "in"}[model]
    message = ask(model, {port: TEN}, at=1, id="7").SerializeToString()
    assert infer(channel, message)
    found = {refusal(channel, message[:length]) for length in range(len(message))}
    codes = {code for code, _ in found}
    assert codes <= {INVALID, "NOT_FOUND"}
    assert (INVALID, "Invalid message: it is no inference.ModelInferRequest") in found


def test_a_message_in_which_any_byte_is_wrong_never_harms_the_server(
    channel: grpc.Channel, server: Server
) -> None:
    message = ask("pair", {"a": A, "b": B}, at=1, id="7").SerializeToString()
    before = len(server.log)
    for position in range(len(message)):
        wrong = bytearray(message)
        wrong[position] ^= 0xFF
        code, text = refusal(channel, bytes(wrong))
        assert code in {"OK", INVALID, "NOT_FOUND"}, (position, code, text)
    assert [line for line in server.log[before:] if "incident" in line] == []


@pytest.mark.parametrize(
    "path", [kserve.SERVER_LIVE, kserve.MODEL_READY, kserve.MODEL_METADATA]
)
def test_bytes_that_are_no_message_are_told_so_by_control_methods(
    channel: grpc.Channel, path: str
) -> None:
    method: Any = channel.unary_unary(path)
    code, text = calls.status_of(lambda: method(b"\xff\xff"))
    assert code == INVALID
    assert text.startswith("Invalid message: it is no inference.")


@pytest.mark.parametrize(
    ("name", "version", "status"),
    [
        ("nothing", "", ("NOT_FOUND", "Model with requested name is not found")),
        ("add_one", "9", ("NOT_FOUND", "Model with requested version is not found")),
        ("add_one", "x", (INVALID, "invalid model version format in request")),
    ],
)
def test_control_methods_refuse_what_is_not_there(
    channel: grpc.Channel, name: str, version: str, status: calls.Status
) -> None:
    for path, kind in (
        (kserve.MODEL_READY, kserve.ModelReadyRequest),
        (kserve.MODEL_METADATA, kserve.ModelMetadataRequest),
        (kserve.MODEL_CONFIG, kserve.ModelConfigRequest),
    ):
        method: Any = channel.unary_unary(path)
        message = kind(name=name, version=version).SerializeToString()
        assert calls.status_of(partial(method, message)) == status


def test_a_method_of_triton_that_ovms_lacks_is_not_implemented(
    channel: grpc.Channel,
) -> None:
    method: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/RepositoryModelLoad"
    )
    assert calls.status_of(lambda: method(b""))[0] == "UNIMPLEMENTED"
