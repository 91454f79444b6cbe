"""Models that clients see otherwise than their files say, through a whole server: a real
face detector that is sent a PNG, a tokenizer, shapes that come, names that change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc as triton
from openvino_tokenizers import build_rwkv_tokenizer

from graphs import assets
from tests.formats import scenes
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

WORDS = ("hello", "stream", "ing", " ", "world", "\u00e9")


def tokenizer() -> tuple[ov.Model, ov.Model]:
    """Texts to numbers of WORDS, from 1, with zeros behind; and back."""
    vocabulary = [
        f"{number} {word!r} {len(word.encode())}"
        for number, word in enumerate(WORDS, 1)
    ]
    return build_rwkv_tokenizer(vocabulary)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configured")
    home = folder / "faces" / "1"
    home.mkdir(parents=True)
    for suffix in ("xml", "bin"):
        (home / f"model.{suffix}").write_bytes(
            assets.fetch(f"face_detection.{suffix}").read_bytes()
        )
    tokens, texts = tokenizer()
    zoo.add_model(folder, "tokenizer", tokens)
    zoo.add_model(folder, "detokenizer", texts)
    zoo.add_model(folder, "auto", tiny.add_one())
    zoo.add_model(folder, "named", tiny.add_one())
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    faces = {
        "layout": "NHWC:NCHW",
        "color_format": "BGR:RGB",
        "precision": "uint8:fp32",
        "mean": 127.5,
        "scale": "127.5",
    }
    entries = [
        zoo.entry("faces", **faces, batch_size=1),
        zoo.entry("batches", base_path="faces", **faces, batch_size="1:4"),
        zoo.entry("tokenizer"),
        zoo.entry("detokenizer"),
        zoo.entry("auto", shape="auto"),
        zoo.entry("named"),
    ]
    with serving(zoo.write_config(folder, entries)) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as client:
        yield client


def metadata(client: triton.InferenceServerClient, name: str) -> Any:
    return client.get_model_metadata(name)


def given(name: str, values: Any, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def face_of(result: Any, index: int = 0) -> tuple[float, float]:
    names = [each.name for each in result.get_response().outputs]
    arrays = [result.as_numpy(name)[index : index + 1] for name in names]
    by_width = {array.shape[-1]: array for array in arrays}
    return scenes.face({"classificators": by_width[1], "regressors": by_width[16]})


def png(picture: Any) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def test_a_face_is_found_in_a_png(client: triton.InferenceServerClient) -> None:
    (tensor,) = metadata(client, "faces").inputs
    assert (tensor.datatype, list(tensor.shape)) == ("UINT8", [1, 128, 128, 3])
    picture = np.array([png(scenes.astronaut())], np.object_)
    x, y = face_of(client.infer("faces", [given(tensor.name, picture, "BYTES")]))
    assert (x, y) == (pytest.approx(0.44, abs=0.04), pytest.approx(0.25, abs=0.04))


def test_pictures_of_a_batch_are_answered_one_by_one(
    client: triton.InferenceServerClient,
) -> None:
    (tensor,) = metadata(client, "batches").inputs
    assert list(tensor.shape) == [-1, 128, 128, 3]
    person = scenes.astronaut()
    pictures = np.array([png(person), png(scenes.mirrored(person))], np.object_)
    result = client.infer("batches", [given(tensor.name, pictures, "BYTES")])
    (x, _), (mirrored, _) = face_of(result, 0), face_of(result, 1)
    assert x + mirrored == pytest.approx(1, abs=0.05)


def test_texts_become_tokens_and_texts_again(
    client: triton.InferenceServerClient,
) -> None:
    (tensor,) = metadata(client, "tokenizer").inputs
    assert tensor.datatype == "BYTES"
    sent = ["hello streaming world", "\u00e9"]
    texts = np.array([each.encode() for each in sent], np.object_)
    wanted = [triton.InferRequestedOutput("input_ids")]
    asked = [given(tensor.name, texts, "BYTES")]
    tokens: Any = client.infer("tokenizer", asked, outputs=wanted)
    numbers = tokens.as_numpy("input_ids")
    assert numbers.tolist() == [[1, 4, 2, 3, 4, 5], [6, 0, 0, 0, 0, 0]]
    (tensor,) = metadata(client, "detokenizer").inputs
    asked = [given(tensor.name, numbers[:1], "INT64")]
    back: Any = client.infer("detokenizer", asked)
    assert back.as_numpy("string_output").tolist() == [sent[0].encode()]


def test_any_shape_is_taken_where_that_is_asked_for(
    client: triton.InferenceServerClient,
) -> None:
    for shape in ((1, 10), (3, 4), (2, 10), (3, 4)):
        x = np.random.default_rng(3).random(shape, np.float32)
        result: Any = client.infer("auto", [given("x", x, "FP32")])
        np.testing.assert_array_equal(result.as_numpy("y"), x + 1)


def test_other_names_are_known_soon_and_the_old_ones_no_more(
    client: triton.InferenceServerClient, server: Server, folder: Path
) -> None:
    def names() -> tuple[str, str]:
        told = metadata(client, "named")
        return told.inputs[0].name, told.outputs[0].name

    file = folder / "named" / "1" / "mapping_config.json"
    assert names() == ("x", "y")
    for mapping, expected in (
        ({"inputs": {"x": "picture"}, "outputs": {"y": "score"}}, ("picture", "score")),
        ({"inputs": {"x": "image"}}, ("image", "y")),
    ):
        file.write_text(json.dumps(mapping))
        until(lambda: names() == expected, 30)  # noqa: B023
        assert names() == expected
    x = np.ones((1, 10), np.float32)
    result: Any = client.infer("named", [given("image", x, "FP32")])
    np.testing.assert_array_equal(result.as_numpy("y"), x + 1)
    file.write_text('{"inputs": {"x": 1}}')  # what is wrong leaves the old names
    report = server.app.reload()
    assert "mapping_config.json" in "".join(each.reason for each in report.changes)
    assert names() == ("image", "y")
    with pytest.raises(Exception, match="Required input: image"):
        client.infer("named", [given("x", x, "FP32")])
