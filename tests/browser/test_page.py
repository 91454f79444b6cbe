"""The page in a browser, as a person has it: clicks, keys, what is to be seen then."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from ovms_mp.settings.security import SecuritySettings
from tests.browser.conftest import PATIENCE_MS, Site
from tests.wire import zoo
from tests.wire.calls import Stream, ask
from tests.wire.servers import serving
from tests.wire.waiting import until

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

CONTRAST = """
() => {
  const parsed = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parsed(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(svg, svg *, option, script, noscript)")) {
    const text = [...element.childNodes].some(each => each.nodeType === 3 && each.textContent.trim());
    if (!text || !element.checkVisibility() || element.disabled) continue;
    const [one, other] = [light(parsed(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}
"""
NAMELESS = """
() => [...document.querySelectorAll("button, input, select, textarea, a[href], [tabindex]")]
  .filter(each => each.checkVisibility())
  .filter(each => !(each.textContent.trim() || each.labels?.length || each.getAttribute("aria-label") || each.id === "main"))
  .map(each => each.outerHTML.slice(0, 80))
"""


def opened(page: Page, site: Site) -> Page:
    page.goto(site.page)
    expect(page.locator("#status")).to_have_text("Live")
    expect(page.locator("#chosen-title")).to_have_text(site.graph)
    expect(page.locator("#picture svg")).to_be_visible()
    return page


def frame(site: Site, number: int) -> object:
    pixels = np.full((120, 160, 3), number % 256, np.uint8)
    return ask(site.graph, {"frame": pixels}, at=number)


@contextmanager
def streaming(site: Site) -> Iterator[None]:
    """Frames go through the graph for as long as somebody wants to see them: a page that
    is slow misses none of what it is asked about.
    """
    is_over = threading.Event()

    def play(stream: Stream) -> None:
        for number in count():
            if is_over.is_set():
                return
            stream.send(frame(site, number))  # pyright: ignore[reportArgumentType]
            for _ in ("annotated", "tracks"):
                stream.answer()

    with (
        site.server.connect() as channel,
        Stream(channel, seconds=None) as stream,
        ThreadPoolExecutor(1) as beside,
    ):
        playing = beside.submit(play, stream)
        try:
            yield
        finally:
            is_over.set()
            playing.result(PATIENCE_MS / 1000)


def test_a_graph_is_drawn_with_its_nodes_and_streams(page: Page, site: Site) -> None:
    opened(page, site)
    picture = page.locator("#picture svg")
    expect(picture.locator("g.input")).to_have_count(1)
    expect(picture.locator("g.node").first).to_be_visible()
    expect(picture.locator("text", has_text="IMAGE:frame")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("Nobody uses it now")


def test_what_streams_do_is_seen_where_it_happens(page: Page, site: Site) -> None:
    opened(page, site)
    with streaming(site):
        expect(page.locator("#picture g.node.moves").first).to_be_visible()
        expect(page.locator("#pulse")).to_have_text(
            re.compile(r"^[\d.]+ requests and [\d.]+ answers per second, .+ ms")
        )
        row = page.locator("#streams tbody tr")
        expect(row).to_have_count(1)
        expect(row).to_contain_text(site.graph)
        page.get_by_text("As a table").click()
        expect(page.locator("#nodes tbody tr").first).to_contain_text("ms")
    expect(page.locator("#streams tbody tr")).to_have_count(0)


def test_a_camera_goes_through_the_graph(page: Page, site: Site) -> None:
    opened(page, site)
    live = page.locator("#camera")
    live.get_by_role("button", name="Start").click()
    expect(live.get_by_role("status")).to_have_text(
        re.compile(r"^[\d.]+ frames per second, \d+ ms each$")
    )
    live.get_by_role("button", name="Stop").click()
    expect(live.get_by_role("status")).to_have_text("Stopped")
    assert until(lambda: not site.server.app.observing.watching._streams)


PIXELS = """
canvas => [80, 160, 240].map(at => [20, 120].map(y => [
  ...canvas.getContext("2d").getImageData(at * canvas.width / 320, y * canvas.height / 240, 1, 1).data,
].slice(0, 3)))
"""
RATES = r"""
() => document.querySelector("#camera output").textContent
  .match(/^([\d.]*[1-9][\d.]*) frames per second, ([1-9]\d*) ms each$/)?.slice(1)
"""
MOVES = """
before => JSON.stringify((PIXELS)(document.querySelector("#camera canvas"))) !== before
""".replace("PIXELS", PIXELS)


def test_what_the_camera_sees_is_drawn_in_its_colours_as_it_comes(
    camera: BrowserContext, site: Site
) -> None:
    page = opened(camera.new_page(), site)
    live = page.locator("#camera")
    live.get_by_role("button", name="Start").click()
    expect(live.get_by_role("status")).to_have_text(
        re.compile(r"^[\d.]*[1-9][\d.]* frames per second, [1-9]\d* ms each$")
    )
    (red, _), _, (blue, _) = pixels = live.locator("canvas").evaluate(PIXELS)
    assert red[0] - red[2] > 100, pixels
    assert blue[2] - blue[0] > 100, pixels
    page.wait_for_function(MOVES, arg=json.dumps(pixels, separators=(",", ":")))
    # What it says is of now: after a rest of some seconds, none per second.
    fps, latency = page.wait_for_function(RATES).json_value()
    # Three frames are on their way at a time; a busy machine may take its time for each.
    assert 0 < float(fps) < 100
    assert 0 < int(latency) < 60_000
    live.get_by_role("button", name="Stop").click()
    assert until(lambda: not site.server.app.observing.watching._streams)
    page.close()


def test_a_clip_goes_through_the_graph(page: Page, site: Site, clip: Path) -> None:
    opened(page, site)
    live = page.locator("#camera")
    live.get_by_label("A clip").set_input_files(clip)
    live.get_by_role("button", name="Start").click()
    expect(live.get_by_role("status")).to_have_text(re.compile("frames per second"))
    canvas = live.locator("canvas")
    expect(canvas).to_have_js_property("width", 320)
    middle = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(160, 20, 1, 1).data]"
    )
    assert all(abs(value - 90) < 25 for value in middle[:3])
    live.get_by_role("button", name="Stop").click()


def test_a_request_is_sent_from_a_form(page: Page, site: Site) -> None:
    opened(page, site)
    form = page.locator("#request")
    picture = {"name": "grey.png", "mimeType": "image/png", "buffer": png()}
    form.get_by_label("A picture instead").set_input_files(files=[picture])  # pyright: ignore[reportArgumentType]
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_have_text(re.compile(r"^Answered in \d+ ms"))
    expect(form.locator("canvas")).to_have_js_property("width", 64)
    expect(form.locator(".answer")).to_contain_text("tracks")


def png() -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((48, 64, 3), 120, np.uint8))[1].tobytes()


def test_a_trace_is_recorded_and_drawn(page: Page, site: Site) -> None:
    opened(page, site)
    section = page.locator("#trace")
    with streaming(site):
        # A row that comes above between a button's way down and up makes it no click.
        expect(page.get_by_role("heading", name="Open streams 1")).to_be_visible()
        section.get_by_label("Seconds").fill("1")
        section.get_by_role("button", name="Record").click()
        expect(section.get_by_role("status")).to_contain_text(f"{site.graph} stream")
    expect(section.locator("svg rect").first).to_be_attached()
    with page.expect_download() as download:
        section.get_by_role("link").click()
    events = json.loads(download.value.path().read_text())["traceEvents"]
    assert any(each["ph"] == "X" for each in events)


def test_everything_can_be_done_with_the_keyboard(page: Page, site: Site) -> None:
    opened(page, site)
    expect(page.locator("#request")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = set[str]()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("document.activeElement.textContent.trim().slice(0, 12)")
        )
        if "Record" in seen:
            break
    assert {"Start", "Send", "Record"} <= seen
    box = page.get_by_label("Fit into the page")
    was_checked = box.is_checked()
    box.focus()
    page.keyboard.press("Space")
    expect(box).to_be_checked(checked=not was_checked)
    entry = page.locator("#servables button").first
    entry.focus()
    page.keyboard.press("Enter")
    expect(entry).to_have_attribute("aria-current", "true")
    expect(entry).to_be_focused()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_texts_can_be_read_and_controls_have_names(
    browser: Browser, site: Site, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    page = opened(context.new_page(), site)
    expect(page.locator("#request")).to_be_visible()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    assert Axe().run(page).response["violations"] == []
    page.get_by_text("As a table").click()
    with site.server.connect() as channel, Stream(channel, frame(site, 0)):  # pyright: ignore[reportArgumentType]
        expect(page.locator("#streams tbody tr")).to_have_count(1)
        assert Axe().run(page).response["violations"] == []
    assert page.locator("h1").count() == 1
    context.close()


def test_a_phone_shows_all_of_it_without_scrolling_sideways(
    browser: Browser, site: Site
) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True
    )
    page = opened(context.new_page(), site)
    expect(page.locator("#request")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert Axe().run(page).response["violations"] == []
    context.close()


def test_subgraphs_are_folded_and_open(page: Page, tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "outer", OUTER)
    (tmp_path / "outer" / "inner.pbtxt").write_text(INNER)
    config = zoo.write_config(tmp_path, [], [{"name": "outer"}])
    with serving(config, metrics=None) as server:
        opened(page, Site(server, "outer"))
        expect(page.locator("#picture g.folded")).to_have_count(1)
        page.get_by_role("button", name="What is in Inner").click()
        expect(page.locator("#picture g.node")).to_have_count(2)
        expect(page.locator("#picture g.input text.name")).to_have_text("in")
        expect(page.locator("#picture g.output text.name")).to_have_text("out")
        page.locator("#trail").get_by_role("button", name="outer").click()
        expect(page.locator("#picture g.folded")).to_have_count(1)
        page.get_by_label("Open subgraphs").click()
        expect(page.locator("#picture g.group")).to_have_count(1)
        expect(page.locator("#picture g.node")).to_have_count(2)


OUTER = """
input_stream: "in"
output_stream: "out"
node { calculator: "Inner" input_stream: "in" output_stream: "out" }
"""
INNER = """
type: "Inner"
input_stream: "in"
output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "between" }
node { calculator: "PassThroughCalculator" input_stream: "between" output_stream: "out" }
"""


def test_what_clients_say_is_text(page: Page, site: Site) -> None:
    """And so no element of the page, whatever it looks like."""
    wicked = '<img src="x" onerror="document.title=1">'
    from tests.wire.calls import refusal

    with site.server.connect() as channel:
        refusal(channel, ask(site.graph, {wicked: np.zeros(1, np.float32)}))
    opened(page, site)
    expect(page.locator("#errors li").first).to_contain_text(wicked)
    assert page.locator("#errors img").count() == 0
    assert page.title() == "ovms_mp"


def test_a_key_is_asked_for_and_kept_for_the_tab(page: Page, tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    (tmp_path / "keys").write_text("sesame")
    security = SecuritySettings(tmp_path / "keys")
    with serving(config, security=security, metrics=None) as server:
        page.goto(Site(server, "echo").page)
        key = page.get_by_label("API key")
        expect(key).to_be_visible()
        key.fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#status")).to_contain_text("wrong")
        expect(key).to_be_visible()
        key.fill("sesame")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#chosen-title")).to_have_text("echo")
        expect(page.locator("#status")).to_have_text("Live")
        page.reload()
        expect(page.locator("#status")).to_have_text("Live")


def test_a_server_that_was_lost_is_found_again(page: Page, tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    with serving(config, metrics=None) as server:
        port = server.app.rest_port
        opened(page, Site(server, "echo"))
    expect(page.locator("#status")).to_contain_text("looking for it")
    with serving(config, metrics=None, rest_port=port):
        expect(page.locator("#status")).to_have_text("Live")
