"""A browser, and servers that it looks at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from graphs import assets, repository
from tests.wire.servers import Server, serving

FLAGS = (
    "--no-sandbox",  # tests may be root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",  # a camera with a clock in it
)
PATIENCE_MS = 30_000


@dataclass(frozen=True)
class Site:
    """A server as a browser knows it."""

    server: Server
    graph: str

    @property
    def page(self) -> str:
        return f"http://localhost:{self.server.app.rest_port}/ui"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer than a module has tests: in the thread that has it an event loop
    runs, and no other one can.
    """
    path = shutil.which("chromium")
    if path is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """As a person's: dark or light, small or large as `new_page` has it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page in which nothing may go wrong: no error, nothing that the policy refuses."""
    wrong: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" else None,
    )
    yield page
    assert not [each for each in wrong if "Failed to load resource" not in each], wrong


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo: people, or where there is no model of them, faces."""
    folder = tmp_path_factory.mktemp("site")
    try:
        repository.add_graph(folder, "people_tracking")
        graph = "people_tracking"
    except assets.AssetUnavailable:
        repository.add_graph(folder, "face_tracking")
        graph = "face_tracking"
    with serving(folder / "config.json", metrics=None) as server:
        yield Site(server, graph)


@pytest.fixture(scope="module")
def camera(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """A browser with a camera before which a white square wanders from top to bottom,
    between a red half, on the left, and a blue one.
    """
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F10:1 Ip A1:1 C420jpeg\n")
        for number in range(20):
            frame = np.zeros((240, 320, 3), np.uint8)
            frame[:, :160, 0] = frame[:, 160:, 2] = 255  # RGB
            frame[10 * number : 10 * number + 40, 140:180] = 255
            yuv = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + yuv.tobytes())
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={path}"]
    program = shutil.which("chromium")
    with browser.browser_type.launch(executable_path=program, args=flags) as other:
        context = other.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person might upload: WebM, in which a square wanders."""
    path = tmp_path_factory.mktemp("clip") / "clip.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 20, (320, 240))
    assert writer.isOpened()
    for number in range(60):
        frame = np.full((240, 320, 3), 90, np.uint8)
        cv2.rectangle(
            frame, (4 * number, 80), (4 * number + 60, 140), (40, 200, 240), -1
        )
        writer.write(frame)
    writer.release()
    return path
