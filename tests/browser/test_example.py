"""clients/web/index.html, opened as the file that it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, Site
from tests.wire.waiting import until

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

PAGE = Path(__file__).resolve().parents[2] / "clients" / "web" / "index.html"


@pytest.mark.parametrize("source", ["clip", "camera"])
def test_pictures_come_back_from_a_graph(
    page: Page, site: Site, clip: Path, source: str
) -> None:
    page.goto(PAGE.as_uri())
    page.get_by_role("textbox", name="Server").fill(
        f"localhost:{site.server.app.rest_port}"
    )
    page.get_by_role("textbox", name="Graph").fill(site.graph)
    if source == "clip":
        page.get_by_label("A clip").set_input_files(clip)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^[\d.]+ frames per second, \d+ ms each$")
    )
    page.get_by_role("button", name="Stop").click()
    assert until(lambda: not site.server.app.observing.watching._streams)


def test_what_a_server_refuses_is_shown(page: Page, site: Site, clip: Path) -> None:
    page.goto(PAGE.as_uri())
    page.get_by_role("textbox", name="Server").fill(
        f"localhost:{site.server.app.rest_port}"
    )
    page.get_by_role("textbox", name="Graph").fill("nobody")
    page.get_by_label("A clip").set_input_files(clip)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("status")).to_contain_text("name")
