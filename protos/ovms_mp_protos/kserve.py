"""KServe v2 with gRPC's health and reflection: message classes and the paths of RPCs.

The names are listed, with their types, in the stub beside this module.
"""

from __future__ import annotations

from ovms_mp_protos import groups

_GROUP = groups.load(groups.KSERVE)

pool = _GROUP.pool
message_class = _GROUP.message_class

globals().update(_GROUP.messages())
globals().update(_GROUP.methods())
