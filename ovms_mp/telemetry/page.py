"""The page that Prometheus reads, as values: of one process, or of several as one.

It is written here, and not by prometheus_client, because OVMS's counters have no
`_total` and a label without a value is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

GAUGE: Final = "gauge"


class Sample(NamedTuple):
    """What a number belongs to; labels are in the order of the page."""

    name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A family's numbers; `kind` is Prometheus's word for its type."""

    name: str
    kind: str
    help: str
    samples: Mapping[Sample, float]


Page: TypeAlias = tuple[Section, ...]
"""Sections in their order; none is empty (as in OVMS)."""


def render(page: Page) -> bytes:
    """The page in Prometheus's text format 0.0.4 (CONTENT_TYPE). Whatever it holds, it
    can be read: characters that UTF-8 has not are shown as `?`.
    """
    text = "".join(line for section in page for line in _lines(section))
    return text.encode(errors="replace")


def merged(pages: Iterable[Page], flags: Collection[str] = ()) -> Page:
    """What several processes did, and are doing, together: the sums, also of gauges,
    which count things as well. But a family in `flags` says whether something is so: of
    it the largest value counts.
    """
    sums: dict[str, dict[Sample, float]] = {}
    first: dict[str, Section] = {}
    for section in (each for page in pages for each in page):
        first.setdefault(section.name, section)
        samples = sums.setdefault(section.name, {})
        for sample, value in section.samples.items():
            before = samples.get(sample, 0.0)
            is_flag = section.name in flags
            samples[sample] = max(before, value) if is_flag else before + value
    return tuple(
        Section(name, first[name].kind, first[name].help, samples)
        for name, samples in sums.items()
    )


def history(page: Page) -> Page:
    """What remains true of a process that has ended: not its gauges."""
    return tuple(section for section in page if section.kind != GAUGE)


def to_json(page: Page) -> list[Any]:
    """The page as lists, strings and numbers."""
    return [
        [
            *(section.name, section.kind, section.help),
            [[*sample, value] for sample, value in section.samples.items()],
        ]
        for section in page
    ]


def from_json(lists: Any) -> Page:
    """The opposite of `to_json`. Raises ValueError for what is no page."""
    try:
        return tuple(
            Section(str(name), str(kind), str(text), dict(map(_sample, samples)))
            for name, kind, text, samples in lists
        )
    except (TypeError, ValueError) as error:
        raise ValueError("not a page of metrics") from error


def _sample(lists: Any) -> tuple[Sample, float]:
    name, labels, value = lists
    pairs = tuple((str(label), str(text)) for label, text in labels)
    return Sample(str(name), pairs), float(value)


def _lines(section: Section) -> Iterator[str]:
    yield f"# HELP {section.name} {_one_line(section.help)}\n"
    yield f"# TYPE {section.name} {section.kind}\n"
    for sample, value in section.samples.items():
        labels = ",".join(
            f'{name}="{_number(float(text)) if name == "le" else _escape(text)}"'
            for name, text in sample.labels
            if text
        )
        shown = f"{{{labels}}}" if labels else ""
        yield f"{sample.name}{shown} {_number(value)}\n"


def _escape(value: str) -> str:
    return _one_line(value).replace('"', r"\"")


def _one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value.is_integer() else repr(value)
