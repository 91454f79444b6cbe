"""The schema of config.json and of a graph's subconfig: what is written, not yet what it
means. A document that breaks it is refused whole (OVMS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ovms_mp.core.adaptation import Written
from ovms_mp.core.stream_policy import MAX_SECONDS, NO_LIMITS, Overflow, StreamPolicy
from ovms_mp.repository.document import Node, Scalar
from ovms_mp.repository.versions import DEFAULT_POLICY, VersionPolicy, parse_policy

PluginConfig: TypeAlias = Mapping[str, Scalar]

DEFAULT_DEVICE: Final = "CPU"
DEFAULT_MAX_SEQUENCES: Final = 500
"""OVMS's."""

_NO_VALUE: Final = object()
# Known to OVMS, not to this version, and able to change answers; with the value that
# changes none.
_UNSUPPORTED_KEYS: Final[Mapping[str, object]] = {
    "custom_loader_options": _NO_VALUE,
}
_PIPELINES: Final = "pipeline_config_list"
_UNSUPPORTED_SECTIONS: Final = (
    "custom_node_library_config_list",
    "custom_loader_config_list",
)
_GRAPH_KEYS: Final = ("name", "base_path", "graph_path", "subconfig", "stream")
_STREAM_COUNTS: Final = (("window", 1), ("queue", 0), ("max_streams", 1))
_STREAM_SECONDS: Final = ("idle_timeout_seconds", "max_age_seconds")
_STREAM_KEYS: Final = (
    *(name for name, _ in _STREAM_COUNTS),
    *_STREAM_SECONDS,
    "overflow",
    "coalesce",
)
ADAPTATION_KEYS: Final = (
    "batch_size",
    "shape",
    "layout",
    "mean",
    "scale",
    "color_format",
    "precision",
)
"""How the model is to look to clients."""
_MODEL_KEYS: Final = (
    *_GRAPH_KEYS,
    "model_version_policy",
    "nireq",
    "target_device",
    "plugin_config",
    "allow_cache",
    "stateful",
    "low_latency_transformation",
    "idle_sequence_cleanup",
    "max_sequence_number",
    "max_queue_length",
    "dynamic_batching",
    *ADAPTATION_KEYS,
    *_UNSUPPORTED_KEYS,
)


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """How many rows a batch of several requests may have, and for how long one that is
    not full waits for more while the model has time for it. Keys are Triton's.
    """

    max_batch_size: int
    max_queue_delay_microseconds: int = 0


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """What an entry says of a graph; `""` where it says nothing. Of `stream` a model
    has as much.
    """

    name: str
    base_path: str = ""
    graph_path: str = ""
    subconfig: str = ""
    stream: StreamPolicy = NO_LIMITS


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """An entry of model_config_list: a graph if there is one at its base path, else a
    model. `unsupported` are the places of keys that this version cannot honour, `written`
    is what it says of ADAPTATION_KEYS.
    """

    graph: GraphEntry
    version_policy: VersionPolicy
    nireq: int
    target_device: str
    plugin_config: PluginConfig
    unsupported: tuple[str, ...]
    max_sequence_number: int = DEFAULT_MAX_SEQUENCES
    idle_sequence_cleanup: bool = True
    max_queue_length: int | None = None
    is_stateful: bool = False
    low_latency_transformation: bool = False
    dynamic_batching: DynamicBatching | None = None
    written: Mapping[str, Written] = field(default_factory=dict[str, Written])
    allow_cache: bool = False


@dataclass(frozen=True, slots=True)
class MonitoringSpec:
    """The wish for metrics; `families` None means the default ones."""

    is_enabled: bool
    families: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """A config.json as written. `unsupported` are the places of sections that hold
    something which this version cannot honour, and `pipelines` the names of those that
    clients will ask for in vain.
    """

    models: tuple[ModelEntry, ...]
    graphs: tuple[GraphEntry, ...]
    monitoring: MonitoringSpec | None
    unsupported: tuple[str, ...]
    pipelines: tuple[str, ...] = ()


def parse_config(root: Node) -> ConfigDocument:
    """A config.json. Raises ServingError (JSON_INVALID) naming the place."""
    known = (
        "model_config_list",
        "mediapipe_config_list",
        "monitoring",
        _PIPELINES,
        *_UNSUPPORTED_SECTIONS,
    )
    sections = root.members(known, ("model_config_list",))
    graphs = sections.get("mediapipe_config_list")
    pipelines = sections.get(_PIPELINES)
    monitoring = sections.get("monitoring")
    return ConfigDocument(
        _models(sections["model_config_list"]),
        tuple(
            _graph(node.members(_GRAPH_KEYS, ("name",)))
            for node in (graphs.elements() if graphs else ())
        ),
        _monitoring(monitoring) if monitoring else None,
        tuple(
            sections[name].where
            for name in _UNSUPPORTED_SECTIONS
            if name in sections and sections[name].elements()
        ),
        tuple(_name(node) for node in (pipelines.elements() if pipelines else ())),
    )


def parse_subconfig(root: Node) -> tuple[ModelEntry, ...]:
    """A graph's subconfig, which names its models and nothing else."""
    section = "model_config_list"
    return _models(root.members((section,), (section,))[section])


