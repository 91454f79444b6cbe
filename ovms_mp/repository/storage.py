"""The one door to cloud storage: objects below a URL, listed and fetched through fsspec.

Settings are OVMS's environment variables. Nothing is imported before a URL asks for it:
the backends are the extra `[cloud]`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.file_share import FileShare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_OBJECTS: Final = 20_000
"""Below one URL; more is somebody's data, by mistake."""
MAX_REASON: Final = 300

CONNECT_SECONDS: Final = 5.0
"""For S3. botocore's minute, five times, is a long time to hear nothing in."""
READ_SECONDS: Final = 30.0

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ENDPOINT: Final = re.compile(r"([^/:]+:[0-9]+)/(.+)", re.DOTALL)
_SECRETS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
)
# Where else than in AWS_ACCESS_KEY_ID and AWS_PROFILE botocore finds credentials.
_IDENTITIES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


class Remote(NamedTuple):
    """An object as a listing tells it: `tag` differs when it was written to, `md5` is
    of its content, empty where the storage does not tell.
    """

    size: int
    tag: str
    md5: bytes = b""


@dataclass(frozen=True, slots=True)
class Storage:
    """What lies below one URL. Calls block, and may come from any thread; they raise
    ServingError whose details say why, without secrets.
    """

    url: str
    filesystem: Any
    root: str

    def files(self) -> Mapping[str, Remote]:
        """All objects, by their names below the URL, as they are: any text at all."""
        try:
            self.filesystem.invalidate_cache()
            found: dict[str, Any] = self.filesystem.find(self.root, detail=True)
        except Exception as error:
            raise _refusal(self.url, error) from error
        if len(found) > MAX_OBJECTS:
            details = f"{self.url}: more than {MAX_OBJECTS} objects"
            raise ServingError(Status.PATH_INVALID, details)
        return {
            key.removeprefix(self.root).removeprefix("/"): _remote(info)
            for key, info in found.items()
            if info.get("type") != "directory" and not key.endswith("/")
        }

    def fetch(self, name: str, remote: Remote, path: Path) -> None:
        """Write the object to `path`, and see that it is what was listed."""
        try:
            self.filesystem.get_file(f"{self.root}/{name}", str(path))
        except Exception as error:
            raise _refusal(self.url, error) from error
        size = path.stat().st_size
        if size != remote.size:
            said = f"{remote.size} bytes are listed, {size} came"
            raise self._broken(name, said)
        if remote.md5:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, _md5).digest()
            if digest != remote.md5:
                raise self._broken(name, "what came has another MD5 than is listed")

    def _broken(self, name: str, said: str) -> ServingError:
        return ServingError(Status.FILE_INVALID, f"{self.url}/{name}: {said}")


def _refusal(url: str, error: Exception) -> ServingError:
    text = " ".join(str(error).split()) or type(error).__name__
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return ServingError(Status.PATH_INVALID, f"{url}: {text[:MAX_REASON]}")


def scheme_of(text: str) -> str:
    """The scheme of a URL, in lower case; empty for a path."""
    found = _URL.match(text)
    return "" if found is None else found[1].lower()


def is_url(text: str) -> bool:
    """True for what `connect` takes, if the extra is there."""
    return scheme_of(text) in _OPENED


def connect(url: str) -> Storage:
    """Open a storage; nothing is asked yet. Raises ServingError NOT_IMPLEMENTED for a
    scheme that there is not, and for want of the extra.
    """
    found = _URL.match(url)
    scheme = scheme_of(url)
    opened = _OPENED.get(scheme)
    if found is None or opened is None:
        details = f"{scheme}:// is not supported, expected {' or '.join(_OPENED)}"
        raise ServingError(Status.NOT_IMPLEMENTED, details)
    try:
        filesystem, root = opened(found[2].strip("/"))
    except ImportError as error:
        details = f"{scheme}:// needs an extra: pip install 'ovms_mp[cloud]'"
        raise ServingError(Status.NOT_IMPLEMENTED, details) from error
    except ServingError:
        raise
    except Exception as error:
        raise _refusal(url, error) from error
    return Storage(url, filesystem, root)


def _s3(path: str) -> tuple[Any, str]:
    module: Any = importlib.import_module("s3fs")
    environ = os.environ
    endpoint = environ.get("S3_ENDPOINT", "")
    if endpoint and not scheme_of(endpoint):
        endpoint = f"https://{endpoint}"
    # OVMS: a host and port before the bucket.
    if given := _ENDPOINT.fullmatch(path):
        endpoint, path = f"http://{given[1]}", given[2]
    profile = environ.get("AWS_PROFILE")
    is_known = profile or any(
        environ.get(name) for name in ("AWS_ACCESS_KEY_ID", *_IDENTITIES)
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    filesystem = module.S3FileSystem(
        anon=not is_known,
        profile=profile or None,
        endpoint_url=endpoint or None,
        client_kwargs={"region_name": region} if region else {},
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 2},
            **({"s3": {"addressing_style": "path"}} if endpoint else {}),
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, path


def _gs(path: str) -> tuple[Any, str]:
    # The package's own offers a class that first asks what kind of a bucket it is.
    module: Any = importlib.import_module("gcsfs.core")
    emulated = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else None
    filesystem = module.GCSFileSystem(
        token=os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or emulated,
        session_kwargs={"trust_env": True},  # proxies
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, path


def _az(path: str) -> tuple[Any, str]:
    module: Any = importlib.import_module("adlfs")
    filesystem = module.AzureBlobFileSystem(
        connection_string=_azure_connection("az"),
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, path


def _azfs(path: str) -> tuple[Any, str]:
    share, _, folder = path.partition("/")
    return FileShare(_azure_connection("azfs"), share, MAX_OBJECTS), folder.strip("/")


def _azure_connection(scheme: str) -> str:
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if not connection:
        details = f"{scheme}:// needs AZURE_STORAGE_CONNECTION_STRING"
        raise ServingError(Status.PATH_INVALID, details)
    return connection


_OPENED: Final[Mapping[str, Callable[[str], tuple[Any, str]]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "azfs": _azfs,
}


def _remote(info: Mapping[str, Any]) -> Remote:
    tag = info.get("ETag") or info.get("etag") or info.get("generation") or ""
    settings: Any = info.get("content_settings") or {}
    md5: bytes = bytes(settings.get("content_md5") or b"")
    if text := info.get("md5Hash"):
        md5 = base64.b64decode(text)
    return Remote(int(info.get("size") or 0), str(tag), md5)


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
