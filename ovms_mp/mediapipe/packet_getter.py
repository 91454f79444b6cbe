"""mediapipe.packet_getter: what is in a packet, if it is of the type that is asked for.

A value that a calculator of ours has made says less about its C++ type than one of
packet_creator: a plain int is an int and a uint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.message import Message

from ovms_mp.core.image import ImageFrame as Frame
from ovms_mp.formats import messages
from ovms_mp.mediapipe.binary import message_class
from ovms_mp.mediapipe.image import Image, ImageFrame
from ovms_mp.mediapipe.packet import Packet
from ovms_mp.mediapipe.payloads import (
    UNSIGNED,
    FloatArray,
    ImagePixels,
    IntArray,
    SizedInt,
    type_name,
)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_signed(value: Any) -> bool:
    return _is_integer(value) and not isinstance(value, UNSIGNED)


def _is_unsigned(value: Any) -> bool:
    is_plain = _is_integer(value) and not isinstance(value, SizedInt) and value >= 0
    return is_plain or isinstance(value, UNSIGNED)


def _is_string(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _is_real(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _content(packet: Packet, wanted: str, is_it: Callable[[Any], bool]) -> Any:
    """The payload. Raises RuntimeError for an empty packet, ValueError for another
    type.
    """
    if packet.is_empty():
        msg = f"Expected a Packet of type: {wanted}, but received an empty Packet."
        raise RuntimeError(msg)
    if not is_it(packet.payload):
        stored = type_name(packet.payload)
        msg = f'The Packet stores "{stored}", but "{wanted}" was requested.'
        raise ValueError(msg)
    return packet.payload


def _any_of(packet: Packet, wanted: str, is_it: Callable[[Any], bool]) -> Any:
    if packet.is_empty() or not is_it(packet.payload):
        raise ValueError(f"Packet doesn't contain {wanted}.")
    return packet.payload


def _list_of(is_element: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def is_list(value: Any) -> bool:
        return (
            isinstance(value, list | tuple | np.ndarray)
            and not isinstance(value, IntArray | FloatArray)
            and all(is_element(each) for each in value)  # pyright: ignore[reportUnknownVariableType]
        )

    return is_list


def get_str(packet: Packet) -> str:
    """A string; its bytes are UTF-8."""
    value = _content(packet, "string", _is_string)
    return value.decode() if isinstance(value, bytes) else value


def get_bytes(packet: Packet) -> bytes:
    """The bytes of a string."""
    value = _content(packet, "string", _is_string)
    return value.encode() if isinstance(value, str) else value


def get_bool(packet: Packet) -> bool:
    """A bool."""
    return bool(_content(packet, "bool", lambda each: isinstance(each, bool)))


def get_int(packet: Packet) -> int:
    """An int of any size with a sign."""
    return int(_any_of(packet, "int, int8, int16, int32, or int64 data", _is_signed))


def get_uint(packet: Packet) -> int:
    """An int of any size without a sign."""
    wanted = "uint8, uint16, uint32, or uint64 data"
    return int(_any_of(packet, wanted, _is_unsigned))


def get_float(packet: Packet) -> float:
    """A float or double, with the 32 bits of a float."""
    return float(np.float32(_any_of(packet, "float or double data", _is_real)))


def get_int_list(packet: Packet) -> list[int]:
    """A vector of ints with a sign."""
    wanted = "int, int8, int16, int32, or int64 containers"
    return [int(each) for each in _any_of(packet, wanted, _list_of(_is_signed))]


def get_bool_list(packet: Packet) -> list[bool]:
    """A vector of bools."""
    is_bools = _list_of(lambda each: isinstance(each, bool))
    return list(_content(packet, "::std::vector<bool>", is_bools))


def get_float_list(packet: Packet) -> list[float]:
    """A vector of floats."""
    wanted = "std::vector<float> or std::array<float, 4 / 16> containers"
    return [float(each) for each in _any_of(packet, wanted, _list_of(_is_real))]


def get_str_list(packet: Packet) -> list[str]:
    """A vector of strings."""
    wanted = "::std::vector<std::string>"
    values = _content(packet, wanted, _list_of(_is_string))
    return [each.decode() if isinstance(each, bytes) else each for each in values]


def get_packet_list(packet: Packet) -> list[Packet]:
    """A vector of packets."""
    wanted = "::std::vector<::mediapipe::Packet>"
    is_packets = _list_of(lambda each: isinstance(each, Packet))
    return list(_content(packet, wanted, is_packets))


def get_str_to_packet_dict(packet: Packet) -> dict[str, Packet]:
    """Packets by name."""
    wanted = "::std::map<std::string,::mediapipe::Packet>"
    return dict(_content(packet, wanted, lambda each: isinstance(each, dict)))


def _is_frame(value: Any) -> bool:
    return isinstance(value, Frame) and not isinstance(value, ImagePixels)


def get_image_frame(packet: Packet) -> ImageFrame:
    """An ImageFrame, which shares the packet's pixels."""
    wanted = "::mediapipe::ImageFrame"
    return ImageFrame.around(_content(packet, wanted, _is_frame))


def get_image(packet: Packet) -> Image:
    """An Image, which shares the packet's pixels; calculators of ours know frames
    only, so a frame is one.
    """
    frame = _content(packet, "::mediapipe::Image", lambda e: isinstance(e, Frame))
    return Image.around(frame)


def get_image_list(packet: Packet) -> list[Image]:
    """A vector of Images."""
    wanted = "::std::vector<::mediapipe::Image>"
    frames = _content(packet, wanted, _list_of(lambda each: isinstance(each, Frame)))
    return [Image.around(each) for each in frames]


def get_image_frame_list(packet: Packet) -> list[ImageFrame]:
    """A vector of ImageFrames."""
    wanted = "::std::vector<::mediapipe::ImageFrame>"
    frames = _content(packet, wanted, _list_of(_is_frame))
    return [ImageFrame.around(each) for each in frames]


def get_matrix(packet: Packet) -> Any:
    """A read-only array of shape [rows, columns]."""
    wanted = "Eigen::Matrix<float, -1, -1, 0, -1, -1>"
    array = _content(packet, wanted, lambda each: isinstance(each, np.ndarray))
    view = array.view()
    view.flags.writeable = False
    return view


def get_proto(packet: Packet) -> Message:
    """A copy of a message, or the message that stands for a value of `ovms_mp.formats`."""
    message = _content(packet, "message", _is_message)
    if messages.message_name(message):
        return messages.to_message(message, message_class)
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def get_proto_list(packet: Packet) -> list[Message]:
    """Copies of a vector of messages."""
    vector = _content(packet, "vector of messages", _list_of(_is_message))
    return [get_proto(Packet.of(each)) for each in vector]


def _is_message(value: Any) -> bool:
    return isinstance(value, Message) or bool(messages.message_name(value))
