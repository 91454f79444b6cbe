"""Reload is subtraction: what is wanted, a snapshot, less what is served, is what there is
to do.

New is loaded and tried before old is retired. What cannot be loaded leaves what was
served before as it is, and is tried again when its files change, when somebody asks, and
now and then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.files import Digests, has_moved
from ovms_mp.repository.versions import select
from ovms_mp.servable import modules
from ovms_mp.servable.faults import Faults, Key
from ovms_mp.servable.status import Change, Outcome, Report

if TYPE_CHECKING:
    from pathlib import Path

    from ovms_mp.repository.config import ModelSpec, RepositoryConfig
    from ovms_mp.repository.files import Files
    from ovms_mp.repository.snapshot import (
        Fingerprint,
        GraphPart,
        ModelParts,
        Part,
        Snapshot,
    )
    from ovms_mp.servable.calculators import Calculators
    from ovms_mp.servable.catalog import Catalog
    from ovms_mp.servable.loading import Holdings, Loader
    from ovms_mp.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# Models that are compiled at a time. OpenVINO compiles with several threads by itself;
# a second model uses the time in which the first has work for one only.
LOADERS: Final = 2


class _ServedGraph(NamedTuple):
    fingerprint: Fingerprint
    holdings: Holdings


class Reconciler:
    """Makes the catalog what a snapshot says. One call at a time."""

    def __init__(
        self,
        catalog: Catalog,
        loader: Loader,
        calculators: Calculators,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._loader = loader
        self._calculators = calculators
        self._metrics = metrics
        self._digests = Digests()
        self._faults = Faults(clock)
        self._pool = ThreadPoolExecutor(LOADERS, "loading")
        self._models: dict[str, dict[int, Fingerprint]] = {}
        self._graphs: dict[str, _ServedGraph] = {}
        self._brought_by: dict[str, str] = {}
        self._read: set[Path] = set()
        self._imported: dict[str, tuple[object, set[Path]]] = {}
        self._generation = 0

    @property
    def is_due(self) -> bool:
        """True if it is time to try something again that failed."""
        return self._faults.is_due

    def announce(self, wanted: Snapshot) -> None:
        """Make names known, so that early requests wait for what is to come."""
        for name in wanted.models:
            self._catalog.announce_model(name)
        for name in _graphs(wanted):
            self._catalog.announce_graph(name)

    def apply(
        self,
        wanted: Snapshot,
        is_moving: Callable[[Part], bool] = lambda part: False,
        *,
        is_asked: bool = False,
    ) -> Report:
        """Do what there is to do, models first, for graphs name them. Parts of which
        `is_moving` is true are left as they are. What failed is tried again if somebody
        `is_asked` to.
        """
        if is_asked:
            self._faults.retry()
        changes = [*self._refused(wanted), *self._become(wanted, is_moving)]
        self.announce(wanted)
        model = partial(self._model, is_moving=is_moving)
        changes += chain.from_iterable(self._pool.map(model, wanted.models.values()))
        self._generation += any(each.outcome in _NEWS for each in changes)
        parts = [each for each in _graphs(wanted).values() if not is_moving(each.part)]
        graphs = {each.spec.name: self._graph(each) for each in parts}
        removed = [*self._removed(wanted)]
        # Who holds a model that has just gone would not get it again.
        lost = [each for each in parts if removed and self._has_lost(each.spec.name)]
        graphs.update({each.spec.name: self._graph(each) for each in lost})
        changes += [*graphs.values(), *removed]
        self._brought_by = {**self._brought_by, **wanted.config.brought_by}
        self._digests.forget_all_but(wanted.looked_at)
        report = Report(tuple(changes))
        if wanted.error is not None:
            report = Report(report.changes, wanted.error.text, wanted.error.status)
        if report.has_changed or not report.is_ok:
            self._metrics.reloaded(ok=report.is_ok)
        return report

    def close(self) -> None:
        """End the threads; what they are at is left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # What there is nothing to load for

    def _refused(self, wanted: Snapshot) -> Iterator[Change]:
        """What the configuration says that cannot be."""
        taken = Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED
        refused = {each.subject: each.error for each in wanted.config.problems}
        names = {name: each.text for name, each in refused.items() if ": " not in name}
        for name in [each for each in wanted.graphs if each in wanted.models]:
            refused[f"graph {name} is not served"] = ServingError(taken, name)
            names[name] = ServingError(taken, name).text
        if wanted.error is not None:
            refused["the configuration before goes on"] = wanted.error
        whole = "" if wanted.error is None else wanted.error.text
        are_complete = self._are_read(wanted.config)
        self._catalog.refusals.become(names, whole, are_complete=are_complete)
        self._catalog.changed()
        for key in self._faults.all():
            if key.kind == "config" and key.name not in refused:
                self._mend(key)
        for subject, error in refused.items():
            change = self._fail(Key("config", subject), None, error.text)
            is_skipped = subject in wanted.config.overruled
            yield change.skipped() if is_skipped else change

    def _are_read(self, config: RepositoryConfig) -> bool:
        """False if there is a subconfig that never could be read. What one that could
        has named is served still.
        """
        there = {each.subconfig for each in config.graphs if each.subconfig}
        self._read = (self._read & there) | there.difference(config.unread)
        return self._read == there

    def _become(
        self, wanted: Snapshot, is_moving: Callable[[Part], bool]
    ) -> Iterator[Change]:
        folder = wanted.calculators
        if folder is None or is_moving(folder):
            return
        key = Key("calculators", str(folder.path))
        try:
            self._calculators.become(folder, self._digests)
        except ServingError as error:
            yield self._fail(key, None, error.text)
        else:
            self._mend(key)
        wrong = self._calculators.problems
        for each in self._faults.all():
            if each.kind == key.kind and each.name not in {key.name, *wrong}:
                self._mend(each)
        for name, reason in wrong.items():
            yield self._fail(key._replace(name=name), None, reason)

    def _removed(self, wanted: Snapshot) -> Iterator[Change]:
        """Retire names that are wanted no more. One that is wanted as the other kind
        stays until that can be served.
        """
        graphs = _graphs(wanted)
        for name in self._models.keys() - wanted.models.keys():
            if self._is_hidden(name, wanted) or name in graphs.keys() - self._graphs:
                continue
            versions = self._models.pop(name)
            self._catalog.model_removed(name)
            for number in sorted(self._faults.versions(name).union(versions)) or (0,):
                yield self._remove(Key("model", name, number))
        for name in self._graphs.keys() - graphs.keys():
            if self._is_hidden(name, wanted) or self._models.get(name) == {}:
                continue
            del self._graphs[name]
            self._catalog.graph_removed(name)
            yield self._remove(Key("graph", name, 1))

    def _is_hidden(self, name: str, wanted: Snapshot) -> bool:
        """True if a name is not wanted only because what would say so cannot be read,
        or says what cannot be.
        """
        refused = {each.subject for each in wanted.config.problems}
        by = self._brought_by.get(name, "")
        if name in refused or by in refused:
            return True
        if by in wanted.models:
            return wanted.models[by].error is not None
        graph = wanted.graphs.get(by)
        return graph is not None and graph.part.files[graph.spec.graph_path] is None

    # Models

    def _model(
        self, parts: ModelParts, is_moving: Callable[[Part], bool]
    ) -> list[Change]:
        """Load the versions that the policy selects. Under `latest` a lower version
        takes the place of one that cannot be loaded (OVMS).
        """
        spec = parts.spec
        whole = Key("model", spec.name)
        served = self._models.setdefault(spec.name, {})
        if parts.is_coming:
            return []
        if parts.error is not None:
            self._catalog.model_settled(spec.name, parts.error.text)
            return [self._fail(whole, None, parts.error.text)]
        moving = {number for number, part in parts.versions.items() if is_moving(part)}
        found = (parts.versions.keys() - moving) | (moving & served.keys())
        changes: list[Change] = []
        kept: set[int] = set()
        failed: set[int] = set()
        while to_do := set(select(spec.version_policy, found, failed)) - kept:
            number = max(to_do)
            if number not in moving:
                changes.append(self._version(spec, number, parts.versions[number]))
            (kept if number in served else failed).add(number)
        changes += self._settle(whole, kept, has_hope=bool(failed or moving))
        known = self._faults.versions(spec.name)
        for number in known - {0, *served, *failed, *moving}:
            self._catalog.model_retired(spec.name, number)
            changes.append(self._remove(whole._replace(version=number)))
        return changes

    def _settle(
        self, whole: Key, kept: Iterable[int], *, has_hope: bool
    ) -> Iterator[Change]:
        """Retire versions that are not selected, if any that is can be served."""
        served = self._models[whole.name]
        if not kept and not has_hope:
            reason = "its policy selects no version"
            self._catalog.model_settled(whole.name, reason)
            yield self._fail(whole, None, reason)
            return
        self._mend(whole)
        self._catalog.model_settled(whole.name)
        for number in served.keys() - kept if kept else ():
            del served[number]
            self._catalog.model_retired(whole.name, number)
            yield self._remove(whole._replace(version=number))

    def _version(self, spec: ModelSpec, number: int, part: Part) -> Change:
        key = Key("model", spec.name, number)
        served = self._models[spec.name]
        fingerprint = part.fingerprint(self._digests)
        if served.get(number) == fingerprint:
            return self._unchanged(key)
        if reason := self._faults.reason(key, fingerprint):
            return _change(key, Outcome.FAILED, reason)
        self._catalog.model_loading(spec.name, number)
        try:
            servable = self._loader.version(spec, number, part.path)
            if has_moved(part.files):
                servable.close()
                raise _moved()
        except Exception as error:
            reason = _reason(error, key)
            self._catalog.model_failed(spec.name, number, reason)
            return self._fail(key, fingerprint, reason)
        outcome = Outcome.RELOADED if number in served else Outcome.LOADED
        served[number] = fingerprint
        self._catalog.model_loaded(spec.name, number, servable)
        return self._succeed(key, outcome)

    # Graphs

    def _graph(self, wanted: GraphPart) -> Change:
        name, files = wanted.spec.name, wanted.part.files
        key = Key("graph", name, 1)
        own = wanted.part.fingerprint(self._digests)
        fingerprint = own._replace(settings=(own.settings, self._calculators.number))
        served = self._graphs.get(name)
        if (
            served is not None
            and served.fingerprint == fingerprint
            and served.holdings.is_current
        ):
            return self._unchanged(key)
        # What it failed for may be a model.
        made_of = fingerprint, self._generation
        if reason := self._faults.reason(key, made_of):
            return _change(key, Outcome.FAILED, reason)
        self._catalog.graph_loading(name)
        self._forget_modules(name, files, own)
        try:
            loaded = self._loader.graph(wanted.spec, self._calculators.lease())
            if has_moved(files):
                loaded.servable.close()
                raise _moved()
        except Exception as error:
            reason = _reason(error, key)
            self._catalog.graph_failed(name, reason)
            return self._fail(key, made_of, reason)
        self._graphs[name] = _ServedGraph(fingerprint, loaded.holdings)
        self._catalog.graph_loaded(name, loaded.servable)
        outcome = Outcome.LOADED if served is None else Outcome.RELOADED
        return self._succeed(key, outcome)

    def _has_lost(self, name: str) -> bool:
        served = self._graphs.get(name)
        return served is not None and not served.holdings.is_current

    def _forget_modules(self, name: str, files: Files, own: Fingerprint) -> None:
        """Python that a graph imported before is imported anew if any of it changed."""
        contents = [each for each in own.contents if each[0].endswith(".py")]
        paths = {path for path in files if path.suffix == ".py"}
        before, gone = self._imported.get(name, (contents, paths))
        self._imported[name] = contents, paths
        if before != contents:
            modules.forget(paths | gone)

    # What is told

    def _unchanged(self, key: Key) -> Change:
        if self._mend(key):
            self._catalog.mended(*key)
        return _change(key, Outcome.UNCHANGED)

    def _succeed(self, key: Key, outcome: Outcome) -> Change:
        self._mend(key)
        is_new = outcome is Outcome.LOADED
        log.info("%s is available" if is_new else "%s is reloaded", key)
        return _change(key, outcome)

    def _fail(self, key: Key, made_of: object, reason: str) -> Change:
        if self._faults.add(key, made_of, reason):
            log.error("%s: %s%s", key, reason, self._meanwhile(key))
            self._metrics.outdated(*_labels(key), is_outdated=True)
        return _change(key, Outcome.FAILED, reason)

    def _mend(self, key: Key) -> bool:
        """True if there was something to mend."""
        if is_mended := self._faults.discard(key):
            self._metrics.outdated(*_labels(key), is_outdated=False)
        return is_mended

    def _remove(self, key: Key) -> Change:
        self._mend(key)
        log.info("%s is removed", key)
        return _change(key, Outcome.REMOVED)

    def _meanwhile(self, key: Key) -> str:
        served = self._models.get(key.name, {})
        is_served = key.version in served if key.version else bool(served)
        if key.kind == "graph":
            is_served = key.name in self._graphs
        elif key.kind != "model":
            is_served = False
        return "; what was loaded before is served still" if is_served else ""


_NEWS: Final = {Outcome.LOADED, Outcome.RELOADED, Outcome.REMOVED}


def _graphs(wanted: Snapshot) -> dict[str, GraphPart]:
    """Graphs whose names no model has."""
    return {
        name: part for name, part in wanted.graphs.items() if name not in wanted.models
    }


def _change(key: Key, outcome: Outcome, reason: str = "") -> Change:
    return Change(key.name, key.kind, key.version, outcome, reason)


def _labels(key: Key) -> tuple[str, str, str]:
    return key.kind, key.name, str(key.version) if key.version else ""


def _moved() -> ServingError:
    return ServingError(Status.MODEL_NOT_LOADED, "files changed while they were read")


def _reason(error: Exception, key: Key) -> str:
    if isinstance(error, ServingError):
        return error.text
    log.error("%s cannot be loaded", key, exc_info=error)
    return f"{type(error).__name__}: {error}"
