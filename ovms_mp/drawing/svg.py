"""A picture as an SVG file: it needs nothing but itself, follows the reader's choice of
dark or light, and its names are texts that can be searched and selected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from ovms_mp.drawing.items import Look
from ovms_mp.drawing.layout import HEADING, LINE, PADDING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovms_mp.drawing.layers import Point
    from ovms_mp.drawing.layout import Line, Picture, Placed

STYLE: Final = """\
svg{--paper:#fff;--ink:#1c2330;--dim:#5b6676;--line:#8592a6;--node:#eef3fb;--rim:#9db4d6;
--group:#6b7f9f14;--edge:#b4bfce;--in:#dff3e4;--inrim:#5aa56e;--out:#fdeed6;--outrim:#cc8f2f;
--side:#efe6fb;--siderim:#9a7bc8;--back:#c2473d}
@media (prefers-color-scheme:dark){svg{--paper:#12161d;--ink:#e6ebf3;--dim:#a3aebf;
--line:#77859b;--node:#1f2a3b;--rim:#4d6a95;--group:#9fb4d60f;--edge:#3c485a;--in:#17331f;
--inrim:#4f9f66;--out:#3a2b12;--outrim:#c08a35;--side:#2b2140;--siderim:#8f73bd;--back:#ee7b70}}
.paper{fill:var(--paper)}
text{font:11px system-ui,"DejaVu Sans",sans-serif;fill:var(--dim);text-anchor:middle}
text.name{font-size:12px;font-weight:600;fill:var(--ink)}
rect{stroke-width:1}
.node rect,.folded rect{fill:var(--node);stroke:var(--rim)}
.folded rect{stroke-width:3}
.group rect{fill:var(--group);stroke:var(--edge)}
.group text{text-anchor:start}
.stream rect{fill:var(--paper);stroke:var(--edge)}
.input rect{fill:var(--in);stroke:var(--inrim)}
.output rect{fill:var(--out);stroke:var(--outrim)}
.side rect{fill:var(--side);stroke:var(--siderim)}
.stream text,.side text,.input text,.output text{font-weight:400;font-size:11px;fill:var(--ink)}
path{fill:none;stroke:var(--line);stroke-width:1.2}
path.side{stroke:var(--siderim);stroke-dasharray:4 3}
path.back{stroke:var(--back);stroke-dasharray:6 3}
marker path{fill:var(--line);stroke:none}"""

_HEAD: Final = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
)


def write(picture: Picture, name: str) -> str:
    """The whole file; `name` is what readers that cannot see it are told."""
    size = f"{picture.width:.0f} {picture.height:.0f}"
    width, height = size.split()
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" '
            f'width="{width}" height="{height}" role="img" '
            f"aria-label={quoteattr(_clean(name))}>",
            f"<title>{_text(name)}</title>",
            f"<style>{STYLE}</style>",
            f"<defs>{_HEAD}</defs>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *(_item(each) for each in picture.items if each.item.look is Look.GROUP),
            *(_line(each) for each in picture.lines),
            *(
                _item(each)
                for each in picture.items
                if each.item.look is not Look.GROUP
            ),
            "</svg>",
            "",
        )
    )


def _item(placed: Placed) -> str:
    look = placed.item.look
    radius = placed.height / 2 if look.is_pill else 6
    return "".join(
        (
            f'<g class="{look.value}" data-key={quoteattr(_clean(placed.item.key))}>',
            f"<title>{_text(placed.item.title)}</title>" if placed.item.title else "",
            f'<rect x="{placed.x:.1f}" y="{placed.y:.1f}" width="{placed.width:.1f}" '
            f'height="{placed.height:.1f}" rx="{radius:.0f}"/>',
            *_texts(placed),
            "</g>",
        )
    )


def _texts(placed: Placed) -> Iterator[str]:
    is_group = placed.item.look is Look.GROUP
    x = placed.x + (PADDING if is_group else placed.width / 2)
    top = placed.y + (placed.height - LINE * len(placed.lines)) / 2
    if is_group:
        top = placed.y + (HEADING - LINE) / 2
    for number, line in enumerate(placed.lines[:1] if is_group else placed.lines):
        name = "" if number else ' class="name"'
        y = top + LINE * number + LINE - 4
        yield f'<text x="{x:.1f}" y="{y:.1f}"{name}>{_text(line)}</text>'


def _line(line: Line) -> str:
    kinds = [
        *(("side",) if line.link.is_side else ()),
        *(("back",) if line.link.is_back else ()),
    ]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    title = f"<title>{_text(line.link.title)}</title>" if line.link.title else ""
    way = way_of(line.points)
    return f'<path d="{way}"{kind} marker-end="url(#arrow)">{title}</path>'


def way_of(points: Sequence[Point]) -> str:
    """The points of a Line as lines and bends, without what has no length: the `d` of a
    path.
    """
    x, y = points[0]
    steps = [f"M{x:.1f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(points[1:]):
        if (to_x, to_y) == (x, y):
            continue
        if number % 2 == 0 or abs(to_x - x) < 0.05:
            steps.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            half = (y + to_y) / 2
            steps.append(
                f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"
            )
        x, y = to_x, to_y
    return "".join(steps)


def _text(text: str) -> str:
    return escape(_clean(text))


def _clean(text: str) -> str:
    """Without what XML cannot say."""
    return "".join(
        each
        for each in text
        if each in "\n\t"
        or (
            each >= " "
            and not "\ud800" <= each <= "\udfff"
            and each not in "\ufffe\uffff"
        )
    )
