"""What the server knows of an inference engine: models with named, typed ports, whose
results come later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from ovms_mp.core import layout as layouts
from ovms_mp.core.adaptation import NO_ADAPTATION, Adaptation
from ovms_mp.core.messages import Buffer, ModelInfo, TensorInfo
from ovms_mp.core.pending import Pending
from ovms_mp.core.shape import Shape
from ovms_mp.core.tensor import BYTES, Array, Datatype

Property: TypeAlias = "str | int | float | bool | Mapping[str, Property]"

TensorData: TypeAlias = Array | Buffer
"""An input: an array, or the bytes of one."""

Borrow: TypeAlias = "Callable[[Path], AbstractContextManager[Path | None]]"
"""Gives, within, a file that has what is in a file now, and that nobody can write to: it
may be mapped. None: there is none."""

# Each one that waits holds its input tensors. At 5 ms an inference, a thousand take
# five seconds: who comes after them is better off to hear no at once.
MAX_QUEUE_LENGTH: Final = 1000

TRIAL_SECONDS: Final = 0.25
"""Longer than this no model is tried where somebody waits for it."""

TEXT: Final = "string"
"""The element type of texts: their arrays have bytes objects."""
_FIRST_TENSOR: Final = ":0"  # how TensorFlow names the first output of an operation
_SAVED_MODEL: Final = "saved_model.pb"


def file_name(path: Path) -> str:
    """What messages call the model at `path`: a SavedModel is read as a folder, whose
    name is just a version's number.
    """
    return _SAVED_MODEL if path.is_dir() else path.name


class NameMapping(NamedTuple):
    """Public names of ports, by names that the file has (OVMS's mapping_config.json)."""

    inputs: Mapping[str, str] = {}
    outputs: Mapping[str, str] = {}


NO_MAPPING: Final = NameMapping()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How a model is put on a device, with the defaults of OVMS. `nireq` 0: as many
    infer requests as the device finds optimal. `max_queue_length` is how many
    inferences may wait for one; None: MAX_QUEUE_LENGTH. With `low_latency`, what the
    model's loops hand from one iteration to the next becomes a state. `names` are
    published instead of those in the file. A model that is compiled for what comes is
    cached on disk only if `allow_cache`.
    """

    target_device: str = "CPU"
    plugin_config: Mapping[str, Property] = field(default_factory=dict[str, Property])
    nireq: int = 0
    max_queue_length: int | None = None
    low_latency: bool = False
    adaptation: Adaptation = NO_ADAPTATION
    names: NameMapping = NO_MAPPING
    allow_cache: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model.

    `name` is the published one, `names` all that OpenVINO knows. `datatype` is None
    where `element_type`, OpenVINO's word for it, has no fixed size or no KServe name.
    `shape` is what it admits, None if not even the number of dimensions is known; where
    the model is compiled for what comes, `told` is the shape in its file.
    """

    name: str
    names: frozenset[str]
    datatype: Datatype | None
    element_type: str
    shape: Shape | None
    layout: str = layouts.DEFAULT
    told: Shape | None = None

    @property
    def batch_axis(self) -> int | None:
        """Which dimension is the batch, if any is."""
        return layouts.batch_axis(self.layout) if self.shape else None

    @property
    def is_static(self) -> bool:
        """True if only one shape is possible."""
        return self.shape is not None and all(dim.is_static for dim in self.shape)

    @property
    def info(self) -> TensorInfo:
        """What metadata tells of the port; types without a KServe name are INVALID."""
        if self.datatype is not None:
            datatype = self.datatype.name
        else:
            datatype = BYTES if self.element_type == TEXT else "INVALID"
        dims = self.told or self.shape or ()
        shape = tuple(dim.minimum if dim.is_static else -1 for dim in dims)
        bare = {each.removesuffix(_FIRST_TENSOR) for each in self.names}
        aliases = tuple(sorted({*self.names, *bare}))
        is_example = self.shape is None or self.told is not None
        return TensorInfo(self.name, datatype, shape, aliases, is_example)


class Ports(Sequence[Port]):
    """The inputs or the outputs of a model, in the model's order.

    `find` knows a port by each of its names, and by each of them with `:0` added or
    taken away, unless that is another port's own name.
    """

    __slots__ = ("_index", "_ports", "by_name")

    def __init__(self, ports: Sequence[Port]) -> None:
        self._ports = tuple(ports)
        self._index = _name_index(self._ports)
        names = [port.name for port in self._ports]
        self.by_name: Final = tuple(sorted(range(len(names)), key=names.__getitem__))
        """Indexes in the order of published names, in which OVMS lists ports."""

    def find(self, name: str) -> int | None:
        """The index of the port that `name` means, or None."""
        return self._index.get(name)

    # Only what Sequence needs; slices are a list, which nobody asks for a name.
    def __getitem__(self, index: int) -> Port:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._ports[index]

    def __len__(self) -> int:
        return len(self._ports)

    def __iter__(self) -> Iterator[Port]:
        return iter(self._ports)

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """What metadata tells, in the order of names."""
        return tuple(self._ports[index].info for index in self.by_name)


class ByName(Mapping[str, Array]):
    """Arrays by each name that a port goes by; lists the published ones."""

    __slots__ = ("_arrays", "_ports")

    def __init__(self, ports: Ports, arrays: tuple[Array, ...]) -> None:
        self._ports = ports
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        index = self._ports.find(name)
        if index is None:
            raise KeyError(name)
        return self._arrays[index]

    def __iter__(self) -> Iterator[str]:
        return (port.name for port in self._ports)

    def __len__(self) -> int:
        return len(self._arrays)


def _name_index(ports: Sequence[Port]) -> Mapping[str, int]:
    index: dict[str, int] = {}
    for number, port in enumerate(ports):
        for name in (port.name, *port.names):
            index.setdefault(name, number)
    for name, number in tuple(index.items()):
        bare = name.removesuffix(_FIRST_TENSOR)
        index.setdefault(bare if bare != name else name + _FIRST_TENSOR, number)
    return index


class Inferred(NamedTuple):
    """What an inference gave, and when: on the clock of `time.perf_counter_ns`.

    `engine_ns` is what the engine itself took of the time from `bound` to `done`, in
    which the thread waits for the interpreter, too.
    """

    outputs: tuple[Array, ...]
    begun: int
    """A slot was had."""
    bound: int
    """The inputs were where the engine reads them."""
    done: int
    """The engine was done."""
    ended: int
    """The outputs were where the caller may keep them."""
    engine_ns: int


class CompiledModel(Protocol):
    """A model on a device, for any number of users at a time."""

    @property
    def inputs(self) -> Ports:
        """What it takes."""
        ...

    @property
    def outputs(self) -> Ports:
        """What it gives."""
        ...

    @property
    def model_info(self) -> ModelInfo:
        """What its file says of it."""
        ...

    @property
    def is_stateful(self) -> bool:
        """True if it remembers something from one inference to the next, which is then
        the caller's: see `state.infer_from`.
        """
        ...

    @property
    def slots(self) -> int:
        """How many inferences may run at a time."""
        ...

    @property
    def busy(self) -> int:
        """How many slots are in use; 0 when nothing is being inferred."""
        ...

    @property
    def waiting(self) -> int:
        """How many inferences wait for a slot."""
        ...

    @property
    def streams(self) -> int:
        """How many execution streams the device keeps for it; 0 if it does not say."""
        ...

    def infer(
        self, tensors: Sequence[TensorData], *, is_patient: bool = False
    ) -> Pending[Inferred]:
        """Infer from one tensor per input, in order, to one array per output, in order.

        Input arrays have dtypes and shapes of their ports (else the result fails), and
        do not change until the result is there. Where a port has only one shape, its
        dense little-endian content will do. Output arrays are the caller's to keep.
        Never blocks; an inference that is known to be short may happen within the call.
        Slots are had in the order of calls. To cancel the result leaves the queue, or
        stops the inference at OpenVINO's next opportunity.

        Raises ServingError if the model is closed, or too many wait already, which
        hinders nobody who `is_patient`; the result
        fails with ServingError if the inference does. A slot is free again before the
        result is told.
        """
        ...

    def infer_at_once(self, tensors: Sequence[TensorData]) -> Inferred | None:
        """`infer`, if that is known to be short and a slot is free; else None. Raises
        ServingError when the inference fails.
        """
        ...

    def close(self) -> None:
        """Take no more inferences, fail those that wait, and let go of the model when
        the running ones are over. Does not block; may be called again.
        """
        ...


class Engine(Protocol):
    """Makes compiled models."""

    def load(
        self,
        path: Path,
        config: ModelConfig,
        *,
        warm_up: float = TRIAL_SECONDS,
        beside: bool = False,
    ) -> CompiledModel:
        """Read and compile the model at `path`, a file or a SavedModel's folder; blocks
        for as long as that takes, and that may be longer where it happens `beside`
        requests to others, which it keeps from as little as can be. Where only one shape
        is possible it infers once from zeros, for at most `warm_up` seconds, so that no
        user pays for what comes with a first inference.

        Raises ServingError, whose details are one line with the file's name.
        """
        ...

    def abandon(self) -> None:
        """Nobody wants any more what is being loaded: that ends as soon as can be, with
        ServingError. From any thread.
        """
        ...

    def close(self) -> None:
        """End the engine's threads. Every model is closed before."""
        ...
