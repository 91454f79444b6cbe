"""The keys of gRPC calls: in their metadata, judged before anything is made of what they
bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.access import Access, Denied, Realm
from ovms_mp.frontend.grpc.recording import failed
from ovms_mp.frontend.transport.seam import (
    Abort,
    Call,
    Code,
    Handler,
    Session,
    SessionFactory,
    StreamCall,
    Unary,
    UnaryHandler,
    stream,
    unary,
)

REALMS: Final[Mapping[str, Realm]] = dict.fromkeys(
    (
        kserve.SERVER_LIVE,
        kserve.SERVER_READY,
        kserve.MODEL_READY,
        kserve.HEALTH_CHECK,
        kserve.HEALTH_WATCH,
    ),
    Realm.OPEN,
)
"""Methods that are not INFERENCE."""

_HEADER: Final = "authorization"


def realm_of(path: str) -> Realm:
    """Of a method."""
    return REALMS.get(path, Realm.INFERENCE)


def closed(routes: Mapping[str, Handler], access: Access) -> Mapping[str, Handler]:
    """These routes for those whom `access` lets pass: others are UNAUTHENTICATED, or
    PERMISSION_DENIED if they have shown a key. Costs nothing where nobody is asked.
    """
    return {
        path: _closed(handler, access, realm_of(path))
        if access.is_asked_for(realm_of(path))
        else handler
        for path, handler in routes.items()
    }


def _closed(handler: Handler, access: Access, realm: Realm) -> Handler:
    if isinstance(handler, Unary):
        return unary(
            _closed_call(handler.handler, access, realm),
            is_reserved=handler.is_reserved,
        )
    factory = handler.factory
    return stream(lambda: _ClosedSession(factory, access, realm))


def _closed_call(handler: UnaryHandler, access: Access, realm: Realm) -> UnaryHandler:
    def answer(message: bytes, call: Call) -> bytes | Pending[bytes]:
        _judge(call, access, realm)
        return handler(message, call)

    return answer


class _ClosedSession(Session):
    """A session that there is only once its call was let pass."""

    def __init__(self, factory: SessionFactory, access: Access, realm: Realm) -> None:
        self._factory = factory
        self._access = access
        self._realm = realm
        self._session: Session | None = None

    def on_open(self, call: StreamCall) -> None:
        _judge(call, self._access, self._realm)
        self._session = self._factory()
        self._session.on_open(call)

    def on_message(self, message: bytes) -> None:
        if self._session is not None:
            self._session.on_message(message)

    def on_half_close(self) -> None:
        if self._session is not None:
            self._session.on_half_close()

    def on_cancel(self) -> None:
        if self._session is not None:
            self._session.on_cancel()


def _judge(call: Call, access: Access, realm: Realm) -> None:
    shown = [
        value if isinstance(value, str) else ""
        for name, value in call.invocation_metadata
        if name == _HEADER
    ]
    try:
        access.check(realm, shown)
    except Denied as error:
        code = Code.PERMISSION_DENIED if error.is_known else Code.UNAUTHENTICATED
        refused = Abort(code, str(error))
        failed(call, "", refused)
        raise refused from None
