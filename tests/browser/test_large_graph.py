"""Holistic tracking, of some 190 nodes, on the page: each part of it can be read, with its
subgraphs folded, and gone into.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from graphs import assets, repository
from tests.browser.conftest import PATIENCE_MS, Site
from tests.browser.test_page import opened
from tests.wire.rest import Rest
from tests.wire.servers import serving

pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=PATIENCE_MS)

LEAST = 10  # pixels of a line that can be read
# Texts of the picture that are too small, or go beyond their boxes.
UNREADABLE = """
least => {
  const wrong = [];
  for (const item of document.querySelectorAll("#picture svg g")) {
    const box = item.querySelector("rect").getBoundingClientRect();
    for (const text of item.querySelectorAll("text")) {
      const {left, right, height} = text.getBoundingClientRect();
      if (height < least || left < box.left - 1 || right > box.right + 1) {
        wrong.push(`${text.textContent} ${height.toFixed(1)}`);
      }
    }
  }
  return wrong;
}
"""
HOLISTIC = "HolisticLandmarkCpu"
FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}


@pytest.fixture(scope="module")
def holistic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("holistic")
    try:
        repository.add_graph(folder, "holistic")
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    with serving(folder / "config.json", metrics=None) as server:
        yield Site(server, "holistic")


@pytest.fixture(params=FORMS)
def seen(
    request: pytest.FixtureRequest, browser: Browser, holistic: Site
) -> Iterator[Page]:
    """The page, as one may have it; pictures of it are left where a person can look."""
    context = browser.new_context(**FORMS[request.param])
    context.set_default_timeout(PATIENCE_MS)
    page = opened(context.new_page(), holistic)
    yield page
    if folder := os.environ.get("OVMS_MP_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"holistic-{request.param}.png")
    context.close()


def into(page: Page, name: str) -> None:
    """What is in a subgraph is shown instead."""
    page.get_by_role("button", name=f"What is in {name}", exact=True).click()
    expect(page.locator("#trail li").last).to_have_text(name)


def readable(page: Page) -> None:
    """At the size in which it is shown; a phone shows a part, and scrolls."""
    assert page.evaluate(UNREADABLE, LEAST) == []


def test_it_is_readable_folded_and_part_by_part(seen: Page) -> None:
    readable(seen)
    expect(seen.locator("#picture g.folded")).to_have_count(2)
    into(seen, HOLISTIC)
    readable(seen)
    into(seen, "PoseLandmarkCpu")
    readable(seen)
    expect(seen.locator("#trail li")).to_have_text(
        ["holistic", HOLISTIC, "PoseLandmarkCpu"]
    )
    assert Axe().run(seen).response["violations"] == []
    assert seen.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_goes_in_and_back(page: Page, holistic: Site) -> None:
    opened(page, holistic)
    page.get_by_role("button", name=f"What is in {HOLISTIC}", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trail li").last).to_have_text(HOLISTIC)
    expect(page.locator("#picture")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")  # the way back
    expect(page.locator("#trail")).to_be_hidden()
    expect(page.locator("#picture g.folded")).to_have_count(2)


def test_all_of_it_can_be_opened(page: Page, holistic: Site) -> None:
    opened(page, holistic)
    page.get_by_label("Open subgraphs").check()
    expect(page.locator("#picture g.group").first).to_be_visible()
    assert page.locator("#picture g.node").count() > 170
    page.get_by_label("Fit into the page").uncheck()
    readable(page)


def test_parts_make_up_the_whole(holistic: Site) -> None:
    """Each node is in exactly one of them, with its number."""
    rest = Rest(holistic.server.app.rest_port)
    found: list[int] = []
    left = [""]
    while left:
        told = rest.get(f"/v1/graphs/holistic?within={left.pop()}").json
        for item in told["items"]:
            if item["look"] == "node":
                found += item["nodes"]
            elif item["look"] == "folded":
                left.append(item["key"])
    whole = rest.get("/v1/graphs/holistic?expand=true").json["items"]
    nodes = [item for item in whole if item["look"] == "node"]
    assert sorted(found) == [*range(len(nodes))]
    for wrong in ("nobody", "subgraph:", "subgraph:nobody__"):
        assert rest.get(f"/v1/graphs/holistic?within={wrong}").code == 400
