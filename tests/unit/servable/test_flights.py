"""Laws of what is on its way through a graph."""

from __future__ import annotations

from ovms_mp.core.packet import Packet
from ovms_mp.servable.flights import (
    MAX_ID_CHARACTERS,
    MAX_REMEMBERED,
    Collected,
    Flights,
)


def test_a_timestamp_lands_when_every_output_is_settled_at_it():
    flights = Flights(2)
    flights.depart(5, "five", 1.0)
    assert len(flights) == 1
    assert not flights.settled(0, 5)
    assert flights.settled(1, 7)
    assert len(flights) == 0
    assert flights.at(5) == ("five", 1.0)  # for the answers that settled it
    flights.land()
    assert flights.at(5) == ("", None)


def test_what_a_resting_graph_has_not_sent_is_not_in_flight_but_keeps_its_id():
    flights = Flights(1)
    flights.depart(5, "five", 1.0)
    flights.rest()
    assert len(flights) == 0 and flights.at(5) == ("five", 1.0)


def test_parts_of_one_timestamp_count_once_and_the_last_id_is_told():
    flights = Flights(1)
    for name in ("first", "", "last"):
        flights.depart(3, name, float(len(name)))
    assert len(flights) == 1
    assert flights.at(3) == ("last", 5.0)


def test_a_graph_that_never_settles_costs_a_bounded_memory():
    flights = Flights(1)
    for timestamp in range(3 * MAX_REMEMBERED):
        flights.depart(timestamp, "x", 0.0)
    assert len(flights) == MAX_REMEMBERED
    for timestamp in range(5):
        flights.depart(10**6 + timestamp, "x" * (MAX_ID_CHARACTERS // 2), 0.0)
    assert flights.at(10**6 + 4)[0] and not flights.at(10**6)[0]


def test_a_bound_never_goes_back():
    flights = Flights(1)
    assert flights.settled(0, 9) and not flights.settled(0, 8)
    assert flights.through == 9


def test_packets_leave_by_timestamp_and_output_when_their_timestamp_is_complete():
    collected = Collected()
    for output, timestamp in ((1, 2), (0, 1), (1, 1), (0, 2), (0, 3)):
        collected.add(output, Packet(timestamp, None))
    assert [
        [(output, packet.timestamp) for output, packet in packets]
        for packets in collected.take(2)
    ] == [[(0, 1), (1, 1)], [(0, 2), (1, 2)]]
    assert len(list(collected.take())) == 1 and list(collected.take()) == []
