"""The pictures of the page in docs/images: the demo at work, and a trace of it, there and
in Perfetto.

python -m tests.browser.pictures
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from ovms_mp_clients import Client, ClientError
from playwright.sync_api import FloatRect, sync_playwright

from graphs import assets, repository
from tests.browser import perfetto
from tests.browser.conftest import FLAGS
from tests.wire.rest import Rest
from tests.wire.servers import Process
from tests.wire.test_seeing import port_of

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
GRAPH = "people_tracking"
# The call that gives the model a frame, in the middle of the trace.
CHOSEN = """
  select id from (
    select slice.id, row_number() over (order by ts) as number, count() over () as total
    from slice join thread_track on track_id = thread_track.id join thread using (utid)
    where thread.name = 'OpenVINOInferenceCalculator'
      and category = 'calls' and slice.name = thread.name
  ) where number = total / 2 + 1
"""
TRACKS: FloatRect = {"x": 0, "y": 0, "width": 1480, "height": 860}
SELECT = """
id => app.trace.selection.selectSqlEvent("slice", id, {scrollToSelection: false})
"""


@contextmanager
def streaming(address: str) -> Iterator[None]:
    """The demo's clip, again and again."""
    capture = cv2.VideoCapture(str(assets.fetch("vtest.avi")))
    frames = [np.asarray(capture.read()[1], np.uint8) for _ in range(100)]
    with Client(address) as client, client.stream(GRAPH, window=3) as on:

        def send() -> None:
            try:
                while True:
                    for frame in frames:
                        on.send({"frame": frame})
            except ClientError:
                return

        def read() -> None:
            try:
                for _ in on:
                    pass
            except ClientError:
                return

        threads = [threading.Thread(target=each) for each in (send, read)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            on.cancel()
            for each in threads:
                each.join()


def kept(png: bytes, name: str) -> None:
    """As WebP, which is a fifth of it."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    is_good, webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 88])
    assert is_good
    (IMAGES / name).write_bytes(webp.tobytes())


def main() -> None:
    """Take them."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        repository.add_graph(Path(folder), GRAPH)
        config = str(Path(folder) / "config.json")
        flags = ("--config_path", config, "--rest_port", "auto")
        with Process(Path(folder), *flags) as server:
            address = server.ready()
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=[*FLAGS]
            )
            page = browser.new_page(viewport={"width": 1480, "height": 960})
            page.goto(f"http://localhost:{port_of(server)}/ui")
            with streaming(address):
                page.locator("#picture .moves").first.wait_for(timeout=60_000)
                page.wait_for_timeout(3000)
                page.evaluate("document.activeElement.blur()")
                kept(page.screenshot(), "page.webp")
                page.get_by_label("Seconds").fill("3")
                page.get_by_role("button", name="Record").click()
                page.locator("#timeline svg").wait_for(timeout=60_000)
                asked = Rest(port_of(server)).ask("POST", "/v1/trace?seconds=1.6")
            kept(page.locator("#timeline svg").screenshot(), "trace.webp")
            page.set_viewport_size({"width": 1480, "height": 1290})
            with perfetto.opened(page, asked.body):
                ((chosen,),) = perfetto.query(page, CHOSEN)
                page.evaluate(SELECT, chosen)
                page.wait_for_timeout(3000)
                kept(page.screenshot(clip=TRACKS), "perfetto.webp")
            browser.close()


if __name__ == "__main__":
    main()
