"""A trace is read by Perfetto as it is meant."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from ovms_mp.telemetry.trace import Recording, chunks
from tests.browser import perfetto
from tests.browser.conftest import Site
from tests.browser.test_page import frame
from tests.wire.calls import Stream

pytestmark = pytest.mark.timeout(240)

FRAMES = 12
# Each slice of a trace with the frame that it belongs to.
SLICES = """
  select slice.id, slice.ts, slice.dur, slice.name, slice.category, thread.name as track,
         extract_arg(slice.arg_set_id, 'args.timestamp') as frame
  from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
"""


def recorded(site: Site) -> bytes:
    """A trace of frames of one stream, of which several are on their way at a time."""
    recording = Recording()
    with (
        site.server.app.observing.watching.by(recording),
        site.server.connect() as channel,
        Stream(channel) as stream,
    ):
        for number in range(FRAMES):
            stream.send(frame(site, number))  # pyright: ignore[reportArgumentType]
        for _ in range(2 * FRAMES):
            stream.answer()
        stream.half_close()
        stream.end()
    return b"".join(chunks(recording.events()))


def test_perfetto_leads_each_frame_from_node_to_node(
    context: BrowserContext, site: Site
) -> None:
    page = context.new_page()
    with perfetto.opened(page, recorded(site)):
        wrong = "severity in ('error', 'data_loss') and value > 0"
        assert (
            perfetto.query(page, f"select name, value from stats where {wrong}") == []
        )
        (process,) = perfetto.query(page, "select name from process where name != ''")
        assert process[0].startswith(f"{site.graph} stream ")
        tracks = {name for (name,) in perfetto.query(page, "select name from thread")}
        assert {"client", "client queue", "OpenVINOInferenceCalculator"} <= tracks
        frames = perfetto.query(page, f"select distinct frame from ({SLICES})")
        assert sorted(number for (number,) in frames) == [*range(FRAMES)]
        # An arrow leads to each step of a frame but its first, from a step of the same.
        arrows = perfetto.query(
            page,
            f"""
            select one.frame, other.frame, one.ts <= other.ts from flow
            join ({SLICES}) one on one.id = flow.slice_out
            join ({SLICES}) other on other.id = flow.slice_in
            """,
        )
        assert all(left == right and in_order for left, right, in_order in arrows)
        steps = f"select count(*) from ({SLICES}) where category = 'calls'"
        ((count,),) = perfetto.query(page, steps)
        assert len(arrows) == count - FRAMES
        # Frames are in the model's hands at the same time.
        (together,) = perfetto.query(
            page,
            f"""
            with flight as (select * from ({SLICES}) where name = 'waits'
                            and track like 'OpenVINOInferenceCalculator in flight%')
            select count(*) from flight one join flight other
            on one.frame < other.frame and other.ts < one.ts + one.dur
            """,
        )
        assert together[0] > 0
        within = perfetto.query(
            page, f"select count(*) from ({SLICES}) where category = 'inference'"
        )
        assert within[0][0] >= FRAMES
