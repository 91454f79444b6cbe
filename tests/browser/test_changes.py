"""What changes while the page is open: graphs that come, go and are loaded anew, keys,
and a live view of which too much is asked.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ovms_mp.settings.security import SecuritySettings
from tests.browser.conftest import PATIENCE_MS, Site
from tests.browser.test_page import opened
from tests.wire import zoo
from tests.wire.servers import serving
from tests.wire.waiting import until

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

TWO = """
input_stream: "OVTENSOR:in"
output_stream: "OVTENSOR:out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "mid" }
node { calculator: "PassThroughCalculator" input_stream: "mid" output_stream: "out" }
"""
ONE = """
input_stream: "OVTENSOR:given"
output_stream: "OVTENSOR:out"
node { calculator: "PassThroughCalculator" input_stream: "given" output_stream: "out" }
"""


def configured(folder: Path, **graphs: str) -> Path:
    for name, text in graphs.items():
        if (home := folder / name).is_dir():
            (home / "graph.pbtxt").write_text(text)
        else:
            zoo.add_graph(folder, name, text)
    return zoo.write_config(folder, [], [{"name": name} for name in graphs])


def test_a_graph_that_is_loaded_anew_is_drawn_anew(page: Page, tmp_path: Path) -> None:
    config = configured(tmp_path, changing=TWO)
    with serving(config, metrics=None) as server:
        opened(page, Site(server, "changing"))
        expect(page.locator("#picture g.node")).to_have_count(2)
        expect(page.locator("#request legend")).to_have_text(["in"])
        configured(tmp_path, changing=ONE)
        server.app.reload()
        expect(page.locator("#picture g.node")).to_have_count(1)
        expect(page.locator("#request legend")).to_have_text(["given"])


def test_what_is_written_in_a_form_outlives_a_reload(
    page: Page, tmp_path: Path
) -> None:
    config = configured(tmp_path, changing=TWO)
    with serving(config, metrics=None) as server:
        opened(page, Site(server, "changing"))
        values = page.get_by_label("Values, as JSON")
        values.fill("[17]")
        configured(tmp_path, changing=ONE.replace("given", "in"))
        server.app.reload()
        expect(page.locator("#picture g.node")).to_have_count(1)
        expect(values).to_have_value("[17]")


def test_a_graph_that_goes_is_not_shown_and_comes_back(
    page: Page, tmp_path: Path
) -> None:
    config = configured(tmp_path, first=TWO, second=ONE)
    with serving(config, metrics=None) as server:
        opened(page, Site(server, "first"))
        expect(page.locator("#request")).to_be_visible()
        configured(tmp_path, second=ONE)
        server.app.reload()
        expect(page.locator("#reason")).to_contain_text("Not served now")
        expect(page.locator("#graph")).to_be_hidden()
        expect(page.locator("#request")).to_be_hidden()
        configured(tmp_path, first=ONE, second=ONE)
        server.app.reload()
        expect(page.locator("#picture g.node")).to_have_count(1)
        expect(page.locator("#request")).to_be_visible()
        expect(page.locator("#reason")).to_be_hidden()
        expect(page.locator("#chosen-title")).to_have_text("first")


def test_a_server_that_serves_nothing_says_so(page: Page, tmp_path: Path) -> None:
    config = configured(tmp_path)
    with serving(config, metrics=None) as server:
        page.goto(Site(server, "").page)
        expect(page.locator("#status")).to_have_text("Live")
        expect(page.locator("#servables")).to_have_text("Nothing")
        configured(tmp_path, first=TWO)
        server.app.reload()
        expect(page.locator("#chosen-title")).to_have_text("first")
        expect(page.locator("#picture g.node")).to_have_count(2)


def test_long_names_do_not_widen_the_page(page: Page, tmp_path: Path) -> None:
    name = "n" * 200
    zoo.add_graph(tmp_path, "long", ONE.replace("given", name))
    path = str(tmp_path / "long")
    config = zoo.write_config(tmp_path, [], [{"name": name, "base_path": path}])
    page.set_viewport_size({"width": 360, "height": 740})
    with serving(config, metrics=None) as server:
        opened(page, Site(server, name))
        expect(page.locator("#request")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_wrong_key_of_any_letters_is_asked_for_again_and_nobody_else_is(
    page: Page, tmp_path: Path
) -> None:
    config = configured(tmp_path, first=TWO)
    (tmp_path / "keys").write_text("sesame")
    (tmp_path / "admins").write_text("chief")
    security = SecuritySettings(tmp_path / "keys", tmp_path / "admins")
    with serving(config, security=security, metrics=None) as server:
        page.goto(Site(server, "first").page)
        key = page.get_by_label("API key")
        use = page.get_by_role("button", name="Use it")
        key.fill("ключ 🗝")
        use.click()
        expect(page.locator("#status")).to_contain_text("wrong")
        expect(key).to_be_visible()
        key.fill("sesame")
        use.click()
        expect(page.locator("#status")).to_have_text("Live")
        # Who has no key asked once, and who had a wrong one: neither again and again.
        expect(page.locator("#errors li")).to_have_count(2)

        trace = page.locator("#trace")
        trace.get_by_label("Seconds").fill("1")
        trace.get_by_role("button", name="Record").click()
        expect(trace.get_by_role("status")).to_contain_text("administrator")
        key.fill("chief")
        use.click()
        trace.get_by_role("button", name="Record").click()
        expect(trace.get_by_role("status")).to_have_text("Nothing happened meanwhile")


GREY = """
input_stream: "IMAGE:frame"
output_stream: "IMAGE:grey"
node {
  calculator: "ColorConvertCalculator"
  input_stream: "RGB_IN:frame"
  output_stream: "GRAY_OUT:grey"
}
"""


def test_grey_pictures_are_grey(camera: BrowserContext, tmp_path: Path) -> None:
    config = configured(tmp_path, grey=GREY)
    with serving(config, metrics=None) as server:
        page = opened(camera.new_page(), Site(server, "grey"))
        live = page.locator("#camera")
        live.get_by_role("button", name="Start").click()
        expect(live.get_by_role("status")).to_contain_text("frames per second")
        red = "c => [...c.getContext('2d').getImageData(30, 200, 1, 1).data]"
        one, other, third, alpha = live.locator("canvas").evaluate(red)
        assert one == other == third
        assert 50 < one < 110  # 0.3 of red
        assert alpha == 255
        page.close()


CAMERAS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.tracks = [];
navigator.mediaDevices.getUserMedia = async how => {
  const found = await ask(how);
  window.tracks.push(...found.getTracks());
  return found;
};
"""


def test_who_starts_twice_and_stops_leaves_no_camera_on(
    camera: BrowserContext, site: Site
) -> None:
    page = camera.new_page()
    page.add_init_script(CAMERAS)
    opened(page, site)
    live = page.locator("#camera")
    page.evaluate("""() => {
      const start = document.querySelector("#camera form button");
      start.click(); start.click(); start.click();
    }""")
    expect(live.get_by_role("status")).to_contain_text(re.compile("frames per second"))
    live.get_by_role("button", name="Stop").click()
    page.wait_for_function("tracks.length === 3")
    page.wait_for_function("tracks.every(each => each.readyState === 'ended')")
    assert until(lambda: not site.server.app.observing.watching._streams)
    page.close()
