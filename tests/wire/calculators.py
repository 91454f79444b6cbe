"""Calculators of somebody's package, which come in by the entry points of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovms_mp.calculator import Calculator, Context, Input, Output
from ovms_mp.core.messages import InferRequest, InferResponse, OutputTensor

ENTRY_POINTS = ("RespondCalculator", "SumAtEndCalculator", "BurstCalculator")


class RespondCalculator(Calculator):
    """Answers a whole request: each input as an output of the same name."""

    request = Input(InferRequest, "REQUEST")
    response = Output(InferResponse, "RESPONSE")
    timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        request = ctx[self.request]
        outputs = tuple(
            OutputTensor(each.name, each.datatype, each.shape, bytes(each.raw or b""))
            for each in request.inputs
        )
        ctx.send(self.response, InferResponse("", "", outputs=outputs))


class SumAtEndCalculator(Calculator):
    """Sends nothing but the sum of all it took, when there is no more to come."""

    value = Input(np.ndarray)
    total = Output(np.ndarray)

    def open(self, ctx: Context) -> None:
        self._sum = np.zeros(1, np.float32)
        self._last = 0

    def process(self, ctx: Context) -> None:
        self._sum += ctx[self.value].sum()
        self._last = ctx.timestamp

    def close(self, ctx: Context) -> None:
        ctx.send(self.total, self._sum, at=self._last)


class BurstCalculator(Calculator):
    """Sends as many packets of 1 MiB as its input says, in one call."""

    count = Input(np.ndarray)
    packet = Output(np.ndarray)

    def process(self, ctx: Context) -> None:
        for number in range(int(ctx[self.count].flat[0])):
            payload = np.full(1 << 20, number, np.uint8)
            ctx.send(self.packet, payload, at=ctx.timestamp + number)


def publish(site: Path) -> None:
    """Make `site` a directory in which a package with these is installed."""
    info = site / "zoo_calculators-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: zoo-calculators\nVersion: 1.0\n"
    )
    lines = "".join(f"{name} = {__name__}:{name}\n" for name in ENTRY_POINTS)
    (info / "entry_points.txt").write_text(f"[ovms_mp.calculators]\n{lines}")
