"""`plugin_config` means what it means to OVMS: its defaults, its old names, and no key
that the device does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ovms_mp.inference.engine import ModelConfig, Property

HINT: Final = "PERFORMANCE_HINT"
STREAMS: Final = "NUM_STREAMS"
THREADS: Final = "INFERENCE_NUM_THREADS"
PINNING: Final = "ENABLE_CPU_PINNING"
CACHE_DIR: Final = "CACHE_DIR"
FROM_CACHE: Final = "LOADED_FROM_CACHE"
AUTO_DEVICE: Final = "AUTO"
MADE_OF_OTHERS: Final = frozenset({AUTO_DEVICE, "MULTI", "HETERO", "BATCH"})
# A property of reading models rather than of any device, which no device lists.
MMAP: Final = "ENABLE_MMAP"

_NOTHING: Final[Mapping[str, Property]] = {}

_OLD_STREAMS: Final = {
    "CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO",
    "GPU_THROUGHPUT_STREAMS": "GPU_THROUGHPUT_AUTO",
}
_OLD_THREADS: Final = "CPU_THREADS_NUM"


class UnsupportedProperty(Exception):
    """A key that the device does not know; the message names it."""


def device_names(target_device: str) -> tuple[str, ...]:
    """The devices whose properties `target_device` takes: `AUTO:GPU.0,CPU` is AUTO,
    GPU and CPU.
    """
    meta, _, parts = target_device.partition(":")
    names = [meta, *(part for part in parts.split(",") if part)]
    # A priority in parentheses (`MULTI:CPU(2)`), or a leading minus: not this one.
    bare = (name.partition("(")[0].partition(".")[0].strip("- ") for name in names)
    return tuple(dict.fromkeys(bare))


def effective(
    plugin_config: Mapping[str, Property],
    supported: Collection[str],
    defaults: Mapping[str, Property] = _NOTHING,
) -> dict[str, Property]:
    """What to compile with: `plugin_config` under today's names, LATENCY unless it
    decides on a hint or on streams itself, and those of the `defaults` on which it does
    not decide.

    Raises UnsupportedProperty for a key that is not in `supported` and no old name.
    """
    properties: dict[str, Property] = {}
    for key, value in plugin_config.items():
        name, meaning = _today(key, value)
        if name not in supported and name != MMAP:
            raise UnsupportedProperty(f"plugin_config has the unknown key {key}")
        # Where both names are given, the one of today counts.
        if name == key or name not in plugin_config:
            properties[name] = meaning
    decided = HINT in properties or STREAMS in properties
    if not decided and HINT in supported:
        properties[HINT] = "LATENCY"
    for name, value in defaults.items():
        if name in supported:
            properties.setdefault(name, value)
    return properties


def leaves_threads_open(config: ModelConfig) -> bool:
    """True if nobody has said how many threads, streams or slots a model on the CPU is
    to have, nor what it is to be good at.
    """
    said = {_today(key, value)[0] for key, value in config.plugin_config.items()}
    is_open = not said & {HINT, STREAMS, THREADS}
    return is_open and not config.nireq and config.target_device == "CPU"


def _today(key: str, value: Property) -> tuple[str, Property]:
    if key == _OLD_THREADS:
        return THREADS, value
    if key in _OLD_STREAMS:
        if value == _OLD_STREAMS[key]:
            return HINT, "THROUGHPUT"
        return STREAMS, value
    return key, value
