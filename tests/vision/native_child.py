"""Runs graphs in MediaPipe's own runtime: a graph with what goes in as a line of JSON in,
what came out as a line of JSON out. A script of its own, because what it calls may abort.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# MediaPipe's own log goes to file descriptor 1, too.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

mp: Any = import_module("mediapipe")  # it has no types
bindings: Any = import_module("mediapipe.python._framework_bindings")
bindings.resource_util.set_resource_dir(str(Path(mp.__file__).parents[1]))
create: Any = bindings._packet_creator
get: Any = bindings._packet_getter


def packed(data: Any) -> str:
    return base64.b64encode(data).decode()


def unpacked(text: str) -> bytes:
    return base64.b64decode(text)


def packet(kind: str, value: Any) -> Any:
    if kind == "int":
        return create.create_int(value)
    if kind == "float":
        return create.create_float(value)
    if kind == "ints":
        return create.create_int_vector(value)
    if kind == "image":
        name, shape, data = value
        dtype = np.float32 if name.startswith("VEC32F") else np.uint8
        pixels = np.frombuffer(unpacked(data), dtype).reshape(shape)
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        # Without a copy the array would be let go by any thread, without the GIL.
        return mp.packet_creator.create_image_frame(
            image_format=getattr(mp.ImageFormat, name),
            data=np.ascontiguousarray(pixels),
            copy=True,
        )
    if kind == "matrix":
        shape, data = value
        return create.create_matrix(
            np.frombuffer(unpacked(data), np.float32).reshape(shape)
        )
    name, data = value
    return create._create_proto(name, unpacked(data))


def read(kind: str, found: Any) -> Any:
    if kind == "floats":
        return packed(np.array(get.get_float_list(found), np.float32).tobytes())
    if kind == "float":
        return get.get_float(found)
    if kind == "bool":
        return get.get_bool(found)
    if kind in {"image", "mask"}:
        pixels = np.ascontiguousarray(get.get_image_frame(found).numpy_view())
        return [list(np.atleast_3d(pixels).shape), packed(pixels.tobytes())]
    if kind == "protos":
        if not get._get_proto_vector_size(found):
            return []
        return [packed(each) for each in get._get_serialized_proto_list(found)]
    return packed(get._get_serialized_proto(found))


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {name: [] for name in case["outputs"]}
    try:
        graph = mp.CalculatorGraph(graph_config=case["pbtxt"])

        def observe(name: str, kind: str) -> None:
            graph.observe_output_stream(
                name,
                lambda _, each: found[name].append(
                    [each.timestamp.value, read(kind, each)]
                ),
            )

        for name, kind in case["outputs"].items():
            observe(name, kind)
        graph.start_run({})
        for stream, kind, value, at in case["events"]:
            graph.add_packet_to_input_stream(stream, packet(kind, value).at(at))
        graph.close_all_packet_sources()
        graph.wait_until_done()
        for name, kind in case["sides"].items():
            found[name] = [[0, read(kind, graph.get_output_side_packet(name))]]
    except (RuntimeError, ValueError) as problem:
        return {"error": str(problem), "found": found}
    return {"error": None, "found": found}


for line in sys.stdin:
    answers.write(json.dumps(outcome(json.loads(line))) + "\n")
