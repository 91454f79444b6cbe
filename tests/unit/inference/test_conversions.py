"""Laws of operators that OpenVINO does not know: who converts them, and what of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from graphs import assets
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.tflite import custom_operators
from ovms_mp.inference.probe import Probe
from tests.unit.inference import tiny

KNOWN = "Convolution2DTransposeBias"
# As long as the name that it takes the place of in the file.
UNKNOWN = "ConvolutionOfSomebodysOwn!"
OPTIONS = bytes([1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0])

MODULE = """
from ovms_mp.inference.openvino.mediapipe_operators import convolution_2d_transpose_bias


def convert(node, options):
    print(f"options: {list(options)}")
    return convolution_2d_transpose_bias(node, options)


def refuse(node, options):
    raise ValueError("this convolution is beyond me")


def nothing(node, options):
    return []
"""


@pytest.fixture(scope="module")
def selfie() -> Path:
    return assets.fetch("mediapipe/selfie_segmentation.tflite")


@pytest.fixture
def unknown(selfie: Path, tmp_path: Path) -> Path:
    """The same model, which names its operator otherwise."""
    content = selfie.read_bytes()
    assert content.count(KNOWN.encode()) == 1
    path = tmp_path / "unknown.tflite"
    path.write_bytes(content.replace(KNOWN.encode(), UNKNOWN.encode()))
    return path


Publish = Callable[..., None]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Install a package of somebody's with these conversions, by operator."""

    def publish(**functions: str) -> None:
        site = tmp_path / "site"
        info = site / "somebodys-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "somebodys.py").write_text(MODULE)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n"
        )
        lines = "".join(f"{op} = somebodys:{name}\n" for op, name in functions.items())
        (info / "entry_points.txt").write_text(f"[ovms_mp.conversions]\n{lines}")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        monkeypatch.delitem(__import__("sys").modules, "somebodys", raising=False)

    return publish


def mask_of(path: Path, probe: Probe | None = None) -> np.ndarray:
    """What the model makes of an astronaut. Raises ServingError."""
    image = cv2.imread(str(assets.fetch("astronaut.png")))
    assert image is not None
    frame = cv2.resize(image[:, :, ::-1], (256, 256)).astype(np.float32) / 255
    engine = OpenVINOEngine(probe)
    try:
        model = engine.load(path, tiny.EXACT)
        (mask,) = model.infer([frame[None]]).result(30).outputs
        model.close()
    finally:
        engine.close()
    return mask[0, :, :, 0]


def refusal(path: Path) -> str:
    with pytest.raises(ServingError) as caught:
        mask_of(path)
    assert caught.value.status is Status.MODEL_NOT_LOADED
    return caught.value.details


def test_selfie_segmentation_finds_the_person(selfie: Path) -> None:
    mask = mask_of(selfie)
    assert 0.5 < mask.mean() < 0.6
    assert mask[180:, 100:150].mean() > 0.9  # where she sits
    assert mask[:40, -20:].mean() < 0.1  # and where she does not


def test_a_face_with_attention_has_its_lips_and_eyes_where_its_mesh_has_them() -> None:
    image = cv2.imread(str(assets.fetch("astronaut.png")))
    assert image is not None
    face = cv2.resize(image[30:180, 150:300, ::-1], (192, 192)).astype(np.float32) / 255
    engine = OpenVINOEngine()
    model = engine.load(
        assets.fetch("mediapipe/face_landmark_with_attention.tflite"), tiny.EXACT
    )
    named = dict(zip((port.name for port in model.outputs), range(7), strict=True))
    outputs = model.infer([face[None]]).result(30).outputs
    model.close()
    engine.close()
    mesh = outputs[named["output_mesh_identity"]].reshape(-1, 3)[:, :2]
    # Landmarks of the mesh that are the first of each part.
    for part, first in (("lips", 61), ("left_eye", 33), ("right_eye", 263)):
        refined = outputs[named[f"output_{part}"]].reshape(-1, 2)
        assert np.abs(refined[0] - mesh[first]).max() < 6
        assert 10 < np.ptp(refined[:, 0]) < 120


def test_a_conversion_of_a_users_own_is_used_and_told_of_the_options(
    unknown: Path, selfie: Path, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    publish(**{UNKNOWN: "convert"})
    np.testing.assert_array_equal(mask_of(unknown), mask_of(selfie))
    assert capfd.readouterr().out == f"options: {list(OPTIONS)}\n"


def test_the_child_that_reads_models_first_knows_conversions_too(
    unknown: Path, publish: Publish
) -> None:
    publish(**{UNKNOWN: "convert"})
    probe = Probe()
    assert mask_of(unknown, probe).shape == (256, 256)


def test_an_operator_that_nobody_converts_is_named(unknown: Path) -> None:
    assert UNKNOWN in refusal(unknown)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("refuse", "this convolution is beyond me"),
        ("missing", "missing"),
        ("nothing", "somebodys:nothing gave [] for the outputs of an operator"),
    ],
)
def test_a_conversion_that_fails_is_why_its_model_does_not_load(
    unknown: Path, selfie: Path, publish: Publish, function: str, reason: str
) -> None:
    publish(**{UNKNOWN: function})
    assert reason in refusal(unknown)
    assert mask_of(selfie).shape == (256, 256)


def test_of_two_conversions_of_an_operator_one_counts_and_the_log_says_which(
    selfie: Path, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    publish(**{KNOWN: "convert"})
    with caplog.at_level(logging.ERROR):
        assert mask_of(selfie).shape == (256, 256)
    assert f"{KNOWN} is converted by " in caplog.text


def test_a_file_tells_its_custom_operators_and_their_options(selfie: Path) -> None:
    assert custom_operators(selfie.read_bytes()) == [(KNOWN, OPTIONS)]
    plain = assets.fetch("mediapipe/face_landmark.tflite")
    assert custom_operators(plain.read_bytes()) == []


def broken() -> Iterator[bytes]:
    """A good file, cut short or with bytes of it changed."""
    content = assets.fetch("mediapipe/selfie_segmentation.tflite").read_bytes()
    for length in range(0, 400, 7):
        yield content[:length]
    random = np.random.default_rng(5)
    for _ in range(200):
        wrong = bytearray(content)
        for place in random.integers(0, 2000, 8):
            wrong[len(content) - 1 - place] = random.integers(256)
            wrong[place] = random.integers(256)
        yield bytes(wrong)


def outcome(content: bytes) -> object:
    """What is found, or how it is refused."""
    try:
        return custom_operators(content)
    except ValueError as error:
        return error


def test_a_file_that_is_broken_is_no_more_than_no_tflite_file() -> None:
    outcomes = [outcome(content) for content in broken()]
    assert set(map(type, outcomes)) == {ValueError, list}
