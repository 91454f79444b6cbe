"""Freed blocks are kept for the next, and given back when they are told to go."""

from __future__ import annotations

import subprocess
import sys

from ovms_mp.core import heap

_PROGRAM = """
import resource, sys
from ovms_mp.core import heap
from ovms_mp.telemetry.process import resident_bytes

PAGE = resource.getpagesize()
BLOCK = 6 << 20

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [bytearray(BLOCK) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def rise(then):
    heap.give_back()
    before = resident_bytes()
    blocks = [bytearray(1 << 20) for _ in range(48)]
    del blocks
    then()
    return resident_bytes() - before

if sys.argv[1] == "keep":
    heap.keep()
faults()
print(faults() * PAGE // BLOCK, rise(lambda: None) >> 20, rise(heap.give_back) >> 20)
"""


def _found(how: str) -> tuple[int, ...]:
    """How many of 20 blocks, four at a time, were mapped anew; MiB that stay when 48 are freed, and when
    they are given back.
    """
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how], capture_output=True, check=True
    )
    return tuple(int(word) for word in said.stdout.split())


def test_a_block_that_is_freed_is_the_next_one() -> None:
    anew, stays, after = _found("keep")
    assert anew == 0
    assert stays >= 40
    assert after <= 2


def test_glibc_would_not_keep_it() -> None:
    """The control: without `keep` the same program is served page by page."""
    anew, _, _ = _found("")
    assert anew >= 10


def test_what_is_kept_has_a_bound() -> None:
    assert heap.KEPT_BYTES * heap.ARENAS <= 256 << 20
