"""Which versions of a model to serve: latest(n), all or specific, as OVMS has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

if TYPE_CHECKING:
    from collections.abc import Collection

    from ovms_mp.repository.document import Node


@dataclass(frozen=True, slots=True)
class Latest:
    """The `count` highest versions."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class All:
    """Every version."""


@dataclass(frozen=True, slots=True)
class Specific:
    """These versions, where they are there."""

    versions: frozenset[int]


VersionPolicy: TypeAlias = Latest | All | Specific

DEFAULT_POLICY: Final = Latest()


def select(
    policy: VersionPolicy, versions: Collection[int], failed: Collection[int] = ()
) -> tuple[int, ...]:
    """The versions to serve, ascending.

    A version in `failed` is not selected, so that Latest falls back on the next lower
    one and `count` versions are served where that many load (OVMS).
    """
    usable = sorted(set(versions) - set(failed))
    match policy:
        case Latest(count):
            return tuple(usable[-count:])
        case All():
            return tuple(usable)
        case Specific(wanted):
            return tuple(version for version in usable if version in wanted)
        case _:  # pragma: no cover
            assert_never(policy)


def parse_policy(node: Node) -> VersionPolicy:
    """A `model_version_policy`: an object with one of three keys.

    Raises ServingError (JSON_INVALID) naming the place that is wrong.
    """
    members = node.members(("latest", "all", "specific"))
    if len(members) != 1:
        node.refuse('expected one of the keys "latest", "all" and "specific"')
    (key, body) = members.popitem()
    match key:
        case "latest":
            count = body.members(("num_versions",)).get("num_versions")
            return Latest(1 if count is None else count.integer(1))
        case "all":
            body.members(())
            return All()
        case _:
            wanted = body.members(("versions",), ("versions",))["versions"]
            return Specific(frozenset(v.integer(1) for v in wanted.elements()))
