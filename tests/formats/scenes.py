"""What real models are shown and played, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np

from graphs import assets
from ovms_mp.core.tensor import Array

Outputs = Mapping[str, Array]
"""A model's outputs by what they are, whatever they are called in its format."""

RATE = 22050  # samples a second
SAMPLES = 43844  # two seconds
LOWEST_NOTE = 21  # MIDI
LINE = (48, 640)  # pixels of a line of text; models want 48 of them high

# The face detector's anchors: pixels per cell and anchors in a cell, of each of its maps.
FACE_INPUT = 128
FACE_MAPS = ((8, 2), (16, 6))


@cache
def astronaut() -> Array:
    """UINT8 [512, 512, 3], RGB: one person, whose face is at 0.44, 0.25."""
    read = cv2.imread(str(assets.fetch("astronaut.png")))
    assert read is not None
    return cv2.cvtColor(read, cv2.COLOR_BGR2RGB)


def mirrored(picture: Array) -> Array:
    return np.ascontiguousarray(picture[:, ::-1])


def rows(picture: Array) -> Array:
    """As TensorFlow's face detector takes it: FP32 [1, 128, 128, 3], -1..1."""
    size = (FACE_INPUT, FACE_INPUT)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return (small[None] / 127.5 - 1).astype(np.float32)


def planes(picture: Array) -> Array:
    """As the same detector takes it in OpenVINO's format: FP32 [1, 3, 128, 128]."""
    return np.ascontiguousarray(rows(picture).transpose(0, 3, 1, 2))


def face(outputs: Outputs) -> tuple[float, float]:
    """Where the face is that the detector is surest of, as x, y in 0..1."""
    logits = outputs["classificators"][0, :, 0]
    best = int(logits.argmax())
    assert 1 / (1 + np.exp(-logits[best])) > 0.8, "no face"
    x, y = _anchors()[best] + outputs["regressors"][0, best, :2] / FACE_INPUT
    return float(x), float(y)


def _anchors() -> Array:
    maps: list[Array] = []
    for stride, each in FACE_MAPS:
        cells = FACE_INPUT // stride
        steps = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(steps, steps)
        maps.append(np.column_stack((x.ravel(), y.ravel())).repeat(each, axis=0))
    return np.concatenate(maps)


def person(outputs: Outputs) -> tuple[float, float, float, float]:
    """The box of the only person there is, as left, top, right, bottom in 0..1."""
    scores = outputs["scores"][0]
    assert [index for index, score in enumerate(scores) if score > 0.5] == [0]
    assert outputs["classes"][0, 0] == 1
    top, left, bottom, right = map(float, outputs["boxes"][0, 0])
    return left, top, right, bottom


def chord(*notes: int) -> Array:
    """Two seconds of sines: FP32 [1, 43844, 1]."""
    seconds = np.arange(SAMPLES) / RATE
    tones = [np.sin(2 * np.pi * 440 * 2 ** ((n - 69) / 12) * seconds) for n in notes]
    attack = np.minimum(1, seconds * 20)
    return (sum(tones) / len(tones) * attack)[None, :, None].astype(np.float32)


def notes(outputs: Outputs) -> list[int]:
    """What sounds most of the time, as MIDI numbers."""
    loudness = np.median(outputs["note"][0, 20:150], axis=0)
    started = outputs["onset"][0].max(axis=0) > 0.5
    return [int(n) + LOWEST_NOTE for n in np.flatnonzero(started & (loudness > 0.3))]


def line(text: str) -> Array:
    """A line of text as the models of PP-OCR take it: FP32 [1, 3, 48, 640], -1..1."""
    paper = np.full((*LINE, 3), 255, np.uint8)
    cv2.putText(paper, text, (10, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    return np.ascontiguousarray(paper.transpose(2, 0, 1)[None] / 127.5 - 1, np.float32)


def beginning(text: str) -> Array:
    """What a classifier of directions is shown of a line: FP32 [1, 3, 48, 192]."""
    return np.ascontiguousarray(line(text)[..., :192])


def upside_down(planes: Array) -> Array:
    return np.ascontiguousarray(planes[..., ::-1, ::-1])


def direction(outputs: Outputs) -> int:
    """By how many degrees a line is turned."""
    (scores,) = outputs["scores"]
    assert scores.max() > 0.9
    return (0, 180)[int(scores.argmax())]


def text(outputs: Outputs) -> str:
    """What is written, by greedy CTC: repetitions are one character, 0 is none."""
    best = outputs["characters"][0].argmax(axis=1)
    read = [best[i] for i in range(len(best)) if i == 0 or best[i] != best[i - 1]]
    return "".join(_alphabet()[index] for index in read).strip()


@cache
def _alphabet() -> list[str]:
    characters = assets.fetch("text_recognition.txt").read_text(encoding="utf-8")
    return ["", *characters.splitlines(), " "]
