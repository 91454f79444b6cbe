"""Laws of the SVG file: any XML reader takes it, and it says all that the items say."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.drawing.items import Drawing, Item, Link, Look
from ovms_mp.drawing.layout import lay_out
from ovms_mp.drawing.svg import write

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*items: Item, links: tuple[Link, ...] = ()) -> ET.Element:
    text = write(lay_out(Drawing(items, links)), "a graph")
    return ET.fromstring(text)


@given(st.text())
def test_any_name_is_a_text(name: str) -> None:
    root = drawn(Item("n" + name, Look.NODE, ("n" + name,), "t" + name))
    assert len(root.findall(f"{SVG}g/{SVG}text")) == 1
    assert len(root.findall(f"{SVG}g/{SVG}title")) == 1


def test_names_and_what_a_pointer_is_told_are_as_given() -> None:
    root = drawn(Item("key", Look.NODE, ("<Scale> & co", "more"), 'all "of" it\n]]>'))
    (group,) = root.findall(f"{SVG}g")
    assert group.get("class") == "node"
    assert group.get("data-key") == "key"
    assert [each.text for each in group.findall(f"{SVG}text")] == [
        "<Scale> & co",
        "more",
    ]
    assert group.findtext(f"{SVG}title") == 'all "of" it\n]]>'


def test_groups_lie_behind_lines_and_lines_behind_boxes() -> None:
    root = drawn(
        Item("n", Look.NODE, ("n",), inside="g"),
        Item("g", Look.GROUP, ("g",)),
        Item("s", Look.STREAM, ("s",)),
        links=(Link("n", "s", title="s"),),
    )
    kinds = [each.get("class", each.tag.removeprefix(SVG)) for each in root]
    assert kinds[-4:] == ["group", "path", "node", "stream"]


def test_a_reader_may_choose_dark_or_light_and_is_told_what_it_is() -> None:
    root = drawn()
    assert "@media (prefers-color-scheme:dark)" in (root.findtext(f"{SVG}style") or "")
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == "a graph"
