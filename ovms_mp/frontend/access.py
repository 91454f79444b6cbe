"""Who may ask what: keys that clients show, and the three realms that want them.

What is in no other realm is INFERENCE, so that a route that is added is closed until
somebody says otherwise. Without keys everybody may ask everything, as in OVMS.
"""

from __future__ import annotations

import enum
import hmac
import logging
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks whether a file of keys has changed."""

MAX_FILE_BYTES: Final = 1 << 20
"""What a file of keys may have: a wrong path may lead to anything."""

_SCHEME: Final = "bearer"


class Realm(enum.Enum):
    """What a method or route wants to see."""

    OPEN = enum.auto()
    """Nothing: probes have no keys."""
    INFERENCE = enum.auto()
    """A key of any kind, where there are keys for it."""
    ADMIN = enum.auto()
    """A key of administrators, where there are such; else as INFERENCE."""


class Denied(Exception):
    """The client may not; the text is for it. `is_known`: its key is good for less."""

    def __init__(self, text: str, *, is_known: bool) -> None:
        super().__init__(text)
        self.is_known = is_known


class KeysError(OSError):
    """There are no keys where the operator says they are."""


class Keys:
    """Keys, as digests. Thread-safe."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = _digests(keys)

    def know(self, key: str) -> bool:
        """Whether it is one of them; takes as long for any answer."""
        digest = sha256(key.encode(errors="surrogateescape")).digest()
        # A sum, which asks all of them.
        return sum(hmac.compare_digest(digest, each) for each in self._digests) > 0


class KeyFile(Keys):
    """One key a line, so that an old and a new one are good at the same time. Read anew
    when it has changed; what cannot be read leaves the keys as they were.

    Raises KeysError if there is none at the start.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(_read(path))
        self._path = path
        self._seen = _state(path)
        self._looks_at = time.monotonic() + LOOK_SECONDS
        self._lock = threading.Lock()

    def know(self, key: str) -> bool:
        """See Keys."""
        if time.monotonic() >= self._looks_at:
            self._look()
        return super().know(key)

    def _look(self) -> None:
        with self._lock:
            self._looks_at = time.monotonic() + LOOK_SECONDS
            state = _state(self._path)
            if state == self._seen:
                return
            self._seen = state
            try:
                self._digests = _digests(_read(self._path))
            except KeysError as error:
                log.error("%s; the keys stay as they were", error)
            else:
                log.info("the keys have changed")


NO_KEYS: Final = None


class Access:
    """Judges by the keys for inference and those of administrators, each if there are
    any. Thread-safe.
    """

    def __init__(
        self, keys: Keys | None = NO_KEYS, admin_keys: Keys | None = NO_KEYS
    ) -> None:
        self._keys = keys
        self._admin_keys = admin_keys

    def is_asked_for(self, realm: Realm) -> bool:
        """Whether who comes to the realm has to show anything."""
        match realm:
            case Realm.OPEN:
                return False
            case Realm.INFERENCE:
                return self._keys is not None
            case Realm.ADMIN:
                return bool(self._keys or self._admin_keys)

    def check(self, realm: Realm, authorizations: Sequence[str]) -> None:
        """Let pass who may come to the realm with these headers. Raises Denied."""
        if not self.is_asked_for(realm):
            return
        key = _key_in(authorizations)
        is_admin = self._admin_keys is not None and self._admin_keys.know(key)
        is_client = self._keys is not None and self._keys.know(key)
        wants_admin = realm is Realm.ADMIN and self._admin_keys is not None
        if is_admin or (is_client and not wants_admin):
            return
        if is_client:
            raise Denied("the key of an administrator is needed", is_known=True)
        raise Denied("the API key is wrong", is_known=False)


def _key_in(authorizations: Sequence[str]) -> str:
    if len(authorizations) == 1:
        scheme, _, key = authorizations[0].partition(" ")
        if scheme.lower() == _SCHEME and key.strip():
            return key.strip()
    raise Denied("an API key is needed: authorization: Bearer KEY", is_known=False)


def _digests(keys: Sequence[str]) -> Sequence[bytes]:
    return [sha256(key.encode()).digest() for key in keys]


_State: TypeAlias = tuple[int, int, int] | None


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysError(f"{path}: keys cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines()]
    try:
        keys = [line.decode("ascii") for line in lines if line]
    except UnicodeDecodeError:
        keys = []
    is_right = keys and len(text) <= MAX_FILE_BYTES
    if not (is_right and all(key.isprintable() and " " not in key for key in keys)):
        raise KeysError(f"{path}: expected a key a line, of printable ASCII")
    return keys
