"""`ovms-mp bench`: how fast a server answers, and beside it how fast its model is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from ovms_mp.commands import reaching
from ovms_mp.commands.parsing import Parser
from ovms_mp.core.errors import ServingError
from ovms_mp.settings import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator.services import InferenceSession
    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.core.tensor import Array
    from ovms_mp.frontend.grpc.measuring import Content, Measured

MAX_SECONDS: Final = 3600.0

_HEAD: Final = "in flight     per second     p50 ms     p99 ms   errors"


def bench(arguments: Sequence[str]) -> int:
    """Ask a server for a while, and print what came of it."""
    given = _parser().parse_args(arguments)
    counts = _counts(given.concurrency)
    shapes = dict(_shape(each) for each in given.shape)
    if not 0 < given.seconds <= MAX_SECONDS:
        at_most = f"expected a number above 0 and at most {MAX_SECONDS:g}"
        raise UsageError(f"--seconds: {at_most}")
    from ovms_mp.frontend.grpc.asking import NoAnswer
    from ovms_mp.frontend.grpc.measuring import Target

    access = reaching.access(given)
    kind = "streams" if given.stream else "unary"
    seconds: float = given.seconds
    is_well = True
    with ExitStack() as stack:
        try:
            target = Target(given.address, given.name, access)
            stack.callback(target.close)
            arrays = _arrays(target.inputs, given.data, shapes)
            model = _model(given.in_process, given.name, stack)
        except (NoAnswer, ServingError, OSError) as error:
            print(f"{given.name}: {error}")
            return 1
        contents = {name: _content(array) for name, array in arrays.items()}
        print(f"{given.name} of {given.address}, {kind}, {seconds:g} s each")
        print(_HEAD + ("     in process   ratio" if model else ""))
        for count in counts:
            measured = target.measure(contents, count, seconds, is_stream=given.stream)
            line = _line(count, measured)
            if model is not None:
                alone = _in_process(model, arrays, count, seconds)
                line += f"   {alone:12.1f}   {measured.rate / alone:5.2f}"
            print(line)
            for error, times in measured.errors.most_common(3):
                print(f"           {times} times {' '.join(error.split())}")
            is_well = is_well and bool(measured.latencies) and not measured.errors
    return 0 if is_well else 1


def _parser() -> Parser:
    parser = Parser(
        prog="ovms-mp bench",
        description="Asks a servable what its metadata say it takes, random values "
        "unless told, and prints how often and how soon it answered.",
    )
    parser.add_argument("address", metavar="ADDRESS", help="host:port")
    parser.add_argument("name", metavar="SERVABLE")
    parser.add_argument("--concurrency", metavar="N,...", default="1,8,32")
    parser.add_argument("--seconds", metavar="SECONDS", type=float, default=3.0)
    parser.add_argument(
        "--stream", action="store_true", help="on as many streams, one request on each"
    )
    parser.add_argument(
        "--data", metavar="FILE", type=Path, help="an .npz file of arrays by input"
    )
    parser.add_argument(
        "--shape",
        metavar="INPUT=N,...",
        action="append",
        default=[],
        help="where it may differ; a length that may is 1 unless told",
    )
    parser.add_argument(
        "--in_process",
        metavar="CONFIG",
        type=Path,
        help="infer with the model of that name in this config, too, without a server",
    )
    reaching.add_flags(parser)
    return parser


def _line(count: int, measured: Measured) -> str:
    import numpy as np

    p50, p99 = (
        np.percentile(measured.latencies, (50, 99)) * 1e3
        if measured.latencies
        else (0.0, 0.0)
    )
    errors = sum(measured.errors.values())
    return f"{count:9}   {measured.rate:11.1f}   {p50:8.2f}   {p99:8.2f}   {errors:6}"


def _counts(text: str) -> list[int]:
    try:
        counts = [int(each) for each in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise UsageError(f"--concurrency: expected numbers above 0, found {text!r}")
    return counts


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, is_given, lengths = text.rpartition("=")
    try:
        shape = tuple(int(each) for each in lengths.split(","))
    except ValueError:
        is_given = ""
        shape = ()
    if not is_given or min(shape) < 0:
        raise UsageError(f"--shape: expected INPUT=N,... found {text!r}")
    return name, shape


def _arrays(
    inputs: Sequence[TensorInfo],
    data: Path | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> Mapping[str, Array]:
    """What to send. Raises UsageError for what nobody knows enough of."""
    import numpy as np

    from ovms_mp.core.tensor import Datatype

    names = [each.name for each in inputs]
    for name in sorted(shapes.keys() - names):
        known = ", ".join(names)
        raise UsageError(f"--shape: there is no input {name!r}; known: {known}")
    found: dict[str, Array] = {}
    if data is not None:
        try:
            with np.load(data, allow_pickle=False) as arrays:
                found.update(arrays)
        except OSError as error:
            raise UsageError(f"--data: {data}: {error.strerror}") from error
        except (TypeError, ValueError, EOFError, BadZipFile) as error:
            # What numpy says of other files is about pickles.
            raise UsageError(f"--data: {data}: expected an .npz file") from error
    chance = np.random.default_rng(0)
    for each in inputs:
        if each.name in found:
            continue
        datatype = Datatype.from_name(each.datatype)
        if datatype is None:
            raise UsageError(
                f"{each.name} is {each.datatype} in the metadata: give it with --data"
            )
        known = tuple(max(length, 1) for length in each.shape)
        shape = shapes.get(each.name, known)
        values = chance.random(shape) * (1 if datatype.dtype.kind == "f" else 2)
        found[each.name] = np.asarray(values, datatype.dtype)
    return found


def _content(array: Array) -> Content:
    import numpy as np

    from ovms_mp.core.tensor import Datatype
    from ovms_mp.frontend.grpc.measuring import Content

    if array.dtype.kind in "SU":
        texts = [str(each).encode() for each in array.reshape(-1).tolist()]
        raw = b"".join(len(each).to_bytes(4, "little") + each for each in texts)
        return Content("BYTES", array.shape, raw)
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    datatype = Datatype.from_dtype(little.dtype)
    if datatype is None:
        raise UsageError(f"there is no datatype for arrays of {array.dtype}")
    return Content(datatype.name, array.shape, little.tobytes())


def _model(config: Path | None, name: str, stack: ExitStack) -> InferenceSession | None:
    if config is None:
        return None
    from ovms_mp.library.models import ModelSet, model_set

    models = model_set(config)
    if isinstance(models, ModelSet):
        stack.callback(models.close)
    return models.session(name, "")


def _in_process(
    model: InferenceSession, arrays: Mapping[str, Array], count: int, seconds: float
) -> float:
    """Inferences per second of the model by itself, as many at a time."""
    model.infer(arrays).result(60.0)
    end = time.perf_counter() + seconds

    def loop(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            model.infer(arrays).result(60.0)
            done += 1
        return done

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        done = sum(pool.map(loop, range(count)))
    return done / (time.perf_counter() - begun)
