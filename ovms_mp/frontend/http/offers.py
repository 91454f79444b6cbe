"""A client that offers another protocol with its request (`Upgrade: h2c`, as Java's and
curl's do) is answered in this one, and what it has sent behind the head is read.

httptools takes all that follows an offer for the other protocol's, the body included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import httptools

if TYPE_CHECKING:
    from collections.abc import Sequence

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Hearer(Protocol):
    """A connection, which hears what is found in its requests."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Of the last head, names in lower case."""
        ...

    @property
    def is_offer_taken(self) -> bool:
        """True if the last head offers a protocol that the server has."""
        ...

    def on_message_begin(self) -> None:
        """httptools', as all that follow."""
        ...

    def on_url(self, url: bytes) -> None:
        """Some of it."""
        ...

    def on_header(self, name: bytes, value: bytes) -> None:
        """One more."""
        ...

    def on_headers_complete(self) -> None:
        """The head is over."""
        ...

    def on_body(self, body: bytes) -> None:
        """Some of it."""
        ...

    def on_message_complete(self) -> None:
        """So is the body, if one was awaited."""
        ...


class Parser:
    """httptools' parser of requests, but for offers that are not taken."""

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._parser = _parser(hearer)

    @property
    def leaves_body(self) -> bool:
        """True while a request counts as complete whose body is still to be read."""
        return (
            self._parser.should_upgrade()
            and not self._hearer.is_offer_taken
            and any(name in _FRAMING for name, _ in self._hearer.headers)
        )

    def feed_data(self, data: bytes) -> None:
        """Raises HttpParserError, and HttpParserUpgrade for an offer that is taken."""
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                if self._hearer.is_offer_taken:
                    raise
                data = data[offer.args[0] :]
                self._go_on()
            else:
                return

    def _go_on(self) -> None:
        """Behind the head that was read last, as if it had no offer."""
        framing = [each for each in self._hearer.headers if each[0] in _FRAMING]
        if not framing:
            self._parser = _parser(self._hearer)
            return
        self._parser = _parser(_Behind(self._hearer))
        lines = (b"%s: %s\r\n" % each for each in framing)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(lines))

    def get_http_version(self) -> str:
        """httptools', as all that follow."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """Of the last head."""
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        """By the last head."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """By the last head."""
        return self._parser.should_upgrade()


class _Behind:
    """Hears no head again."""

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._is_again = True
        self.on_body = hearer.on_body
        self.on_message_complete = hearer.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_again:
            self._hearer.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_again:
            self._hearer.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_again:
            self._hearer.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_again:
            self._hearer.on_headers_complete()
        self._is_again = False


def _parser(hearer: Hearer | _Behind) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(hearer)
    # As uvicorn's: what follows a request that closes the connection is no fault of it.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
