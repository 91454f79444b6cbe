"""The language of graph.pbtxt and the options of calculators: message classes.

The names are listed, with their types, in the stub beside this module. To parse text,
give `pool` to `text_format.Parse(…, descriptor_pool=…)`, for the options it finds.
"""

from __future__ import annotations

from ovms_mp_protos import groups

_GROUP = groups.load(groups.GRAPH)

pool = _GROUP.pool
message_class = _GROUP.message_class

globals().update(_GROUP.messages())
