"""A message counts as long as anything of it is in use."""

from __future__ import annotations

import gc
import json
import threading

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.frontend.grpc.codec import decode_request
from ovms_mp.frontend.grpc.quota import SMALL, Quota
from ovms_mp.frontend.http.request import decode
from tests.wire.calls import ask
from tests.wire.rest import inputs, tensor

LARGE = SMALL + 1


def test_it_counts_until_the_last_part_of_it_is_gone() -> None:
    quota = Quota(2 * LARGE)
    view = quota.view(bytes(LARGE))
    part = view[10:20]
    array = np.frombuffer(part[2:], np.uint8).reshape(2, 4)[1:]
    assert quota.held == LARGE
    del view
    assert quota.held == LARGE
    del part
    assert quota.held == LARGE
    del array
    assert quota.held == 0


def test_what_finds_no_room_is_refused_and_takes_none() -> None:
    quota = Quota(2 * LARGE)
    first, second = quota.view(bytes(LARGE)), quota.view(bytes(LARGE))
    for _ in range(3):
        with pytest.raises(ServingError) as refused:
            quota.view(bytes(LARGE))
        assert refused.value.text == (
            f"Resource exhausted - requests have {2 * LARGE} bytes in use, this one has"
            f" {LARGE}, and all may have {2 * LARGE} (--grpc_memory_quota)"
        )
    assert first.nbytes == second.nbytes == LARGE
    del first
    assert quota.view(bytes(LARGE)).nbytes == LARGE


def test_small_messages_and_those_without_a_limit_do_not_count() -> None:
    quota = Quota(1)
    assert quota.view(bytes(SMALL)).nbytes == SMALL
    assert quota.held == 0
    unlimited = Quota()
    views = [unlimited.view(bytes(LARGE)) for _ in range(3)]
    assert len(views) == 3
    assert unlimited.held == 0


@pytest.mark.parametrize("is_known", [False, True])
def test_contents_of_a_request_keep_its_message(is_known: bool) -> None:
    """Whether its head has been seen before or not, raw or typed."""
    message = ask("m", {"x": np.zeros((300, 300), np.float32)}).SerializeToString()
    if is_known:
        decode_request(message)
    quota = Quota(1 << 30)
    (tensor,) = decode_request(message, quota).inputs
    assert tensor.raw is not None
    assert quota.held == len(message)
    array = np.frombuffer(tensor.raw, np.float32)
    del tensor
    assert quota.held == len(message)
    del array
    assert quota.held == 0
    typed = ask("m")
    contents = typed.inputs.add(name="x", datatype="FP32", shape=[40_000]).contents
    contents.fp32_contents.extend([0.5] * 40_000)
    message = typed.SerializeToString()
    request = decode_request(message, quota)
    assert quota.held == len(message)
    del request
    assert quota.held == 0


def test_numbers_in_json_count_as_such_until_they_are_gone() -> None:
    """Their text does no more than to be read."""
    large = np.zeros(LARGE, np.float32)
    text = json.dumps(inputs(tensor("x", large))).encode()
    quota = Quota(1 << 30)
    (said,) = decode("m", "", text, len(text), quota).request.inputs
    assert said.raw is not None
    assert quota.held == large.nbytes
    array = np.frombuffer(said.raw, np.float32)[7:]
    del said
    assert quota.held == large.nbytes
    del array
    assert quota.held == 0


def test_threads_and_cycles_lose_no_byte() -> None:
    quota = Quota(1 << 40)

    class Knot:
        def __init__(self, view: memoryview) -> None:
            self.view, self.me = view, self

    def work() -> None:
        for _ in range(2000):
            Knot(quota.view(bytes(LARGE)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    gc.collect()
    assert quota.held == 0


def test_rubbish_is_cleared_away_before_anybody_is_refused() -> None:
    quota = Quota(LARGE)

    class Knot:
        def __init__(self, view: memoryview) -> None:
            self.view, self.me = view, self

    gc.disable()
    try:
        Knot(quota.view(bytes(LARGE)))
        assert quota.held == LARGE
        assert quota.view(bytes(LARGE)).nbytes == LARGE
    finally:
        gc.enable()