def parse_plugin_config(node: Node) -> PluginConfig:
    """A plugin_config: an object of strings, numbers and booleans."""
    return {key: member.scalar() for key, member in node.mapping().items()}


def adaptation_text(name: str, node: Node) -> Written:
    """What one of ADAPTATION_KEYS says, as the text that flags have: a number, a list
    of numbers or a text; shapes and layouts may be objects of them.
    """
    if isinstance(node.value, dict) and name in {"shape", "layout"}:
        return {key: _text(each) for key, each in node.mapping().items()}
    return _text(node)


def _text(node: Node) -> str:
    if isinstance(node.value, list):
        return f"({','.join(str(each.scalar()) for each in node.elements())})"
    if isinstance(node.value, bool):
        node.refuse("expected a string or a number")
    return str(node.scalar())


def _name(node: Node) -> str:
    """Of what has other keys, too, that mean nothing here."""
    keys = node.mapping()
    if "name" not in keys:
        node.refuse('key "name" is missing')
    return keys["name"].text()


def _models(section: Node) -> tuple[ModelEntry, ...]:
    return tuple(
        _model(entry.members(("config",), ("config",))["config"])
        for entry in section.elements()
    )


def _model(node: Node) -> ModelEntry:
    keys = node.members(_MODEL_KEYS, ("name",))
    policy = keys.get("model_version_policy")
    nireq = keys.get("nireq")
    device = keys.get("target_device")
    plugin_config = keys.get("plugin_config")
    stateful = keys.get("stateful")
    low_latency = keys.get("low_latency_transformation")
    batching = keys.get("dynamic_batching")
    sequences = keys.get("max_sequence_number")
    cleanup = keys.get("idle_sequence_cleanup")
    queue = keys.get("max_queue_length")
    return ModelEntry(
        _graph(keys),
        parse_policy(policy) if policy else DEFAULT_POLICY,
        nireq.integer() if nireq else 0,
        (device.text() if device else "") or DEFAULT_DEVICE,
        parse_plugin_config(plugin_config) if plugin_config else {},
        tuple(
            keys[name].where
            for name, harmless in _UNSUPPORTED_KEYS.items()
            if name in keys and not _is_same(keys[name].value, harmless)
        ),
        sequences.integer() if sequences else DEFAULT_MAX_SEQUENCES,
        cleanup.boolean() if cleanup else True,
        queue.integer(0) if queue else None,
        stateful.boolean() if stateful else False,
        low_latency.boolean() if low_latency else False,
        _batching(batching) if batching else None,
        {
            name: adaptation_text(name, keys[name])
            for name in ADAPTATION_KEYS
            if name in keys
        },
        "allow_cache" in keys and keys["allow_cache"].boolean(),
    )


def _batching(node: Node) -> DynamicBatching:
    size, delay = "max_batch_size", "max_queue_delay_microseconds"
    keys = node.members((size, delay), (size,))
    most = MAX_SECONDS * 1e6
    waits = keys[delay].integer(0) if delay in keys else 0
    if waits > most:
        keys[delay].refuse(f"expected at most {most:.0f}")
    return DynamicBatching(keys[size].integer(1), waits)


def _graph(keys: Mapping[str, Node]) -> GraphEntry:
    texts = {
        name: keys[name].text()
        for name in _GRAPH_KEYS
        if name in keys and name != "stream"
    }
    stream = keys.get("stream")
    return GraphEntry(**texts, stream=_stream(stream) if stream else NO_LIMITS)


def _stream(node: Node) -> StreamPolicy:
    keys = node.members(_STREAM_KEYS)
    overflow = keys.get("overflow")
    coalesce = keys.get("coalesce")
    counts = {
        name: keys[name].integer(least)
        for name, least in _STREAM_COUNTS
        if name in keys
    }
    seconds = {name: _seconds(keys[name]) for name in _STREAM_SECONDS if name in keys}
    return StreamPolicy(
        window=counts.get("window"),
        queue=counts.get("queue"),
        max_streams=counts.get("max_streams"),
        idle_timeout_seconds=seconds.get("idle_timeout_seconds"),
        max_age_seconds=seconds.get("max_age_seconds"),
        overflow=_overflow(overflow) if overflow else Overflow.WAIT,
        coalesce=coalesce.boolean() if coalesce else False,
    )


def _seconds(node: Node) -> float:
    value = node.scalar()
    if isinstance(value, str | bool) or not 0 < value <= MAX_SECONDS:
        node.refuse(f"expected seconds above 0 and at most {MAX_SECONDS:g}")
    return float(value)


def _overflow(node: Node) -> Overflow:
    text = node.text()
    try:
        return Overflow(text)
    except ValueError:
        known = ", ".join(each.value for each in Overflow)
        node.refuse(f"expected one of {known}, got {text!r}")


def _monitoring(node: Node) -> MonitoringSpec:
    metrics = node.members(("metrics",), ("metrics",))["metrics"]
    keys = metrics.members(("enable", "metrics_list"), ("enable",))
    families = keys.get("metrics_list")
    return MonitoringSpec(
        keys["enable"].boolean(),
        tuple(f.text() for f in families.elements()) if families else None,
    )


def _is_same(value: object, other: object) -> bool:
    # In JSON false is not 0, in Python it is.
    return type(value) is type(other) and value == other
