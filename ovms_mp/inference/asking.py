"""What one process asks another to compile, as a frame's header: JSON, in which values
are the same again on the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ovms_mp.core.adaptation import AUTO, Adaptation, Auto, Conversion
from ovms_mp.core.layout import LayoutPair
from ovms_mp.core.shape import Dim, Shape
from ovms_mp.inference.engine import ModelConfig, NameMapping, Property


class Asked(NamedTuple):
    """The model in a file, as `config` wants it to look; of that, only what a compiled
    model shows. `properties` are all that OpenVINO is to compile it with. `extension`
    is a library with operations that models may have.
    """

    path: Path
    config: ModelConfig
    properties: Mapping[str, Property]
    extension: Path | None = None


def header_of(asked: Asked) -> dict[str, Any]:
    """What `asked_in` understands."""
    config, wanted = asked.config, asked.config.adaptation
    return {
        "path": str(asked.path.absolute()),
        "extension": asked.extension and str(asked.extension.absolute()),
        "properties": dict(asked.properties),
        "target_device": config.target_device,
        "low_latency": config.low_latency,
        "names": config.names,
        "batch_size": wanted.batch_size,
        "shapes": dict(wanted.shapes),
        "layouts": dict(wanted.layouts),
        "mean": wanted.mean,
        "scale": wanted.scale,
        "color_format": wanted.color_format,
        "precision": wanted.precision,
    }


def asked_in(header: Mapping[str, Any]) -> Asked:
    """What `header_of` was given, and JSON made lists of."""
    batch_size, extension = header["batch_size"], header["extension"]
    shapes, layouts = header["shapes"], header["layouts"]
    adaptation = Adaptation(
        batch_size=Dim(*batch_size) if isinstance(batch_size, list) else batch_size,
        shapes={name: _shape(each) for name, each in shapes.items()},
        layouts={name: LayoutPair(*each) for name, each in layouts.items()},
        mean=tuple(header["mean"]),
        scale=tuple(header["scale"]),
        color_format=_conversion(header["color_format"]),
        precision=_conversion(header["precision"]),
    )
    config = ModelConfig(
        target_device=header["target_device"],
        low_latency=header["low_latency"],
        adaptation=adaptation,
        names=NameMapping(*header["names"]),
    )
    path = Path(header["path"])
    return Asked(path, config, header["properties"], extension and Path(extension))


def _shape(told: str | list[list[int]]) -> Shape | Auto:
    return AUTO if isinstance(told, str) else tuple(Dim(*each) for each in told)


def _conversion(told: list[str] | None) -> Conversion | None:
    return None if told is None else Conversion(*told)
