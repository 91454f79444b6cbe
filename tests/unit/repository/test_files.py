"""What lies where files are expected, and is none, holds nobody up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovms_mp.repository.files import Digests, stamp

# In a process of its own: who waits for the writer of a pipe cannot be woken.
HASH = """
import sys
from pathlib import Path
from ovms_mp.repository.files import Digests, stamp

path = Path(sys.argv[1])
print(Digests().of(path, stamp(path)).hex() or "none")
"""
WITHIN = 60.0


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_is_no_file_has_no_contents(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.xml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    command = [sys.executable, "-c", HASH, str(path)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=WITHIN
    )
    assert done.stdout == "none\n"


def test_a_file_and_a_link_to_it_have_the_same_contents(tmp_path: Path) -> None:
    file, link, empty = (tmp_path / name for name in ("file", "link", "empty"))
    file.write_bytes(b"contents")
    link.symlink_to(file)
    empty.touch()
    digests = Digests()
    first, second, third = (
        digests.of(each, stamp(each)) for each in (file, link, empty)
    )
    assert first == second != third
    assert all((first, third))
