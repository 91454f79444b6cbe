"""Real sound, as a microphone would send it, over a stream: where somebody speaks."""

from __future__ import annotations

import threading
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from ovms_mp_clients import Client

from graphs import assets
from tests.graphs.over_the_wire import serving
from tests.wire.servers import Server

SPEECH = "speech_detection"
RATE = 16_000
WINDOW = 512

Sound = NDArray[np.int16]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("speech"), SPEECH) as server:
        yield server


@pytest.fixture(scope="module")
def austen() -> Sound:
    """A sentence of a novel, read aloud: 7.1 s at 16 kHz."""
    return read("austen_0870.wav")


def read(name: str) -> Sound:
    """The first channel of a sound, at 16 kHz."""
    try:
        path = assets.fetch(name)
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    with wave.open(str(path)) as file:
        assert file.getframerate() % RATE == 0
        frames = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        step = file.getframerate() // RATE
        return frames.reshape(-1, file.getnchannels())[::step, 0]


def hear(
    server: Server, sound: Sound, chunk: int
) -> tuple[list[tuple[float, float]], NDArray[np.float32]]:
    """The segments, and the probability in each window, of a sound sent in chunks."""
    segments: list[tuple[float, float]] = []
    speech: list[NDArray[np.float32]] = []
    with Client(server.address) as client, client.stream(SPEECH, window=4) as stream:

        def send() -> None:
            for start in range(0, len(sound), chunk):
                stream.send({"audio": sound[start : start + chunk]}, timeout=60)
            stream.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        for result in stream:
            if "segments" in result.outputs:
                segments += [(float(a), float(b)) for a, b in result["segments"]]
            else:
                speech.append(np.asarray(result["speech"], np.float32))
        sender.join()
    return segments, np.concatenate(speech)


def test_a_sentence_is_found_where_it_is_spoken(server: Server, austen: Sound):
    segments, speech = hear(server, austen, chunk=RATE // 10)
    assert len(speech) == len(austen) // WINDOW
    assert speech.mean() > 0.8
    said = sum(end - begin for begin, end in segments)
    assert said > 0.75 * len(austen) / RATE
    assert segments == sorted(segments)
    assert segments[0][0] < 0.6


def test_noise_and_silence_are_nobody(server: Server):
    for sound in (read("noise.wav"), np.zeros(RATE, np.int16)):
        segments, speech = hear(server, sound, chunk=1000)
        assert segments == []
        assert speech.max() < 0.5


def test_a_pause_parts_two_segments(server: Server, austen: Sound):
    spoken = austen[: 2 * RATE]
    sound = np.concatenate((spoken, np.zeros(2 * RATE, np.int16), spoken))
    segments, _ = hear(server, sound, chunk=WINDOW)
    assert [each for each in segments if each[1] < 2.2]
    assert [each for each in segments if each[0] > 3.8]
    assert not [each for each in segments if 2.3 < each[0] < 3.8]


def test_what_is_heard_does_not_depend_on_the_chunks(server: Server, austen: Sound):
    sound = austen[: 2 * RATE]
    segments, speech = hear(server, sound, chunk=RATE // 10)
    for chunk in (160, WINDOW, len(sound)):
        others, again = hear(server, sound, chunk)
        assert others == segments
        assert np.array_equal(again, speech)


def test_streams_hear_only_their_own_sound(server: Server, austen: Sound):
    """The model's state belongs to a stream: beside others it hears what it hears alone."""
    sounds = [austen[: 3 * RATE], read("noise.wav"), austen[2 * RATE : 5 * RATE]]
    alone = [hear(server, sound, 1600) for sound in sounds]
    with ThreadPoolExecutor(len(sounds)) as pool:
        together = list(pool.map(lambda sound: hear(server, sound, 1600), sounds))
    for (segments, speech), (others, again) in zip(alone, together, strict=True):
        assert others == segments
        assert np.array_equal(again, speech)
