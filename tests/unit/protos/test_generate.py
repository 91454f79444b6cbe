"""A change of a .proto file that was not compiled is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[3] / "protos"

pytest.importorskip("grpc_tools")


def check(protos: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, protos / "generate.py", "--check"]
    return subprocess.run(script, capture_output=True, text=True, check=False)


def test_an_edited_proto_makes_what_is_generated_stale(tmp_path: Path) -> None:
    copy = shutil.copytree(PROTOS, tmp_path / "protos")
    assert check(copy).returncode == 0
    source = copy / "ovms_mp_protos/calculators/track_overlay_calculator.proto"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("label = 2", "label = 3"), encoding="utf-8")
    stale = check(copy)
    assert stale.returncode == 1
    assert "protos/ovms_mp_protos/graph.binpb" in stale.stderr
    assert "protos/ovms_mp_protos/graph.pyi" in stale.stderr
    assert "kserve" not in stale.stderr
