"""What a configuration names becomes servables in the catalog; one that cannot be loaded
is reported and disturbs no other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ovms_mp.calculator.services import InferenceSession
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.engine import ModelConfig
from ovms_mp.library.graph import Graph
from ovms_mp.repository import models
from ovms_mp.repository.versions import select
from ovms_mp.servable.graph import GraphServable
from ovms_mp.servable.interface import check_boundary
from ovms_mp.servable.model import ModelServable, ModelSession

if TYPE_CHECKING:
    from pathlib import Path

    from ovms_mp.inference.engine import Engine
    from ovms_mp.library.hosting import Registry, Submit
    from ovms_mp.repository.config import GraphSpec, ModelSpec, RepositoryConfig
    from ovms_mp.servable.catalog import Catalog
    from ovms_mp.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Loader:
    """Loads in the thread that calls; one call at a time."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        engine: Engine,
        registry: Registry,
        submit: Submit,
        metrics: Metrics,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._registry = registry
        self._submit = submit
        self._metrics = metrics
        self._models = CatalogModels(catalog)

    def announce(self, config: RepositoryConfig) -> None:
        """Make the names known, so that early requests wait for what is to come."""
        for model in config.models:
            self._catalog.announce_model(model.name)
        for graph in config.graphs:
            try:
                self._catalog.announce_graph(graph.name)
            except ServingError as error:
                log.error("graph %s is not served: %s", graph.name, error.text)

    def load(self, config: RepositoryConfig) -> None:
        """Load everything announced: models first, for graphs name them. What cannot be
        loaded is in the log, and not ready in the catalog.
        """
        for problem in config.problems:
            log.error("%s: %s", problem.subject, problem.error.text)
        for model in config.models:
            self._load_model(model)
        for graph in config.graphs:
            if self._catalog.expects_graph(graph.name):
                self._load_graph(graph)
        self._catalog.first_load_done()

    def _load_model(self, spec: ModelSpec) -> None:
        """Load the versions that the policy selects. Under `latest` a lower version
        takes the place of one that cannot be loaded (OVMS).
        """
        loaded: set[int] = set()
        failed: set[int] = set()
        try:
            found = models.versions(spec.base_path)
            while wanted := set(select(spec.version_policy, found, failed)) - loaded:
                version = max(wanted)
                is_loaded = self._load_version(spec, version, found[version])
                (loaded if is_loaded else failed).add(version)
            if not loaded | failed:
                log.error("model %s: its policy selects no version", spec.name)
        except ServingError as error:
            log.error("model %s: %s", spec.name, error.text)
        self._catalog.model_settled(spec.name)

    def _load_version(self, spec: ModelSpec, version: int, directory: Path) -> bool:
        self._catalog.model_loading(spec.name, version)
        try:
            path = models.model_file(directory)
            config = ModelConfig(
                target_device=spec.target_device,
                plugin_config=spec.plugin_config,
                nireq=spec.nireq or 0,
                max_queue_length=spec.max_queue_length,
            )
            compiled = self._engine.load(path, config)
        except ServingError as error:
            log.error("model %s version %d: %s", spec.name, version, error.text)
            self._catalog.model_failed(spec.name, version, error.text)
            return False
        servable = ModelServable(spec.name, version, compiled, self._metrics, spec)
        self._catalog.model_loaded(spec.name, version, servable)
        log.info("model %s version %d is available", spec.name, version)
        return True

    def _load_graph(self, spec: GraphSpec) -> None:
        try:
            graph = Graph.load(
                spec.graph_path,
                models=self._models,
                calculators=self._registry,
                base_path=spec.base_path,
                check=check_boundary,
            )
        except ServingError as error:
            log.error("graph %s: %s", spec.name, error.text)
            self._catalog.graph_failed(spec.name, error.text)
            return
        servable = GraphServable(
            spec.name, graph, self._submit, self._metrics, spec.stream
        )
        self._catalog.graph_loaded(spec.name, servable)
        log.info("graph %s is available", spec.name)


class CatalogModels:
    """The Models service of graphs: what the catalog serves."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def session(self, name: str, version: str) -> InferenceSession:
        """See Models. A version that is no number means the default one (OVMS)."""
        if not version.isdigit():
            version = ""
        try:
            servable = self._catalog.model(name, version)
        except ServingError as error:
            wanted = f'model "{name}"' + (f" version {version}" if version else "")
            details = f"{wanted}: {error.text}"
            raise ServingError(
                Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR, details
            ) from error
        return ModelSession(servable)
