"""Executors that a pbtxt declares must be sound and have no effect: all graphs share the
server's threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

TYPES: Final = frozenset({"ThreadPoolExecutor", "ApplicationThreadExecutor"})
"""MediaPipe's; without a type an executor comes from the application."""

_RESERVED: Final = frozenset({"default", "gpu"})


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or name.startswith("__")


def problems(config: Any) -> Iterator[tuple[int, str]]:
    """What is wrong with a graph's executors: the number of each and the fault."""
    seen: set[str] = set()
    for number, executor in enumerate(config.executor):
        name = executor.name
        if _is_reserved(name):
            yield number, f'the executor name "{name}" is reserved'
        if name in seen:
            kind = f'the executor "{name}"' if name else "the default executor"
            yield number, f"{kind} is declared twice"
        seen.add(name)
        if not name and config.num_threads:
            yield number, "expected the default executor or num_threads, found both"
        if executor.type and executor.type not in TYPES:
            kinds = " or ".join(sorted(TYPES))
            problem = f'the executor type "{executor.type}" does not exist'
            yield number, f"{problem}: expected {kinds}"


def problem(name: str, declared: Collection[str]) -> str:
    """What is wrong with the executor of a node; empty if nothing is."""
    if not name or (name in declared and not _is_reserved(name)):
        return ""
    if _is_reserved(name):
        return f'the executor name "{name}" is reserved'
    return f'the executor "{name}" is not declared by the graph'
