"""What several processes see is one picture: streams of all, rates added up, errors in
the order of time. What is not the same in all of them is said to be so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms_mp.telemetry.recent import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Seen = dict[str, Any]


class Others(Protocol):
    """The processes beside this one. Methods block, for a second at most but as it is
    said, and do not raise.
    """

    def seen(self, viewer: str, graph: str) -> Mapping[int, Seen | None]:
        """What each of them sees, by its number; None of one that does not answer."""
        ...

    def traced(self, seconds: float) -> Mapping[int, Sequence[bytes] | None] | None:
        """Events of what each of them does for so long; None of one that does not
        answer, and instead of all if they are asked by somebody else already.
        """
        ...


class Alone:
    """There are no others."""

    def seen(self, viewer: str, graph: str) -> Mapping[int, Seen | None]:
        """See Others."""
        return {}

    def traced(self, seconds: float) -> Mapping[int, Sequence[bytes] | None]:
        """See Others."""
        return {}


ALONE: Final = Alone()


def together(number: int, own: Seen, others: Mapping[int, Seen | None]) -> Seen:
    """As one. `workers` says how many of them are told of, and `silent` which are not."""
    told = {number: own, **{n: each for n, each in others.items() if each is not None}}
    seen = [told[each] for each in sorted(told)]
    merged: Seen = {
        "servables": _servables(told),
        "open": sum(each["open"] for each in seen),
        "streams": [stream for each in seen for stream in each["streams"]],
        "errors": sorted(
            (error for each in seen for error in each["errors"]),
            key=lambda each: -each["time"],
        )[:KEPT],
        "workers": len(told),
        "silent": [n for n, each in sorted(others.items()) if each is None],
    }
    if "graph" in own:
        merged["graph"] = _graph([each.get("graph") for each in seen])
    if "mark" in own:
        merged["mark"] = own["mark"]
    return merged


def _servables(told: Mapping[int, Seen]) -> list[Seen]:
    """Each name once, and what is so where it is not the same everywhere."""
    found: dict[str, dict[int, Seen]] = {}
    for number, seen in told.items():
        for servable in seen["servables"]:
            found.setdefault(servable["name"], {})[number] = servable
    return [_servable(each, sorted(told)) for each in found.values()]


def _servable(found: Mapping[int, Seen], numbers: Sequence[int]) -> Seen:
    first = next(iter(found.values()))
    if all(found.get(number) == first for number in numbers):
        return first
    said = [f"worker {n}: {_state(found.get(n))}" for n in numbers]
    reason = "; ".join([*filter(None, [first["reason"]]), *said])
    return {**first, "reason": reason}


def _state(servable: Seen | None) -> str:
    if servable is None:
        return "not known"
    states = [
        f"{each['version']} {each['state'].lower()}" for each in servable["versions"]
    ]
    return ", ".join(states) or "no version"


def _graph(pulses: Sequence[Seen | None]) -> Seen | None:
    found = [each for each in pulses if each is not None]
    if not found:
        return None
    nodes = zip(*(each["nodes"] for each in found), strict=False)
    return {
        "nodes": [_node(each) for each in nodes],
        "streams": _sums(each["streams"] for each in found),
        "waiting": _sums(each["waiting"] for each in found),
        "requests": sum(each["requests"] for each in found),
        "answers": sum(each["answers"] for each in found),
        "latency": _mean(
            [each for each in found if each["latency"] is not None],
            "latency",
            lambda each: each["answers"],
        ),
    }


def _node(nodes: Sequence[Seen]) -> Seen:
    return {
        "rate": sum(map(_rate, nodes)),
        "busy": _mean(nodes, "busy", _rate) or 0.0,
        "latency": _mean(nodes, "latency", _rate) or 0.0,
        "waiting": sum(each["waiting"] for each in nodes),
    }


def _rate(node: Seen) -> float:
    return node["rate"]


def _mean(
    found: Sequence[Seen], name: str, weight: Callable[[Seen], float]
) -> float | None:
    weights = sum(weight(each) for each in found)
    if not weights:
        return None
    return sum(weight(each) * each[name] for each in found) / weights


def _sums(counts: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for each in counts:
        for name, count in each.items():
            sums[name] = sums.get(name, 0) + count
    return sums
