"""What to serve, and from where, as frozen values; defaults and rules for relative paths
are OVMS's.

An entry that cannot be served as written is refused alone, as a `Problem`; the others
are served. Of two definitions of a name the first counts.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from ovms_mp.core.adaptation import NO_ADAPTATION, Adaptation, parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.stream_policy import NO_LIMITS, StreamPolicy
from ovms_mp.repository import document, storage
from ovms_mp.repository.confinement import ensure_within
from ovms_mp.repository.document import Scalar
from ovms_mp.repository.models import is_file
from ovms_mp.repository.schema import (
    DEFAULT_DEVICE,
    DEFAULT_MAX_SEQUENCES,
    DynamicBatching,
    GraphEntry,
    ModelEntry,
    MonitoringSpec,
    PluginConfig,
    parse_config,
    parse_subconfig,
)
from ovms_mp.repository.versions import DEFAULT_POLICY, VersionPolicy

__all__ = (
    "DynamicBatching",
    "GraphSpec",
    "ModelSpec",
    "MonitoringSpec",
    "PluginConfig",
    "Problem",
    "RepositoryConfig",
    "graph_home",
    "local_path",
    "place_of",
    "read",
)

GRAPH_FILE: Final = "graph.pbtxt"
SUBCONFIG_FILE: Final = "subconfig.json"
FALLBACK_SUBCONFIG_FILE: Final = "config.json"
MAX_NIREQ: Final = 100_000
_OCCUPIED: Final = {Status.MODEL_NAME_OCCUPIED, Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED}
LOW_LATENCY_OF_STATELESS: Final = "low_latency_transformation needs stateful"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model to serve: a directory of version directories, or a model file; with a
    `url` it is in cloud storage, and has no path before there is a mirror of it.

    `nireq` is None where OpenVINO is to choose, `max_queue_length` for the default.
    That it `is_stateful` only allows to make it so; a state is seen in the model.
    """

    name: str
    base_path: Path
    version_policy: VersionPolicy = DEFAULT_POLICY
    nireq: int | None = None
    target_device: str = DEFAULT_DEVICE
    plugin_config: PluginConfig = field(default_factory=dict[str, Scalar])
    stream: StreamPolicy = NO_LIMITS
    max_sequence_number: int = DEFAULT_MAX_SEQUENCES
    idle_sequence_cleanup: bool = True
    max_queue_length: int | None = None
    is_stateful: bool = False
    low_latency_transformation: bool = False
    dynamic_batching: DynamicBatching | None = None
    url: str = ""
    adaptation: Adaptation = NO_ADAPTATION
    allow_cache: bool = False


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """A graph to serve. `base_path` is its directory, `graph_path` its pbtxt, and
    `subconfig` the file that named its models, None if there is none.
    """

    name: str
    base_path: Path
    graph_path: Path
    subconfig: Path | None = None
    stream: StreamPolicy = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not served as written, and why. Details may name paths."""

    subject: str
    error: ServingError


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """What one reading of the configuration said.

    Names are unique among models, and among graphs. That no graph has a model's name is
    for the catalog to see. Models of the config itself come before those of subconfigs.
    `documents` are the files that were looked into, and `brought_by` says whose
    subconfig names a model that the config itself does not. Nobody knows what `unread`
    subconfigs name: they are problems of their graphs.
    """

    models: tuple[ModelSpec, ...] = ()
    graphs: tuple[GraphSpec, ...] = ()
    metrics: MonitoringSpec | None = None
    problems: tuple[Problem, ...] = ()
    documents: tuple[Path, ...] = ()
    brought_by: Mapping[str, str] = field(default_factory=dict[str, str])
    unread: tuple[Path, ...] = ()

    @property
    def overruled(self) -> frozenset[str]:
        """Names of whose definitions nothing is wrong but that another one counts."""
        wrong = {p.subject for p in self.problems if p.error.status not in _OCCUPIED}
        return frozenset({p.subject for p in self.problems} - wrong)


def read(source: Path | ModelSpec, root: Path | None = None) -> RepositoryConfig:
    """What a config.json says, or the one servable at a spec's base path: a graph if
    there is a graph.pbtxt, else a model. With a `root`, all of it lies below that.

    Raises ServingError, FILE_INVALID or JSON_INVALID, if the config cannot be read or
    breaks its schema. A subconfig that does is a problem of its graph only.
    """
    reading = _Reading(root)
    if isinstance(source, ModelSpec):
        reading.single(source)
    else:
        reading.config(source.absolute())
    return RepositoryConfig(
        tuple(reading.models.values()),
        tuple(reading.graphs.values()),
        reading.metrics,
        tuple(reading.problems),
        tuple(reading.documents),
        reading.brought_by,
        tuple(reading.unread),
    )


def graph_home(base_path: Path) -> Path | None:
    """The directory that holds graph.pbtxt: `base_path` or, as model mesh has it, the
    `1` in it; None where there is no graph.
    """
    for home in (base_path, base_path / "1"):
        if is_file(home / GRAPH_FILE):
            return home
    return None


def local_path(text: str, base: Path) -> Path:
    """`text` as a path, relative to `base`. Raises ServingError if it is a URL."""
    if scheme := storage.scheme_of(text):
        only = "for models" if storage.is_url(text) else "not supported"
        details = f"{scheme}:// is {only}, expected a local path"
        raise ServingError(Status.NOT_IMPLEMENTED, details)
    return base / text


def place_of(text: str, base: Path) -> tuple[Path, str]:
    """Where a model is: a path, relative to `base`, or no path and a URL. Raises
    ServingError for a URL of another kind.
    """
    if storage.is_url(text):
        if "@" in text:
            details = "a URL that may have a secret: credentials are the environment's"
            raise ServingError(Status.PATH_INVALID, details)
        return Path(), text
    return local_path(text, base), ""


class _Reading:
    """One reading, as it grows."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self.models: dict[str, ModelSpec] = {}
        self.graphs: dict[str, GraphSpec] = {}
        self.metrics: MonitoringSpec | None = None
        self.problems: list[Problem] = []
        self.documents: list[Path] = []
        self.brought_by: dict[str, str] = {}
        self.unread: list[Path] = []

    def single(self, spec: ModelSpec) -> None:
        """A servable by itself; it has no settings of its own if it is a graph."""
        base_path = spec.base_path.absolute()
        if spec.url:
            self.models[spec.name] = spec
            return
        ensure_within(self._root, (base_path,))
        if graph_home(base_path) is None:
            self.models[spec.name] = replace(spec, base_path=base_path)
        else:
            self._graph(GraphEntry(spec.name, str(base_path)), base_path)

    def config(self, file: Path) -> None:
        """A config.json: all its own models first, then its graphs and theirs."""
        ensure_within(self._root, (file,))
        self.documents.append(file)
        written = parse_config(document.read(file))
        self.metrics = written.monitoring
        for where in written.unsupported:
            with self._problems_of(where):
                raise ServingError(Status.NOT_IMPLEMENTED, "not supported yet")
        for name in written.pipelines:
            with self._problems_of(name):
                details = "pipelines are not supported yet"
                raise ServingError(Status.NOT_IMPLEMENTED, details)
        graphs = list(written.graphs)
        for entry in written.models:
            with self._problems_of(entry.graph.name):
                if _is_graph(entry.graph, file.parent):
                    graphs.append(entry.graph)
                else:
                    self._model(entry, file)
        for entry in graphs:
            with self._problems_of(entry.name):
                self._graph(entry, file.parent, file)

    def _model(self, entry: ModelEntry, file: Path) -> None:
        spec = _model_spec(entry, file.parent)
        if not spec.url:
            ensure_within(self._root, (spec.base_path,))
        if self.models.setdefault(spec.name, spec) != spec:
            # The same name in the subconfigs of two graphs is easily said by mistake.
            taken = "the name is taken by a model with other settings, which counts"
            raise ServingError(Status.MODEL_NAME_OCCUPIED, f"{file}: {taken}")

    def _graph(
        self, entry: GraphEntry, directory: Path, config: Path | None = None
    ) -> None:
        spec = _graph_spec(entry, directory, config)
        ensure_within(self._root, (spec.base_path, spec.graph_path, spec.subconfig))
        if self.graphs.setdefault(spec.name, spec) != spec:
            raise ServingError(Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED, spec.name)
        if spec.subconfig is None:
            return
        self.documents.append(spec.subconfig)
        # All of it is parsed before any of it counts.
        try:
            models = parse_subconfig(document.read(spec.subconfig))
        except ServingError:
            self.unread.append(spec.subconfig)
            raise
        for model in models:
            if model.graph.name not in self.models:
                self.brought_by[model.graph.name] = spec.name
            with self._problems_of(model.graph.name):
                self._model(model, spec.subconfig)

    @contextmanager
    def _problems_of(self, subject: str) -> Generator[None]:
        try:
            yield
        except ServingError as error:
            self.problems.append(Problem(subject, error))


