"""Everybody who asks whether a server is ready, and a servable of it: gRPC's two, its
health protocol, asked and watched, and REST's two.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from ovms_mp_protos import kserve

from tests.wire.rest import Rest
from tests.wire.waiting import until

REFLECTED_WITHIN: Final = 2.0
SERVING: Final = kserve.HealthCheckResponse.SERVING


class Probes:
    """Everybody who asks whether a server is ready, and a servable of it."""

    def __init__(self, channel: grpc.Channel, rest: Rest, name: str) -> None:
        self._channel = channel
        self._rest = rest
        self._watched: dict[str, int] = {}
        self._lock = threading.Lock()
        self._calls = [self._watch(each) for each in ("", name)]
        model = f"/v2/models/{name}/ready"
        ready = kserve.ModelReadyRequest(name=name).SerializeToString()
        self.of_the_server: Mapping[str, Callable[[], bool]] = {
            "ServerReady": lambda: self._says(
                kserve.SERVER_READY, b"", kserve.ServerReadyResponse
            ),
            "Check": lambda: self._check(""),
            "Watch": lambda: self._seen(""),
            "/v2/health/ready": lambda: rest.get("/v2/health/ready").code == 200,
        }
        self.of_the_servable: Mapping[str, Callable[[], bool]] = {
            "ModelReady": lambda: self._says(
                kserve.MODEL_READY, ready, kserve.ModelReadyResponse
            ),
            f"Check {name}": lambda: self._check(name),
            f"Watch {name}": lambda: self._seen(name),
            model: lambda: rest.get(model).code == 200,
        }

    def close(self) -> None:
        for each in self._calls:
            each.cancel()

    def _says(self, method: str, message: bytes, answer: Any) -> bool:
        asking: Any = self._channel.unary_unary(method, None, answer.FromString)
        try:
            return asking(message, timeout=20).ready
        except grpc.RpcError:
            return False

    def _check(self, name: str) -> bool:
        message = kserve.HealthCheckRequest(service=name).SerializeToString()
        asking: Any = self._channel.unary_unary(
            kserve.HEALTH_CHECK, None, kserve.HealthCheckResponse.FromString
        )
        try:
            return asking(message, timeout=20).status == SERVING
        except grpc.RpcError:
            return False

    def _seen(self, name: str) -> bool:
        with self._lock:
            return self._watched.get(name) == SERVING

    def _watch(self, name: str) -> Any:
        message = kserve.HealthCheckRequest(service=name).SerializeToString()
        watching: Any = self._channel.unary_stream(
            kserve.HEALTH_WATCH, None, kserve.HealthCheckResponse.FromString
        )
        states = watching(message, timeout=300)

        def listen() -> None:
            try:
                for state in states:
                    with self._lock:
                        self._watched[name] = state.status
            except grpc.RpcError:
                return  # the test is over

        threading.Thread(target=listen, daemon=True).start()
        return states


def agree(probes: Mapping[str, Callable[[], bool]], *, on: bool) -> bool:
    """Whether all of them say that within the time."""
    end = time.monotonic() + REFLECTED_WITHIN
    return all(
        until(lambda: probe() is on, max(0.0, end - time.monotonic()))  # noqa: B023 # called at once
        for probe in probes.values()
    )
