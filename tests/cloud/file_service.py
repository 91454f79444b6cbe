"""Azure's file service, as far as somebody who only reads can tell: List Directories and
Files in pages, Get File Properties, Get File with ranges, signatures and errors, as
Microsoft documents them. There is no emulator of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

ACCOUNT: Final = "testing"
KEY: Final = base64.b64encode(b"the key of the test").decode()
PAGE: Final = 2
"""Entries of a page, so that few are several pages."""

_DATE: Final = "Fri, 27 Nov 2026 01:02:03 GMT"


@dataclass(frozen=True)
class File:
    """What was written, and the MD5 that its writer said."""

    content: bytes
    etag: str
    md5: bytes


@dataclass
class Shares:
    """Shares by name, each with its files by their paths; and what goes wrong."""

    files: dict[str, dict[str, File]] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    """Paths of files of which half is sent."""
    rewritten_when_read: dict[str, bytes] = field(default_factory=dict)
    """Contents that come after somebody has begun to read."""
    asked: list[str] = field(default_factory=list)
    """Methods and paths, and ranges."""
    endpoint: str = ""
    _numbers: Iterator[int] = field(default_factory=count)

    def put(
        self, share: str, path: str, content: bytes, *, md5: bytes | None = None
    ) -> None:
        etag = f'"0x8D{next(self._numbers):012X}"'
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        file = File(content, etag, digest if md5 is None else md5)
        self.files.setdefault(share, {})[path] = file

    def connection(self, key: str = KEY) -> str:
        """What AZURE_STORAGE_CONNECTION_STRING is."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
            f"FileEndpoint={self.endpoint}/{ACCOUNT};"
        )


@contextmanager
def shares() -> Iterator[Shares]:
    """The service on a free port."""
    held = Shares()

    class Handler(_Handler):
        shares = held

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _not_found() -> _Refusal:
    return _Refusal(404, "ResourceNotFound", "The specified resource does not exist.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shares: ClassVar[Shares]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody listens."""

    def do_CONNECT(self) -> None:
        self.shares.asked.append(f"CONNECT {self.path}")
        self.send_error(502)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query, keep_blank_values=True))
        path = unquote(url.path)
        wanted = self.headers.get("x-ms-range") or ""
        self.shares.asked.append(f"{self.command} {path} {wanted}".strip())
        try:
            self._check_signature(url.path, asked)
            _, account, share, *rest = path.split("/")
            assert account == ACCOUNT
            files = self.shares.files.get(share)
            if files is None:
                raise _Refusal(
                    404, "ShareNotFound", "The specified share does not exist."
                )
            name = "/".join(rest).strip("/")
            if asked.get("restype") == "directory" and asked.get("comp") == "list":
                self._list(share, files, name, asked)
            elif name not in files:
                raise _not_found()
            elif self.command == "HEAD":
                self._send(200, self._of(files[name]), b"")
            else:
                self._get(files, share, name, wanted)
        except _Refusal as refusal:
            said = f"{refusal}\nRequestId:0\nTime:2026-11-27T01:02:03.0000000Z"
            body = (
                '<?xml version="1.0" encoding="utf-8"?><Error><Code>'
                f"{refusal.code}</Code><Message>{escape(said)}</Message></Error>"
            )
            headers = {
                "x-ms-error-code": refusal.code,
                "Content-Type": "application/xml",
            }
            self._send(refusal.status, headers, body.encode())

    def _check_signature(self, path: str, asked: Mapping[str, str]) -> None:
        """Shared Key: a digest of what is asked, with the account's key."""
        names = (
            *("Content-Encoding", "Content-Language", "Content-Length", "Content-MD5"),
            *("Content-Type", "Date", "If-Modified-Since", "If-Match"),
            *("If-None-Match", "If-Unmodified-Since", "Range"),
        )
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = [headers.get(name.lower(), "") for name in names]
        ours = sorted(name for name in headers if name.startswith("x-ms-"))
        said += [f"{name}:{headers[name].strip()}" for name in ours]
        query = [f"\n{name.lower()}:{asked[name]}" for name in sorted(asked)]
        text = "\n".join([self.command, *said, f"/{ACCOUNT}{path}{''.join(query)}"])
        digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        if headers.get("authorization") != f"SharedKey {ACCOUNT}:{signature}":
            raise _Refusal(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of "
                "Authorization header is formed correctly including the signature.",
            )

    def _list(
        self,
        share: str,
        files: Mapping[str, File],
        folder: str,
        asked: Mapping[str, str],
    ) -> None:
        prefix = f"{folder}/" if folder else ""
        below = [path.removeprefix(prefix) for path in files if path.startswith(prefix)]
        if folder and not below:
            raise _not_found()
        names = sorted({name.partition("/")[0] for name in below})
        start = int(asked.get("marker") or 0)
        page = names[start : start + PAGE]
        entries = "".join(
            self._entry(name, files.get(prefix + name), asked) for name in page
        )
        more = str(start + PAGE) if start + PAGE < len(names) else ""
        body = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
            f'ServiceEndpoint="{self.shares.endpoint}/{ACCOUNT}" ShareName="{share}" '
            f'DirectoryPath="{escape(folder)}"><Entries>{entries}</Entries>'
            f"<NextMarker>{more}</NextMarker></EnumerationResults>"
        )
        self._send(200, {"Content-Type": "application/xml"}, body.encode())

    def _entry(self, name: str, file: File | None, asked: Mapping[str, str]) -> str:
        said = f"<Name>{escape(name)}</Name>"
        if file is None:
            return f"<Directory>{said}<Properties /></Directory>"
        size = f"<Content-Length>{len(file.content)}</Content-Length>"
        is_wanted = "etag" in asked.get("include", "").lower()
        is_wanted &= self.headers.get("x-ms-file-extended-info") == "true"
        etag = f"<Etag>{escape(file.etag)}</Etag>" if is_wanted else ""
        return f"<File>{said}<Properties>{size}{etag}</Properties></File>"

    def _get(self, files: dict[str, File], share: str, name: str, wanted: str) -> None:
        file = files[name]
        headers = self._of(file)
        content = file.content
        status = 200
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, size = int(first), len(content)
            if start >= size:
                raise _Refusal(416, "InvalidRange", "The range specified is invalid.")
            end = min(int(last) + 1 if last else size, size)
            content = content[start:end]
            status = 206
            headers |= {
                "Content-Range": f"bytes {start}-{end - 1}/{size}",
                "x-ms-content-md5": headers.pop("Content-MD5"),
                "Content-Length": str(len(content)),
            }
        if name in self.shares.cut_off:
            self.close_connection = True
            content = content[: len(content) // 2]
        if name in self.shares.rewritten_when_read:
            self.shares.put(share, name, self.shares.rewritten_when_read.pop(name))
        self._send(status, headers, content)

    def _of(self, file: File) -> dict[str, str]:
        return {
            "Content-Length": str(len(file.content)),
            "Content-Type": "application/octet-stream",
            "Content-MD5": base64.b64encode(file.md5).decode(),
            "ETag": file.etag,
            "x-ms-type": "File",
        }

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        said = {
            "Content-Length": str(len(body)),
            "Last-Modified": _DATE,
            "x-ms-request-id": "0",
            "x-ms-version": self.headers.get("x-ms-version", ""),
            **headers,
        }
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
