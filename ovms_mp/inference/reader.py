"""The child of probe.py: reads models for no other purpose than to survive it.

Its argument is a library with operations of models, if there is one. A path per line, in JSON, comes in; a line goes out when the file was read or refused.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from ovms_mp.inference.openvino.reading import Reading


def main() -> None:
    """Read files until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a reader prints is no answer
    extension = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    reading = Reading(extension)
    for line in sys.stdin:
        with suppress(Exception):  # the server reads it, too, and says why it cannot
            reading.read(Path(json.loads(line)))
        answers.write("read\n")
        answers.flush()


if __name__ == "__main__":
    main()
