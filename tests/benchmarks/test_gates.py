"""What the server may take of a machine, where that can be measured beside neighbours: by
what is allocated and what processors work, not by the clock.
"""

from __future__ import annotations

import pytest

from tests.bench import connections, idle_streams, start_up

ROUNDS = 3


@pytest.mark.timeout(300)
def test_an_idle_stream_takes_at_most_thirty_kibibytes() -> None:
    (row,) = idle_streams.rows()
    assert row["ratio"] <= float(row["gate"]), row


@pytest.mark.timeout(300)
def test_memory_is_back_after_many_connections() -> None:
    """Within 5 %: what a connection leaves behind is multiplied."""
    (row,) = connections.rows(2000)
    assert row["ratio"] <= float(row["gate"]), row


@pytest.mark.timeout(300)
def test_a_start_takes_at_most_twice_what_its_imports_take() -> None:
    """From the command to ready, beside `import openvino, grpc`: of processors, in the
    best of some rounds.
    """
    found = list(start_up.pairs(ROUNDS))
    ratios = [ready.used / imported.used for ready, imported in found]
    assert min(ratios) <= float(start_up.GATE), ratios
