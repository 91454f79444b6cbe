"""Files of configuration, right ones in which something is wrong: each is read, or refused
with the place in it that is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import config as repository
from tests.unit.frontend.grpc.strategies import mutilate

LONGEST: Final = 2_000
REFUSALS: Final = {Status.JSON_INVALID, Status.INVALID_METRICS_FAMILY_NAME}

RIGHT: Final[dict[str, Any]] = {
    "model_config_list": [
        {
            "config": {
                "name": "a",
                "base_path": "a",
                "model_version_policy": {"specific": {"versions": [1, 2]}},
                "nireq": 2,
                "target_device": "CPU",
                "plugin_config": {
                    "NUM_STREAMS": "2",
                    "INFERENCE_PRECISION_HINT": "f32",
                },
                "shape": {"x": "(1,3,224:448,-1)"},
                "layout": "NHWC:NCHW",
                "max_queue_length": 5,
                "stream": {"window": 2, "overflow": "drop_oldest", "queue": 3},
            }
        },
        {
            "config": {
                "name": "b",
                "base_path": "b",
                "model_version_policy": {"latest": {"num_versions": 2}},
                "stateful": True,
                "low_latency_transformation": True,
                "max_sequence_number": 10,
                "idle_sequence_cleanup": False,
                "batch_size": "4",
                "allow_cache": True,
            }
        },
        {
            "config": {
                "name": "c",
                "base_path": "c",
                "model_version_policy": {"all": {}},
                "dynamic_batching": {
                    "max_batch_size": 4,
                    "max_queue_delay_microseconds": 9,
                },
                "mean": "[1,2,3]",
                "scale": "2.0",
                "precision": "uint8",
                "color_format": "RGB:BGR",
            }
        },
    ],
    "mediapipe_config_list": [
        {"name": "g", "base_path": "g", "graph_path": "graph.pbtxt"},
        {"name": "h", "subconfig": "sub.json", "stream": {"max_streams": 3}},
    ],
    "monitoring": {"metrics": {"enable": True, "metrics_list": ["ovms_streams"]}},
}

_STRANGE: Final = st.sampled_from(
    [
        *(
            -1,
            0,
            2**31,
            2**63,
            2**64,
            10**40,
            1.5,
            float("nan"),
            float("inf"),
            True,
            None,
        ),
        *(
            "",
            "auto",
            "AUTO",
            "-1",
            "(1,2",
            "((((",
            "NHWC:",
            "s3://x/y",
            "ftp://x",
            "/etc",
        ),
        *(
            "../..",
            "a\x00b",
            "\ud800",
            "x" * 5000,
            "[1,2",
            "RGB:XYZ",
            {},
            [],
            [[]],
            {"x": {}},
        ),
        *("specific", "window", "name", "1:0", "999999999999999999999", "é", " "),
    ]
)
_VALUES: Final = st.recursive(
    _STRANGE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """RIGHT, in which values are others, keys are missing, doubled or others; or bytes."""
    document = json.loads(json.dumps(RIGHT))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        _change(draw, document)
    text = json.dumps(document)
    if draw(st.integers(0, 9)) == 0:
        key = draw(st.sampled_from(["name", "config", "stream", "model_config_list"]))
        text = text.replace(f'"{key}":', f'"{key}": 1, "{key}":', 1)
    data = text.encode()
    return draw(mutilate(data)) if draw(st.integers(0, 3)) == 0 else data


def _change(draw: st.DrawFn, place: Any) -> None:
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        value = place[key]
        if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
            place = value
            continue
        match draw(st.sampled_from(["value", "drop", "more"])):
            case "value":
                place[key] = draw(_VALUES)
            case "drop":
                del place[key]
            case _ if isinstance(place, dict):
                place[
                    draw(st.text(max_size=6) | st.sampled_from(["nireq", "config"]))
                ] = value
            case _:
                place.append(draw(_VALUES))
        return


class Judge:
    """What comes of them in a folder."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "config.json"
        (folder / "g").mkdir()
        (folder / "g" / "graph.pbtxt").touch()
        (folder / "h").mkdir()
        self._subconfig = folder / "h" / "sub.json"

    def __call__(self, text: bytes) -> str:
        """Whether it is a config, as the config itself and as a graph's own."""
        self._subconfig.write_bytes(text)
        self._config.write_bytes(json.dumps(RIGHT).encode())
        read = repository.read(self._config)
        for problem in read.problems:
            _check(problem.error, text)
        self._config.write_bytes(text)
        refusal: ServingError | None = None
        try:
            read = repository.read(self._config)
        except ServingError as error:
            refusal = error
        if refusal is not None:
            _check(refusal, text)
            assert refusal.status in REFUSALS, (refusal, text)
            assert "config.json" in refusal.details, (refusal, text)
            return "refused"
        for problem in read.problems:
            _check(problem.error, text)
        return "read, with problems" if read.problems else "read"


def _check(error: ServingError, text: bytes) -> None:
    told = str(error)
    assert len(told) < LONGEST and "Traceback" not in told, (told, text)
    assert told.isprintable(), (told, text)
