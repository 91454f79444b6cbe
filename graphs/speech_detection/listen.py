"""Send a WAV file as a microphone would, and print where somebody speaks.

    python graphs/speech_detection/listen.py localhost:9000 speech.wav

16-bit PCM at 16 kHz, of which the first channel is taken. A segment is printed when it
has ended; `--speed 0` sends as fast as the server takes it.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from ovms_mp_clients import Client, ClientError

GRAPH: Final = "speech_detection"
RATE: Final = 16_000
CHUNK: Final = RATE // 10


def chunks(path: Path) -> Iterator[NDArray[np.int16]]:
    """Tenths of a second. Raises ValueError for sound in another form."""
    with wave.open(str(path)) as file:
        form = (file.getsampwidth() * 8, file.getframerate())
        if form != (16, RATE):
            msg = f"{path.name} has {form[0]} bits at {form[1]} Hz, not 16 at {RATE}"
            raise ValueError(msg)
        while data := file.readframes(CHUNK):
            yield np.frombuffer(data, np.int16).reshape(-1, file.getnchannels())[:, 0]


def listen(address: str, path: Path, speed: float) -> None:
    """Print each segment."""
    sound = list(chunks(path))
    with Client(address) as client, client.stream(GRAPH, window=8) as stream:

        def send() -> None:
            begun = time.monotonic()
            for number, chunk in enumerate(sound):
                if speed:
                    due = begun + number * CHUNK / RATE / speed
                    time.sleep(max(0.0, due - time.monotonic()))
                try:
                    stream.send({"audio": chunk})
                except ClientError:
                    return  # who reads the answers is told
            stream.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        for result in stream:
            for begin, end in result.outputs.get("segments", ()):
                print(f"{begin:8.2f} s to {end:8.2f} s", flush=True)
        sender.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="host:port of the server")
    parser.add_argument("wav", type=Path, help="16-bit PCM at 16 kHz")
    parser.add_argument("--speed", type=float, default=1.0, help="1 is a microphone's")
    options = parser.parse_args(arguments)
    try:
        listen(options.address, options.wav, options.speed)
    except (ClientError, OSError, ValueError, wave.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
