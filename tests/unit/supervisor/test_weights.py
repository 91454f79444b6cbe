"""Weights that are lent stay as they are, are copied once, and go when nobody has them."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from ovms_mp.supervisor.weights import FileChanges, Weights, sealed

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(CONTENT)
    return path


def memories() -> int:
    """Descriptors of this process that are sealed memory."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this look
            found += "memfd:weights" in str(each.readlink())
    return found


def test_nobody_can_write_to_what_is_lent(file: Path) -> None:
    _, descriptor = sealed(file)
    try:
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
        for each in (descriptor, again):
            with pytest.raises(PermissionError):
                os.pwrite(each, b"x", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(each, 0)
            with pytest.raises(PermissionError):
                mmap.mmap(each, len(CONTENT), prot=mmap.PROT_WRITE)
            assert os.pread(each, len(CONTENT), 0) == CONTENT
        os.close(again)
    finally:
        os.close(descriptor)


def test_what_is_written_to_the_file_is_another_copy(file: Path) -> None:
    weights, borrowed = Weights(), Counter[str]()

    async def lend() -> str:
        return await weights.lend(file, borrowed)

    first = asyncio.run(lend())
    with file.open("r+b") as served:
        served.write(b"other")
        served.truncate(5)
    assert Path(first).read_bytes() == CONTENT
    second = asyncio.run(lend())
    assert Path(second).read_bytes() == b"other"
    assert Path(first).read_bytes() == CONTENT
    assert borrowed == {first: 1, second: 1}
    weights.keep({second})
    assert memories() == 1
    assert Path(second).read_bytes() == b"other"
    weights.keep(())
    assert memories() == 0


def test_all_who_ask_for_a_file_have_the_same_copy(file: Path) -> None:
    weights, borrowed = Weights(), Counter[str]()

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(weights.lend(file, borrowed) for _ in range(5)))

    lent = asyncio.run(all_at_once())
    assert borrowed == {lent[0]: 5}
    assert memories() == 1
    weights.keep(())
    assert memories() == 0


def test_a_file_that_is_not_there_is_not_lent(tmp_path: Path) -> None:
    weights, borrowed = Weights(), Counter[str]()
    with pytest.raises(FileNotFoundError):
        asyncio.run(weights.lend(tmp_path / "none.bin", borrowed))
    assert not borrowed
    assert memories() == 0


def test_a_file_that_is_not_what_it_says_is_not_lent() -> None:
    """As one to which somebody writes while it is copied: nothing of it is kept."""
    with pytest.raises(FileChanges):
        sealed(Path("/sys/kernel/mm/transparent_hugepage/enabled"))  # a page, it says
    assert memories() == 0
