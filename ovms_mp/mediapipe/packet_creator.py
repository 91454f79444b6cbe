"""mediapipe.packet_creator: packets of the C++ types that its names say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message

from ovms_mp.core.image import ImageFrame as Frame
from ovms_mp.formats import messages
from ovms_mp.mediapipe import payloads
from ovms_mp.mediapipe.image import Image, ImageFormat, ImageFrame, frame_of
from ovms_mp.mediapipe.packet import Packet

Creator = Callable[[Any], Packet]


def create_string(data: Any) -> Packet:
    """Raises TypeError for anything else."""
    if not isinstance(data, str | bytes):
        raise _incompatible("create_string", data)
    return Packet.of(data)


def create_bool(data: Any) -> Packet:
    """A bool."""
    if not isinstance(data, bool | np.bool_):
        raise _incompatible("create_bool", data)
    return Packet.of(True if data else False)  # noqa: SIM210  # of numpy's as well


def _integer(name: str, kind: type[int], low: int, high: int) -> Creator:
    def create(data: Any) -> Packet:
        return Packet.of(kind(_checked(name, data, low, high)))

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"An int of {low} to {high}; raises OverflowError."
    return create


def _checked(name: str, data: Any, low: int, high: int) -> int:
    if isinstance(data, bool) or not isinstance(data, int | np.integer):
        raise _incompatible(name, data)
    value = int(data)  # pyright: ignore[reportUnknownArgumentType]  # numpy's
    if value > high:
        msg = f"{value} execeeds the maximum value ({high}) the data type can have."
        raise OverflowError(msg)
    if value < low:
        msg = f"{value} goes below the minimum value ({low}) the data type can have."
        raise OverflowError(msg)
    return value


create_int: Final = _integer("create_int", int, -(2**31), 2**31 - 1)
create_int8: Final = _integer("create_int8", payloads.Int8, -(2**7), 2**7 - 1)
create_int16: Final = _integer("create_int16", payloads.Int16, -(2**15), 2**15 - 1)
create_int32: Final = _integer("create_int32", int, -(2**31), 2**31 - 1)
create_int64: Final = _integer("create_int64", payloads.Int64, -(2**63), 2**63 - 1)
create_uint8: Final = _integer("create_uint8", payloads.UInt8, 0, 2**8 - 1)
create_uint16: Final = _integer("create_uint16", payloads.UInt16, 0, 2**16 - 1)
create_uint32: Final = _integer("create_uint32", payloads.UInt32, 0, 2**32 - 1)
create_uint64: Final = _integer("create_uint64", payloads.UInt64, 0, 2**64 - 1)


def create_float(data: Any) -> Packet:
    """32 bits: what does not fit them is rounded."""
    return Packet.of(float(np.float32(_real("create_float", data))))


def create_double(data: Any) -> Packet:
    """64 bits."""
    return Packet.of(payloads.Double(_real("create_double", data)))


def _real(name: str, data: Any) -> float:
    if isinstance(data, bool) or not isinstance(
        data, int | float | np.integer | np.floating
    ):
        raise _incompatible(name, data)
    return float(data)  # pyright: ignore[reportUnknownArgumentType]  # numpy's


def create_int_array(data: Sequence[int]) -> Packet:
    """int[]."""
    return Packet.of(payloads.IntArray(_ints("create_int_array", data)))


def create_float_array(data: Sequence[float]) -> Packet:
    """float[]."""
    return Packet.of(payloads.FloatArray(_floats("create_float_array", data)))


def create_int_vector(data: Sequence[int]) -> Packet:
    """A list of ints of 32 bits."""
    return Packet.of(_ints("create_int_vector", data))


def create_float_vector(data: Sequence[float]) -> Packet:
    """A list of floats of 32 bits."""
    return Packet.of(_floats("create_float_vector", data))


def _ints(name: str, data: Sequence[int]) -> list[int]:
    try:
        return [_checked(name, each, -(2**31), 2**31 - 1) for each in data]
    except OverflowError:
        raise _incompatible(name, data) from None


def _floats(name: str, data: Sequence[float]) -> list[float]:
    return [float(np.float32(_real(name, each))) for each in data]


def create_bool_vector(data: Sequence[bool]) -> Packet:
    """A list of bools."""
    return _vector("create_bool_vector", data, bool)


def create_string_vector(data: Sequence[str]) -> Packet:
    """A list of strings."""
    return _vector("create_string_vector", data, (str, bytes))


def create_packet_vector(data: Sequence[Packet]) -> Packet:
    """A list of packets."""
    return _vector("create_packet_vector", data, Packet)


def create_image_vector(data: Sequence[Image]) -> Packet:
    """A list of Images."""
    vector = _vector("create_image_vector", data, Image).payload
    return Packet.of([each.frame for each in vector])


def create_image_frame_vector(data: Sequence[ImageFrame]) -> Packet:
    """A list of ImageFrames."""
    for each in data:
        if type(each) is not ImageFrame:
            raise TypeError(f"{each!r} is not an ImageFrame")
    return Packet.of([each.frame for each in data])


def _vector(
    name: str, data: Sequence[Any], kind: type[Any] | tuple[type[Any], ...]
) -> Packet:
    if not all(isinstance(each, kind) for each in data):
        raise _incompatible(name, data)
    return Packet.of(list(data))


def create_string_to_packet_map(data: Mapping[str, Packet]) -> Packet:
    """Packets by name."""
    values: Any = data.values()
    if not all(isinstance(each, Packet) for each in values):
        raise _incompatible("create_string_to_packet_map", data)
    return Packet.of(dict(data))


def create_matrix(matrix: Any, transpose: bool = False) -> Packet:
    """A copy of a 2-d array, as float32."""
    array = np.array(matrix, np.float32)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise _incompatible("create_matrix", matrix)
    return Packet.of(array.T.copy() if transpose else array)


def create_image_frame(
    data: Any, *, image_format: ImageFormat | None = None, copy: bool | None = None
) -> Packet:
    """Of an ImageFrame, or of an array, which is copied unless it is read-only.

    Raises ValueError for an array without a format, or with `copy=False` for one that
    is not contiguous; warns of one that can still be written to.
    """
    return Packet.of(_pixels("ImageFrame", ImageFrame, data, image_format, copy))


def create_image(
    data: Any, *, image_format: ImageFormat | None = None, copy: bool | None = None
) -> Packet:
    """The same for an Image."""
    frame = _pixels("Image", Image, data, image_format, copy)
    return Packet.of(payloads.ImagePixels(frame.format, frame.pixels))


def _pixels(
    name: str,
    kind: type[ImageFrame],
    data: Any,
    image_format: ImageFormat | None,
    copy: bool | None,
) -> Frame:
    if isinstance(data, kind):
        if image_format not in {None, data.image_format}:
            raise ValueError(
                "The provided image_format doesn't match the one from the data arg."
            )
        if copy is False:
            msg = (
                f"Creating {name} packet by taking a reference of another {name} object"
                " is not supported yet."
            )
            raise ValueError(msg)
        return data.frame
    if image_format is None:
        raise ValueError("Please provide 'image_format' with 'data'.")
    if copy is None:
        copy = bool(data.flags.writeable)
    if not copy and not data.flags.c_contiguous:
        raise ValueError("Reference mode is unavailable if 'data' is not c_contiguous.")
    if not copy and data.flags.writeable:
        msg = (
            "'data' is still writeable. Taking a reference of the data to create "
            f"{name} packet is dangerous."
        )
        warnings.warn(msg, RuntimeWarning, 3)
    return frame_of(image_format, data, copy=copy)


def create_proto(proto_message: Message) -> Packet:
    """A copy of a message, of any type; the value that it stands for where calculators
    have one (`ovms_mp.formats`).
    """
    copied = type(proto_message)()
    copied.CopyFrom(proto_message)
    return Packet.of(messages.from_message(copied))


def create_proto_vector(message_list: Sequence[Message]) -> Packet:
    """A list of messages; mediapipe has the name, and NotImplementedError."""
    return Packet.of([create_proto(each).payload for each in message_list])


def _incompatible(name: str, data: object) -> TypeError:
    return TypeError(
        f"{name}(): incompatible function arguments. Invoked with: {data!r}"
    )
