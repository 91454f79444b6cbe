"""What flags say of the single model; with a config file these settings are in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ovms_mp.core.adaptation import Written, parse
from ovms_mp.core.errors import ServingError
from ovms_mp.repository.config import (
    LOW_LATENCY_OF_STATELESS,
    MAX_NIREQ,
    DynamicBatching,
    ModelSpec,
    graph_home,
    place_of,
)
from ovms_mp.repository.document import Node
from ovms_mp.repository.schema import (
    ADAPTATION_KEYS,
    DEFAULT_DEVICE,
    DEFAULT_MAX_SEQUENCES,
    adaptation_text,
    parse_plugin_config,
)
from ovms_mp.repository.versions import DEFAULT_POLICY, parse_policy
from ovms_mp.settings.flags import Flags, UsageError

MODEL_FLAGS: Final = (
    *ADAPTATION_KEYS,
    "model_version_policy",
    "nireq",
    "max_queue_length",
    "target_device",
    "plugin_config",
    "stateful",
    "idle_sequence_cleanup",
    "low_latency_transformation",
    "max_sequence_number",
    "max_batch_size",
    "max_queue_delay_microseconds",
)

# Flags that say nothing without a layout (OVMS).
_OF_LAYOUT: Final = ("mean", "scale", "color_format", "precision")


def model(flags: Flags) -> ModelSpec:
    """The single model. Raises UsageError, or ServingError for JSON that is wrong."""
    name = Node(flags.text("model_name"), "--model_name").text()
    path = Node(flags.text("model_path"), "--model_path").text()
    try:
        base_path, url = place_of(path, Path.cwd())
    except ServingError as error:
        raise UsageError(f"--model_path: {error.details}") from error
    used = [f for f in MODEL_FLAGS if flags.text(f) and f != "plugin_config"]
    if used and not url and graph_home(base_path) is not None:
        raise UsageError(
            f"Starting mediapipe graph with unsupported model settings: "
            f"{', '.join(used)}. The settings should be set in subconfig.json file."
        )
    nireq = flags.number("nireq", 0)
    if nireq > MAX_NIREQ:
        raise UsageError(f"Nireq parameter too high: {nireq}, at most {MAX_NIREQ}")
    for flag in _OF_LAYOUT:
        if flags.text(flag) and not flags.text("layout"):
            raise UsageError(
                f"error parsing options - --{flag} parameter requires --layout to be set"
            )
    is_stateful = flags.switch("stateful")
    low_latency = flags.switch("low_latency_transformation")
    if low_latency and not is_stateful:
        raise UsageError(LOW_LATENCY_OF_STATELESS)
    policy = flags.json("model_version_policy")
    plugin_config = flags.json("plugin_config")
    return ModelSpec(
        name,
        base_path,
        parse_policy(policy) if policy else DEFAULT_POLICY,
        nireq or None,
        flags.text("target_device") or DEFAULT_DEVICE,
        parse_plugin_config(plugin_config) if plugin_config else {},
        max_sequence_number=flags.number("max_sequence_number", DEFAULT_MAX_SEQUENCES),
        idle_sequence_cleanup=flags.switch("idle_sequence_cleanup", default="true"),
        max_queue_length=flags.number("max_queue_length", 0)
        if flags.text("max_queue_length")
        else None,
        is_stateful=is_stateful,
        low_latency_transformation=low_latency,
        dynamic_batching=_dynamic_batching(flags),
        url=url,
        adaptation=parse({name: _written(flags, name) for name in ADAPTATION_KEYS}),
    )


def _written(flags: Flags, name: str) -> Written:
    """A text, or an object in JSON."""
    text = flags.text(name)
    is_object = text.lstrip().startswith("{")
    node = (flags.json(name) if is_object else None) or Node(text, f"--{name}")
    return adaptation_text(name, node)


def _dynamic_batching(flags: Flags) -> DynamicBatching | None:
    delay = flags.number("max_queue_delay_microseconds", 0)
    if flags.text("max_batch_size"):
        size = flags.number("max_batch_size", 1)
        if not size:
            raise UsageError("max_batch_size should be at least 1")
        return DynamicBatching(size, delay)
    if delay:
        raise UsageError("max_queue_delay_microseconds needs max_batch_size")
    return None
