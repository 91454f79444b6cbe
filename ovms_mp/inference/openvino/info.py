"""What a model's file says of it by itself: `model_info`, where the tools that make models
leave labels and sizes for those that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import openvino as ov

from ovms_mp.core.messages import NO_INFO, ModelInfo

_KEY: Final = "model_info"


def info_of(model: ov.Model) -> ModelInfo:
    """Texts, by names that may be nested, as OVMS has them; none if there are none."""
    untyped: Any = model  # no types in its stub
    if not untyped.has_rt_info(_KEY):
        return NO_INFO
    return _as_texts(untyped.get_rt_info(_KEY).value)


def _as_texts(found: Any) -> ModelInfo:
    return {
        str(name): _as_texts(value) if isinstance(value, Mapping) else str(value)
        for name, value in found.items()
    }
