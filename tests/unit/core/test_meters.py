"""Names that a page of metrics can have, and no others."""

from __future__ import annotations

import pytest

from ovms_mp.calculator import metrics
from ovms_mp.core.meters import Meter


@pytest.mark.parametrize(
    "name", ["", "Words", "1st", "a-b", "a b", "a" * 65, "x_total", "x_sum", "é"]
)
def test_a_name_that_prometheus_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a metric"):
        Meter("counter", name, "")


@pytest.mark.parametrize(
    "labels", [("graph",), ("node",), ("le",), ("A",), ("a", "a"), tuple("abcde")]
)
def test_labels_that_cannot_be_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="label"):
        Meter("counter", "words", "", labels)


def test_buckets_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        Meter("histogram", "words", "", (), (2.0, 1.0))


def test_a_metric_is_declared_while_something_is_loaded() -> None:
    with pytest.raises(RuntimeError, match="while a handler is loaded"):
        metrics.Counter("words", "")


def test_what_a_worker_notes_is_replayed_as_it_was() -> None:
    notes, other = metrics.Notes(), metrics.Notes()
    with metrics.recording(notes):
        words = metrics.Counter("words", "Words.", labels=("language",))
        size = metrics.Gauge("size", "Size.")
        lengths = metrics.Histogram("lengths", "Lengths.", buckets=(1, 2))
    for amount in (1, 2):
        words.inc(amount, language="en")
        size.set(amount)
        lengths.observe(amount)
    taken = notes.take()
    assert taken is not None and notes.take() is None
    assert taken["recorded"] == [
        ("words", ("en",), 3),
        ("size", (), 2),
        ("lengths", (), 1),
        ("lengths", (), 2),
    ]
    metrics.replay(taken, other)
    assert other.take() == {
        "declared": [
            ("counter", "words", "Words.", ("language",), ()),
            ("gauge", "size", "Size.", (), ()),
            ("histogram", "lengths", "Lengths.", (), (1.0, 2.0)),
        ],
        "recorded": taken["recorded"],
    }


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"declared": [], "recorded": [["unknown", [], 1]]},
        {"declared": [["gauge", "A", "", [], []]], "recorded": []},
        {"declared": [["clock", "a", "", [], []]], "recorded": []},
        {"declared": [["gauge"]], "recorded": []},
        {"declared": [["gauge", "a", "", [], []]], "recorded": [["a", ["x"], 1]]},
        {"declared": [["gauge", "a", "", [], []]], "recorded": [["a", [], "nan"]]},
        {"declared": 5, "recorded": []},
    ],
)
def test_nonsense_is_no_note(notes: object) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        metrics.replay(notes, metrics.Notes())
