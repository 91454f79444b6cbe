"""The keys of gRPC calls: in their metadata, judged before anything of what they
bring is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.frontend.access import Access, Denied, Realm
from ovms_mp.frontend.grpc.recording import failed
from ovms_mp.frontend.transport.seam import Abort, Call, Code, Handler

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
        for path, handler in routes.items()
    }


def _closed(handler: Handler, access: Access, realm: Realm) -> Handler:
    if not access.is_asked_for(realm):
        return handler
    return replace(handler, admission=partial(_judge, access, realm))


def _judge(access: Access, realm: Realm, call: Call) -> None:
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
