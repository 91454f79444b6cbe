"""A graph as callers of mediapipe give it, text, message or file, becomes one of ours;
what is wrong with it is told by the exceptions, and in the words, that they know.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.library.graph import Graph
from ovms_mp.mediapipe import binary

_UNKNOWN: Final = re.compile(r'there is no calculator named "([^"]*)"')
_UNPAIRED: Final = re.compile(
    r'node "([^"]*)": input and output (streams|side packets) must use matching tags'
)
_CODE: Final = re.compile(r"([A-Z_]+): (.*)", re.DOTALL)
_CLASSES: Final = {
    "INVALID_ARGUMENT": ValueError,
    "ALREADY_EXISTS": FileExistsError,
    "UNIMPLEMENTED": NotImplementedError,
}
FORMS: Final = ("binary_graph_path", "graph_config")


class Given(NamedTuple):
    """A graph and the text it came from."""

    graph: Graph
    text: str


def read(given: dict[str, Any]) -> Given:
    """The graph that one of `binary_graph_path` and `graph_config` describes. Raises
    FileNotFoundError, RuntimeError for what cannot be parsed or has calculators that
    are not there, ValueError for what is wrong otherwise.
    """
    (form, value) = next(iter(given.items()))
    if form == "binary_graph_path":
        return load(_text_of_file(Path(str(value)), str(value)))
    return load(str(value))


def _text_of_file(path: Path, name: str) -> str:
    try:
        contents = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"The path does not exist: {name}") from None
    except OSError as error:
        raise RuntimeError(f"{name}: {error.strerror}") from error
    try:
        return binary.to_text(contents)
    except ValueError as error:
        raise RuntimeError(f"Failed to parse the binary graph: {name}") from error


def load(text: str) -> Given:
    """The graph of a pbtxt."""
    try:
        return Given(Graph.parse(text), text)
    except ServingError as error:
        if error.status is Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID:
            raise RuntimeError(f"Failed to parse: {text}\n{error}") from error
        raise _load_error(str(error)) from error


def _load_error(text: str) -> Exception:
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        return RuntimeError(f'Unable to find Calculator "{unknown[1]}"; {text}')
    unpaired = _UNPAIRED.search(text)
    if unpaired is not None:
        node, kind = unpaired.groups()
        return ValueError(
            f"Input and output {kind} to {node} must use matching tags and indexes.; "
            f"{text}"
        )
    return ValueError(text)


def message_of(error: ServingError) -> str:
    """`CODE: text`, as a status of MediaPipe's prints."""
    if _CODE.fullmatch(error.details):
        return error.details
    if error.status is Status.MEDIAPIPE_GRAPH_START_ERROR:
        return f"INVALID_ARGUMENT: {error.details}"
    return f"UNKNOWN: {error.text}"


def run_error(error: ServingError) -> Exception:
    """The exception for a failed run, by the code of its status."""
    code = _CODE.fullmatch(message_of(error))
    assert code is not None
    return _CLASSES.get(code[1], RuntimeError)(code[2])
