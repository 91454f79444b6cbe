"""plugin_config, as OVMS reads it."""

from __future__ import annotations

import pytest

from ovms_mp.inference.engine import Property
from ovms_mp.inference.plugin_config import (
    UnsupportedProperty,
    device_names,
    effective,
)

SUPPORTED = {
    "PERFORMANCE_HINT",
    "NUM_STREAMS",
    "INFERENCE_NUM_THREADS",
    "INFERENCE_PRECISION_HINT",
}


@pytest.mark.parametrize(
    ("given", "compiled_with"),
    [
        ({}, {"PERFORMANCE_HINT": "LATENCY"}),
        (
            {"INFERENCE_PRECISION_HINT": "f32"},
            {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
        ),
        ({"NUM_STREAMS": 4}, {"NUM_STREAMS": 4}),
        ({"PERFORMANCE_HINT": "THROUGHPUT"}, {"PERFORMANCE_HINT": "THROUGHPUT"}),
        ({"CPU_THROUGHPUT_STREAMS": "2"}, {"NUM_STREAMS": "2"}),
        ({"GPU_THROUGHPUT_STREAMS": 3}, {"NUM_STREAMS": 3}),
        (
            {"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO"},
            {"PERFORMANCE_HINT": "THROUGHPUT"},
        ),
        (
            {"GPU_THROUGHPUT_STREAMS": "GPU_THROUGHPUT_AUTO"},
            {"PERFORMANCE_HINT": "THROUGHPUT"},
        ),
        (
            {"CPU_THREADS_NUM": 2},
            {"INFERENCE_NUM_THREADS": 2, "PERFORMANCE_HINT": "LATENCY"},
        ),
        ({"NUM_STREAMS": 1, "CPU_THROUGHPUT_STREAMS": 4}, {"NUM_STREAMS": 1}),
        ({"CPU_THROUGHPUT_STREAMS": 4, "NUM_STREAMS": 1}, {"NUM_STREAMS": 1}),
        (
            {"ENABLE_MMAP": "NO"},
            {"ENABLE_MMAP": "NO", "PERFORMANCE_HINT": "LATENCY"},
        ),
    ],
)
def test_old_names_are_mapped_and_latency_is_the_default(
    given: dict[str, Property], compiled_with: dict[str, Property]
) -> None:
    assert effective(given, SUPPORTED) == compiled_with


def test_a_device_without_hints_gets_none() -> None:
    assert effective({}, {"NUM_STREAMS"}) == {}


@pytest.mark.parametrize("key", ["num_streams", "CPU_BIND_THREAD", ""])
def test_an_unknown_key_is_named(key: str) -> None:
    with pytest.raises(UnsupportedProperty, match=f"unknown key {key}$"):
        effective({key: 1}, SUPPORTED)


@pytest.mark.parametrize(
    ("target", "devices"),
    [
        ("CPU", ("CPU",)),
        ("GPU.1", ("GPU",)),
        ("AUTO", ("AUTO",)),
        ("AUTO:GPU.0,CPU", ("AUTO", "GPU", "CPU")),
        ("MULTI:CPU(2),GPU(4)", ("MULTI", "CPU", "GPU")),
        ("HETERO:CPU,CPU", ("HETERO", "CPU")),
        ("AUTO:-CPU", ("AUTO", "CPU")),
    ],
)
def test_a_device_made_of_several_takes_the_properties_of_all(
    target: str, devices: tuple[str, ...]
) -> None:
    assert device_names(target) == devices
