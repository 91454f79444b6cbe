"""A page that shows what is not so is found out."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of, tables_of
from tests.docs.outcome import matches
from tests.docs.page import Page, Untrue

GRAPH = """
    ```pbtxt
    input_stream: "in"
    output_stream: "out"
    node {{ calculator: "{calculator}" input_stream: "in" output_stream: "out" }}
    ```
"""


def check(markdown: str, folder: Path, root: Path) -> None:
    Page("page.md", textwrap.dedent(markdown), folder, root).check()


TRUE = {
    "printed": """
        ```python
        x = 2
        ```
        ```python
        print(x + 1)
        ```
        ```text
        3
        ```
    """,
    "raised": """
        ```python
        print("first")
        int("x")
        ```
        ```text
        first
        ValueError: ... 'x'
        ```
    """,
    "a test": """
        ```python
        def test_two():
            assert 1 + 1 == 2
        ```
    """,
    "a command": """
        ```console
        $ echo one; exit 3
        one
        $ echo \\
            two
        two
        ```
    """,
    "a file, used before it is shown": """
        ```console
        $ cat notes/a.txt
        a
        ```
        <!-- file: notes/a.txt -->
        ```
        a
        ```
    """,
    "a graph": GRAPH.format(calculator="PassThroughCalculator"),
    "a refused config": """
        ```json
        {"model_config_list": 1}
        ```
        ```text
        The file is not valid json - /srv/config.json: model_config_list: expected an array, got 1
        ```
    """,
    "skipped": """
        <!-- skip: there is no such thing -->
        ```console
        $ false
        ```
    """,
}

UNTRUE = {
    "another number": """
        ```python
        print(2)
        ```
        ```text
        3
        ```
    """,
    "an error that is not shown": """
        ```python
        int("x")
        ```
    """,
    "a test that fails": """
        ```python
        def test_two():
            assert 1 + 1 == 3
        ```
    """,
    "a command that fails": """
        ```console
        $ false
        ```
    """,
    "a command that prints something else": """
        ```console
        $ echo one
        two
        ```
    """,
    "a graph that is not taken": GRAPH.format(calculator="NoCalculator"),
    "a config with unknown keys": """
        ```json
        {"model_config_list": [], "models": []}
        ```
    """,
    "a graph that is taken but said not to be": (
        GRAPH.format(calculator="PassThroughCalculator")
        + """
    ```text
    Failed
    ```
    """
    ),
    "a language that nobody checks": """
        ```cobol
        DISPLAY 'HELLO'.
        ```
    """,
    "a comment that nobody knows": """
        <!-- into: a.txt -->
        ```python
        ```
    """,
    "text of nothing": """
        ```text
        hello
        ```
    """,
}


@pytest.mark.parametrize("markdown", TRUE.values(), ids=TRUE)
def test_what_is_so_may_be_shown(markdown: str, tmp_path: Path, root: Path) -> None:
    check(markdown, tmp_path, root)


@pytest.mark.parametrize("markdown", UNTRUE.values(), ids=UNTRUE)
def test_what_is_not_so_is_found_out(markdown: str, tmp_path: Path, root: Path) -> None:
    with pytest.raises(Untrue, match=r"^page\.md:\d+: "):
        check(markdown, tmp_path, root)


def test_a_fence_that_does_not_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(blocks_of("text\n```python\nprint()\n"))


def test_a_table_has_the_name_above_it() -> None:
    page = "| a |\n| - |\n| 0 |\n\n<!-- table: n -->\n| a | b |\n| - | - |\n| `1` | x \\| y |\n"
    (table,) = tables_of(page)
    assert table.name == "n" and table.rows == (("`1`", "x | y"),)
    assert table.column(0) == ("1",)


def test_times_and_incidents_in_a_log_match_any_other() -> None:
    shown = "[2026-01-02 03:04:05.678][serving][error] incident 0123456789ab"
    assert matches(shown, shown.replace("03:04", "21:00").replace("ab", "cd"))
    assert not matches(shown, shown.replace("error", "info"))
