"""What is seen of a server, as the page is told it: plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.core.errors import public_text

if TYPE_CHECKING:
    from ovms_mp.drawing.layout import Placed
    from ovms_mp.servable.portrait import Drawn, Portrait
    from ovms_mp.servable.pulse import GraphPulse
    from ovms_mp.servable.status import ServableStatus

Told = dict[str, Any]


def servable(status: ServableStatus) -> Told:
    """A model or graph, what became of its versions, and why."""
    return {
        "name": status.name,
        "kind": status.kind,
        "reason": public_text(status.reason),
        "versions": [
            {
                "version": each.version,
                "state": each.state.name,
                "failed": each.error_code != "OK",
                "reason": public_text(each.reason),
            }
            for each in status.versions
        ],
    }


def picture(drawn: Drawn, portrait: Portrait) -> Told:
    """A graph, in pixels; `nodes` says which numbers of a pulse an item has."""
    # For who looks: what lays graphs out is a tenth of a server's start.
    from ovms_mp.drawing.svg import way_of

    inputs, outputs = portrait.pictures
    laid = drawn.picture
    return {
        "mark": portrait.mark,
        "width": laid.width,
        "height": laid.height,
        "pictures": {"inputs": inputs, "outputs": outputs},
        "items": [_item(each, drawn) for each in laid.items],
        "lines": [
            {
                "way": way_of(each.points),
                "is_back": each.link.is_back,
                "is_side": each.link.is_side,
            }
            for each in laid.lines
        ],
    }


def _item(placed: Placed, drawn: Drawn) -> Told:
    item = placed.item
    return {
        "key": item.key,
        "look": item.look.value,
        "lines": placed.lines,
        "title": item.title,
        "x": placed.x,
        "y": placed.y,
        "width": placed.width,
        "height": placed.height,
        "nodes": drawn.nodes.get(item.key, ()),
    }


def pulse(taken: GraphPulse) -> Told:
    """What a graph did since the last time."""
    return {
        **taken._asdict(),
        "nodes": [each._asdict() for each in taken.nodes],
    }