def _is_graph(entry: GraphEntry, directory: Path) -> bool:
    # Only a graph can have a graph_path, whether or not its file is there.
    if entry.graph_path or storage.is_url(entry.base_path):
        return bool(entry.graph_path)
    return graph_home(_base_path(entry, directory)) is not None


def _model_spec(entry: ModelEntry, directory: Path) -> ModelSpec:
    if entry.unsupported:
        details = f"{entry.unsupported[0]}: not supported yet"
        raise ServingError(Status.NOT_IMPLEMENTED, details)
    if entry.nireq > MAX_NIREQ:
        details = f"Nireq parameter too high: {entry.nireq}, at most {MAX_NIREQ}"
        raise ServingError(Status.MODEL_NOT_LOADED, details)
    if entry.low_latency_transformation and not entry.is_stateful:
        status = Status.INVALID_NON_STATEFUL_MODEL_PARAMETER
        raise ServingError(status, LOW_LATENCY_OF_STATELESS)
    if storage.is_url(entry.graph.base_path):
        base_path, url = place_of(entry.graph.base_path, directory)
    else:
        base_path, url = _base_path(entry.graph, directory), ""
    return ModelSpec(
        entry.graph.name,
        base_path,
        entry.version_policy,
        entry.nireq or None,
        entry.target_device,
        entry.plugin_config,
        entry.graph.stream,
        entry.max_sequence_number,
        entry.idle_sequence_cleanup,
        entry.max_queue_length,
        entry.is_stateful,
        entry.low_latency_transformation,
        entry.dynamic_batching,
        url,
        parse(entry.written),
        entry.allow_cache,
    )


