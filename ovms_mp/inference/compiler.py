"""The child of apart.py: `python -m ovms_mp.inference.compiler SOCKET_FD LIFELINE_FD`
compiles one model, and gives away what came of it.
"""

from __future__ import annotations

import os
import sys

from ovms_mp.inference.asking import Asked, asked_in
from ovms_mp.inference.openvino.reading import Reading, as_wanted
from ovms_mp.inference.plugin_config import MMAP
from ovms_mp.isolation import frames, worker


def main() -> None:
    """Compile what the server asks for. A refusal of OpenVINO's is its answer, too."""
    link = worker.connect(sys.argv)
    asked = asked_in(frames.receive(link).header)
    try:
        blob = compiled(asked)
    except Exception as error:  # whatever a foreign file made a reader do
        frames.send(link, {"error": f"{type(error).__name__}: {error}"}, [])
    else:
        frames.send(link, {}, [blob])
    # Nothing here is worth to be taken apart before the end.
    os._exit(0)


def compiled(asked: Asked) -> memoryview:
    """What OpenVINO exports of the model that is asked for."""
    reading = Reading(asked.extension)
    read = reading.read(asked.path, {MMAP: False})
    model = as_wanted(read, asked.config, asked.path)
    made = reading.core.compile_model(
        model, asked.config.target_device, dict(asked.properties)
    )
    return made.export_model().getbuffer()


if __name__ == "__main__":
    main()
