"""A client that does not read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.wire.calls import ask

FRAMES: Final = 200
FRAME: Final = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)


class Deaf:
    """Sends frames and does not read what comes back until it is asked to."""

    def __init__(self, channel: grpc.Channel, seconds: float = 50) -> None:
        """The stream lasts `seconds` at most."""
        self.sent = 0
        method: Any = channel.stream_stream(
            kserve.MODEL_STREAM_INFER, None, kserve.ModelStreamInferResponse.FromString
        )
        self.answers = method(self._frames(), timeout=seconds)

    def _frames(self) -> Iterator[bytes]:
        message = ask("image", {"in": FRAME}).SerializeToString()
        for _ in range(FRAMES):
            yield message
            self.sent += 1

    def is_stuck(self, seconds: float = 0.5) -> bool:
        """Whether nothing more is sent; that is known after a while only."""
        sent, since = self.sent, time.monotonic()
        while time.monotonic() < since + 20:
            if self.sent != sent:
                sent, since = self.sent, time.monotonic()
            elif time.monotonic() > since + seconds:
                return True
            time.sleep(0.01)
        return False