def _graph_spec(entry: GraphEntry, directory: Path, config: Path | None) -> GraphSpec:
    base_path = _base_path(entry, directory)
    if not entry.graph_path:
        base_path = graph_home(base_path) or base_path
    return GraphSpec(
        entry.name,
        base_path,
        local_path(entry.graph_path or GRAPH_FILE, base_path),
        _subconfig(entry, base_path, config),
        entry.stream,
    )


def _subconfig(entry: GraphEntry, base_path: Path, config: Path | None) -> Path | None:
    named = local_path(entry.subconfig or SUBCONFIG_FILE, base_path)
    if is_file(named):
        return named
    fallback = base_path / FALLBACK_SUBCONFIG_FILE
    if not is_file(fallback):
        return None
    # A graph may lie beside the config that names it: that is not its subconfig.
    return None if config is not None and fallback.samefile(config) else fallback


def _base_path(entry: GraphEntry, directory: Path) -> Path:
    if not entry.name:
        raise ServingError(Status.PATH_INVALID, "the name is empty")
    if entry.base_path:
        return local_path(entry.base_path, directory)
    if entry.name.startswith("/") or ".." in PurePosixPath(entry.name).parts:
        details = "the name leads out of the config's directory; give a base_path"
        raise ServingError(Status.PATH_INVALID, details)
    return directory / entry.name
