"""The log's lines."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.telemetry.logging import (
    FORMATS,
    LEVELS,
    MAX_TEXT,
    TRACE,
    JsonFormatter,
    OvmsFormatter,
    escape,
    logging_to,
)

LINE = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[([\w-]+)\]\[([a-z]+)\] (.*)"
)


def parts(line: str) -> tuple[str, ...]:
    match = LINE.fullmatch(line)
    assert match is not None, line
    return match.groups()


def test_a_line_has_date_logger_level_and_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logging_to("INFO"):
        logging.getLogger("ovms_mp.servable.loading").info("model %s", "m")
        logging.getLogger("acme.plugin").warning("hm")
    lines = capsys.readouterr().out.splitlines()
    assert [parts(line) for line in lines] == [
        ("serving", "info", "model m"),
        ("acme", "warning", "hm"),
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_lets_through_itself_and_what_is_graver(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(level):
        for number in (*LEVELS.values(), logging.CRITICAL):
            logging.getLogger("ovms_mp").log(number, "text")
    shown = [parts(line)[1] for line in capsys.readouterr().out.splitlines()]
    names = ["trace", "debug", "info", "warning", "error", "critical"]
    assert shown == names[names.index(level.lower()) :]


@given(st.text())
def test_no_text_makes_a_second_line_or_drives_a_terminal(text: str) -> None:
    record = logging.LogRecord("ovms_mp", logging.INFO, "", 0, "%s", (text,), None)
    line = OvmsFormatter().format(record)
    assert line.splitlines() == [line]
    assert line.isprintable() or not any(
        ord(c) < 32 or 127 <= ord(c) < 160 for c in line
    )
    line.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u2028", r"\u2028"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
        ("naïve 名前 😀", "naïve 名前 😀"),
    ],
)
def test_an_unsafe_character_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_an_exception_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "[2026-11-22 21:14:55.123][serving][info] all is well"
    with logging_to("INFO"):
        try:
            raise ValueError(f"x\n{forged}\x1b")
        except ValueError:
            logging.getLogger("ovms_mp").exception("it failed")
    first, *rest = capsys.readouterr().out.splitlines()
    assert parts(first) == ("serving", "error", "it failed")
    assert rest[-1] == f"    {forged}\\x1b"
    assert all(line.startswith("    ") for line in rest)


def test_a_file_gets_what_the_terminal_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.log"
    for text in ("one", "two"):
        with logging_to("INFO", file):
            logging.getLogger("ovms_mp").info(text)
    content = file.read_text()
    assert [parts(line)[2] for line in content.splitlines()] == ["one", "two"]
    assert capsys.readouterr().out == content


def test_a_file_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    with pytest.raises(OSError, match="none"), logging_to("INFO", tmp_path / "none/x"):
        pass
    assert logging.getLogger().handlers == before


def test_afterwards_logging_is_as_it_was() -> None:
    names = ("", "uvicorn", "grpc", "asyncio", "watchdog")
    loggers = [logging.getLogger(name) for name in names]
    before = [(list(each.handlers), each.level) for each in loggers]
    with logging_to("DEBUG"):
        assert logging.getLogger().level == logging.DEBUG
    assert [(list(each.handlers), each.level) for each in loggers] == before


def test_libraries_speak_up_only_when_it_matters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logging_to("TRACE"):
        for name in ("uvicorn.error", "grpc._cython", "asyncio", "watchdog.observers"):
            logging.getLogger(name).info("chatter")
            logging.getLogger(name).error("news")
        logging.getLogger("ovms_mp").log(TRACE, "ours")
    shown = [parts(line)[2] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["news", "news", "news", "news", "ours"]


def test_warnings_of_python_go_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to("INFO"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", UserWarning, stacklevel=1)
    (line,) = capsys.readouterr().out.splitlines()
    name, level, text = parts(line)
    assert (name, level) == ("py", "warning")
    assert "UserWarning: old ways" in text


@pytest.mark.parametrize("form", [OvmsFormatter(), JsonFormatter()], ids=FORMATS)
def test_a_text_without_end_has_one(form: logging.Formatter) -> None:
    """What an exception says may be all that a client has sent."""
    try:
        raise ValueError("x\n" * 1_000_000)
    except ValueError as error:
        trace = (ValueError, error, error.__traceback__)
    text = "y" * 1_000_000
    record = logging.LogRecord("a", logging.ERROR, "", 1, text, None, trace)
    shown = form.format(record)
    assert MAX_TEXT <= shown.count("y") < MAX_TEXT + 100
    assert MAX_TEXT // 3 < shown.count("x") < MAX_TEXT
