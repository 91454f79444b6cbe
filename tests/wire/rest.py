"""REST spoken by hand, one request to a connection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import numpy as np

from tests.wire.servers import HOST

HEADER = "Inference-Header-Content-Length"
ANSWERS_WITHIN = 30.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of a refusal, which has nothing else."""
        (text,) = [self.json["error"]]
        return text

    def output(self, name: str) -> Any:
        """Of an inference, an output's data in JSON."""
        assert self.code == 200, self.body
        (found,) = [each for each in self.json["outputs"] if each["name"] == name]
        return found["data"]


class Rest:
    """A server's REST port."""

    def __init__(self, port: int | None) -> None:
        assert port is not None
        self.port = port

    def connect(self) -> HTTPConnection:
        return HTTPConnection(HOST, self.port, timeout=ANSWERS_WITHIN)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body or None, headers or {})
            return answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def infer(
        self,
        name: str,
        document: Any,
        binary: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST it; with `binary`, as the binary tensor extension has it."""
        text = json.dumps(document).encode()
        length = {HEADER: str(len(text))} if binary else {}
        path = f"/v2/models/{name}/infer"
        return self.ask("POST", path, text + binary, {**length, **(headers or {})})


def answer(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def tensor(name: str, array: np.ndarray, datatype: str = "FP32", **keys: Any) -> Any:
    """An input in JSON."""
    given = {"name": name, "shape": list(array.shape), "datatype": datatype}
    return {**given, "data": array.tolist(), **keys}


def inputs(*tensors: Any, **keys: Any) -> Any:
    """A request in JSON."""
    return {"inputs": list(tensors), **keys}
