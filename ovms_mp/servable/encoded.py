"""Images as JPEG and PNG, and texts: BYTES become arrays.

A picture says how large it is before anybody decodes it, and one that is too large is
not decoded: a few kilobytes can hold gigabytes of pixels. Whoever calls is to be off the
threads that read requests, for a picture takes milliseconds.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.core.picture import JPEG, MAX_PIXELS, PNG, picture_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.core.messages import Buffer, InputTensor
    from ovms_mp.core.tensor import Array

MAX_TEXT_BYTES: Final = 1 << 30
"""Of the texts of one tensor, each as long as the longest (OVMS's)."""
MAX_ELEMENTS: Final = 1 << 16
"""Of a tensor: each is an object, and raw contents are as short as four bytes each."""

CONTENT_TYPE: Final = "content_type"
"""The parameter of an input by which a client says what its BYTES are."""
IMAGE, TEXT = "image", "string"

_FORMATS: Final[Mapping[tuple[int, str], ImageFormat]] = {
    (each.channels, each.dtype.name): each
    for each in ImageFormat
    if each.dtype.kind == "u"
}


def values(tensor: InputTensor) -> list[Buffer]:
    """The BYTES of an input, raw or typed, however many. Raises ServingError if they
    are none.
    """
    if tensor.raw is not None:
        return _raw_elements(tensor, memoryview(tensor.raw))
    if isinstance(tensor.contents, np.ndarray):
        details = (
            f"Expected: values in bytes_contents; Actual: {tensor.contents_field}; "
            f"input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_VALUE_COUNT, details)
    if tensor.contents is not None and len(tensor.contents) > MAX_ELEMENTS:
        raise _too_many(tensor)
    return list[Any](cast("Sequence[bytes]", tensor.contents or ()))


def elements(tensor: InputTensor) -> list[Buffer]:
    """The BYTES of an input of a graph. Raises ServingError if they are not as many as
    its shape says, or there is none.
    """
    found = values(tensor)
    if not found:
        raise _fault(Status.BYTES_CONTENTS_EMPTY, "no element", tensor)
    # One axis, or one axis beside those of length 1: a batch.
    check_count(len(found), tensor)
    return found


def check_count(count: int, tensor: InputTensor) -> None:
    """Raises ServingError if the shape says another number of elements."""
    expected = prod(tensor.shape)
    if expected != count:
        details = (
            f"Expected: {expected} values; Actual: {count} values; "
            f"input name: {tensor.name}"
        )
        raise ServingError(Status.INVALID_VALUE_COUNT, details)


def frame(tensor: InputTensor) -> ImageFrame:
    """The one picture of an input, in the format that it has itself: grey or colour or
    with alpha, of 8 or 16 bits; its axes as stored, without what EXIF says of them.

    Raises ServingError.
    """
    found = elements(tensor)
    if len(found) != 1:
        details = f"Expected: 1 image; Actual: {len(found)}; input name: {tensor.name}"
        raise ServingError(Status.INVALID_VALUE_COUNT, details)
    pixels = _in_rgb(decoded(found, tensor)[0])
    image_format = _FORMATS.get((pixels.shape[2], pixels.dtype.name))
    if image_format is None:
        details = f"{pixels.shape[2]} channels of {pixels.dtype}"
        raise _fault(Status.IMAGE_PARSING_FAILED, details, tensor)
    return ImageFrame(image_format, pixels)


def array(tensor: InputTensor) -> Array:
    """The BYTES of an input as an array: pictures of one size as [n, height, width,
    channels] with RGB, texts as uint8 [n, longest + 1] with zeros behind each.

    They are pictures if the input's parameter `content_type` says "image", texts if it
    says "string"; without it, pictures if all begin like one. Raises ServingError.
    """
    found = elements(tensor)
    said = tensor.parameters.get(CONTENT_TYPE)
    if said not in {None, IMAGE, TEXT}:
        details = f"{CONTENT_TYPE} is {IMAGE} or {TEXT}, not {said!r}"
        raise _fault(Status.INVALID_INPUT_FORMAT, details, tensor)
    if said == IMAGE or (said is None and all(map(_looks_like_an_image, found))):
        return _images(found, tensor)
    return padded(found, tensor)


def _images(found: Sequence[Buffer], tensor: InputTensor) -> Array:
    pictures = [_in_rgb(each) for each in decoded(found, tensor)]
    check_resolution(pictures, tensor)
    return _frozen(np.stack(pictures))


def check_resolution(pictures: Sequence[Array], tensor: InputTensor) -> None:
    """Raises ServingError if they are not of one size, channels and type."""
    shapes = {each.shape for each in pictures}
    if len(shapes) > 1 or len({each.dtype for each in pictures}) > 1:
        sizes = ", ".join(sorted("x".join(map(str, shape)) for shape in shapes))
        raise _fault(Status.BINARY_IMAGES_RESOLUTION_MISMATCH, sizes, tensor)


def padded(found: Sequence[Buffer], tensor: InputTensor) -> Array:
    """Texts as uint8 [n, longest + 1] with zeros behind each. Raises ServingError."""
    width = max(map(len, found)) + 1
    check_width(len(found), width, tensor)
    rows = np.zeros((len(found), width), np.uint8)
    for row, text in zip(rows, found, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    return _frozen(rows)


def check_width(count: int, width: int, tensor: InputTensor) -> None:
    """Raises ServingError if so many texts, all as long as the longest, are too much."""
    if width * count > MAX_TEXT_BYTES:
        details = f"{count} of up to {width} bytes"
        raise _fault(Status.INVALID_STRING_MAX_SIZE_EXCEEDED, details, tensor)


def _raw_elements(tensor: InputTensor, raw: memoryview) -> list[Buffer]:
    """Each element stands behind its length, four bytes little-endian (KServe)."""
    found: list[Buffer] = []
    at = 0
    while at < len(raw):
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            details = (
                f"element {len(found)} of BYTES is longer than its contents; "
                f"input name: {tensor.name}"
            )
            raise ServingError(Status.INVALID_CONTENT_SIZE, details)
        if len(found) == MAX_ELEMENTS:
            raise _too_many(tensor)
        found.append(raw[start:at])
    return found


def decoded(found: Sequence[Buffer], tensor: InputTensor) -> list[Array]:
    """Each picture as [height, width, channels], its colours in OpenCV's order (BGR).
    Raises ServingError, before the first is decoded if all together are too large.
    """
    pixels = 0
    for each in found:
        if not len(each):
            raise _fault(Status.BYTES_CONTENTS_EMPTY, "an empty element", tensor)
        size = picture_size(each)
        if size is None:
            details = "expected JPEG or PNG"
            raise _fault(Status.IMAGE_PARSING_FAILED, details, tensor)
        width, height = size
        pixels += width * height
        if pixels > MAX_PIXELS:
            details = f"{pixels} pixels ({width}x{height}), at most {MAX_PIXELS}"
            raise _fault(Status.IMAGE_PARSING_FAILED, details, tensor)
    return [_decode(each, tensor) for each in found]


def _decode(data: Buffer, tensor: InputTensor) -> Array:
    import cv2  # a tenth of the server's start, and few graphs take pictures so

    octets = np.frombuffer(data, np.uint8)
    try:
        found: Any = cv2.imdecode(octets, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found = None
    if found is None:
        details = "the image is broken"
        raise _fault(Status.IMAGE_PARSING_FAILED, details, tensor)
    picture = cast("Array", found)
    return picture[:, :, np.newaxis] if picture.ndim == 2 else picture


def _in_rgb(picture: Array) -> Array:
    import cv2

    if picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    elif picture.shape[2] == 4:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    return _frozen(picture)


def _looks_like_an_image(data: Buffer) -> bool:
    return bytes(data[:8]).startswith((PNG, JPEG))


def _frozen(values: Array) -> Array:
    values.flags.writeable = False
    return values


def _too_many(tensor: InputTensor) -> ServingError:
    details = f"more than {MAX_ELEMENTS} elements of BYTES"
    return _fault(Status.INVALID_VALUE_COUNT, details, tensor)


def _fault(status: Status, details: str, tensor: InputTensor) -> ServingError:
    return ServingError(status, f"{details}; input name: {tensor.name}")
