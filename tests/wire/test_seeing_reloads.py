"""Of a graph that was loaded anew is told what goes on in it as it is now, while streams
go on in it as it was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.wire import zoo
from tests.wire.calls import Stream, ask
from tests.wire.rest import Rest
from tests.wire.servers import serving
from tests.wire.test_seeing import looking, seen

VALUES = np.zeros(3, np.float32)


def chain(length: int) -> str:
    steps = [zoo.passing(f"s{number} s{number + 1}") for number in range(length)]
    return zoo.graph(["s0"], [f"s{length}"], *steps)


def test_streams_in_a_graph_as_it_was_are_no_part_of_what_it_does_now(
    tmp_path: Path,
) -> None:
    zoo.add_graph(tmp_path, "chain", chain(3))
    config = zoo.write_config(tmp_path, [], [{"name": "chain"}])
    request = ask("chain", {"s0": VALUES})
    with serving(config) as server, server.connect() as channel:
        rest = Rest(server.app.rest_port)
        with Stream(channel, request) as old, looking(rest, "chain") as events:
            old.answer()
            first = seen(events, lambda each: each["graph"])
            assert len(first["graph"]["nodes"]) == 3
            assert first["mark"] == rest.get("/v1/graphs/chain").json["mark"]

            (tmp_path / "chain" / "graph.pbtxt").write_text(chain(1))
            server.app.reload()
            anew = seen(events, lambda each: each["mark"] != first["mark"])
            assert anew["graph"] is None  # nobody has used it yet
            assert anew["mark"] == rest.get("/v1/graphs/chain").json["mark"]

            with Stream(channel, request) as new:
                new.answer()
                for number in range(1, 5):
                    old.send(ask("chain", {"s0": VALUES}, at=number))
                    old.answer()
                told = seen(events, lambda each: each["graph"])["graph"]
                assert len(told["nodes"]) == 1
                new.send(ask("chain", {"s0": VALUES}, at=1))
                new.answer()
                told = seen(events, lambda each: each["graph"]["requests"])["graph"]
                assert told["streams"].keys() == {"s0", "s1"}
