"""A graph that comes with it has a page that tells how to serve it, what goes in and out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphs import repository
from tests.docs.blocks import blocks_of
from tests.docs.conftest import ROOT

# Those that show what only this server does.
SHOWN = ("barcodes", "cameras", "emotions", "ocr", "speech_detection")

STREAM = re.compile(r'^(?:in|out)put_stream: "(?:.*:)?(\w+)"', re.MULTILINE)
NUMBERED = re.compile(r"(\w+_)\d+")
PICTURE = re.compile(r"!\[.+\]\((.+\.(?:webp|svg))\)")


def page(name: str) -> str:
    return (ROOT / "graphs" / name / "README.md").read_text()


@pytest.mark.parametrize("name", repository.names())
def test_a_graph_s_page_has_the_commands_that_serve_it(name: str) -> None:
    """Which are run, as those of every page are."""
    blocks = [each.text for each in blocks_of(page(name)) if each.language == "console"]
    commands = re.findall(r"^\$ (.+)$", "".join(blocks), re.MULTILINE)
    assert f".venv/bin/python graphs/repository.py models {name}" in commands
    serving = [each for each in commands if "ovms-mp --config_path models/" in each]
    assert serving
    has_own = (ROOT / "graphs" / name / "calculators").is_dir()
    assert ("--calculators_path models/calculators" in serving[0]) == has_own


@pytest.mark.parametrize("name", repository.names())
def test_a_graph_s_page_names_what_goes_in_and_out(name: str, root: Path) -> None:
    pbtxt = (root / "graphs" / name / "graph.pbtxt").read_text()
    streams = STREAM.findall(pbtxt)
    assert len(streams) >= 2
    # Of `camera_0` to `camera_3`, the first and the last are named.
    numbered = {each: NUMBERED.sub(r"\g<1>", each) for each in streams}
    for stream in streams:
        alike = [each for each in streams if numbered[each] == numbered[stream]]
        assert stream not in (alike[0], alike[-1]) or f"`{stream}`" in page(name)


@pytest.mark.parametrize("name", repository.names())
def test_the_list_of_examples_has_every_graph(name: str, root: Path) -> None:
    examples = (root / "docs" / "examples.md").read_text()
    assert f"| [{name}](../graphs/{name}/README.md) |" in examples


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_has_a_picture_of_its_result(name: str, root: Path) -> None:
    picture = PICTURE.search(page(name))
    assert picture
    assert (root / "graphs" / name / picture[1]).resolve().is_file()
