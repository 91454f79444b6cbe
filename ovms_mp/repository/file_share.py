"""Azure's file shares, for which fsspec has no backend: as much of one as a listing and a
download need, read-only, on Azure's own client.

A file's size, ETag and MD5 are asked for once for each ETag that a listing tells, so that
to look again at what is as it was costs a request for each folder.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
"""Azure's client waits for minutes, several times."""
RETRIES: Final = 2
BACKOFF_SECONDS: Final = 1.0


class _Known(NamedTuple):
    listed: str
    told: Mapping[str, Any]


class FileShare:
    """A share, named as a filesystem of fsspec names things. Calls block; what goes wrong
    are exceptions of Azure's client. For one thread at a time, but for downloads.

    `most` is how many files and folders a listing tells of; one that is longer ends
    after one more. Raises ValueError for a connection string that is none, ImportError
    for want of the client.
    """

    def __init__(self, connection: str, share: str, most: int) -> None:
        module: Any = importlib.import_module("azure.storage.fileshare")
        self._client: Any = module.ShareClient.from_connection_string(
            connection,
            share,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retry_total=RETRIES,
            initial_backoff=BACKOFF_SECONDS,
            increment_base=1,
            **_proxies(),
        )
        self._most = most
        self._known: dict[str, _Known] = {}

    def invalidate_cache(self) -> None:
        """See AbstractFileSystem. Each listing is a new one."""

    def find(
        self, path: str, *, detail: bool = True
    ) -> Mapping[str, Mapping[str, Any]]:
        """Files below a folder by their paths in the share, each with its `size`, its
        `etag` and the MD5 in `content_settings`, if whoever wrote it said one.
        """
        assert detail
        found = dict(self._walk(path))
        self._known = found
        return {name: known.told for name, known in found.items()}

    def get_file(self, path: str, to: str) -> None:
        """Write a file's content to a local one."""
        source = self._client.get_file_client(path.strip("/"))
        with Path(to).open("wb") as file:
            source.download_file().readinto(file)

    def _walk(self, path: str) -> Iterator[tuple[str, _Known]]:
        folders = [path.strip("/")]
        seen = 0
        while folders:
            folder = folders.pop()
            listing = self._client.get_directory_client(folder or None)
            for each in listing.list_directories_and_files(
                include=["ETag"], include_extended_info=True
            ):
                seen += 1
                if seen > self._most + 1:
                    return
                name = f"{folder}/{each.name}" if folder else each.name
                if each.is_directory:
                    folders.append(name)
                else:
                    yield name, self._file(name, each.etag or "")

    def _file(self, name: str, listed: str) -> _Known:
        known = self._known.get(name)
        if known is not None and known.listed == listed and listed:
            return known
        found = self._client.get_file_client(name).get_file_properties()
        settings = {"content_md5": found.content_settings.content_md5}
        told = {
            "size": found.size,
            "etag": found.etag,
            "content_settings": settings,
        }
        return _Known(listed, told)


def _proxies() -> Mapping[str, Any]:
    """OVMS: with AZURE_STORAGE_USE_HTTP_PROXY the proxy is http_proxy's, whatever the
    URL is; otherwise it is the environment's, as everywhere.
    """
    proxy = os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY")
    if not proxy or "AZURE_STORAGE_USE_HTTP_PROXY" not in os.environ:
        return {}
    return {"proxies": {"http": proxy, "https": proxy}}
