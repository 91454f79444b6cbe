"""Values of formats, any that MediaPipe's messages can hold."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovms_mp.formats import render_data
from ovms_mp.formats.detection import NO_KEYPOINTS, Box, Detection, LocationFormat
from ovms_mp.formats.landmark import LandmarkList, Landmarks, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp.formats.render_data import Color, RenderAnnotation, RenderData

reals = st.floats(-1e6, 1e6, width=32)
ints32 = st.integers(-(2**31), 2**31 - 1)
ints64 = st.integers(-(2**63), 2**63 - 1)
ids = st.none() | ints64
texts = st.text(max_size=8)


def floats(*shape: int) -> st.SearchStrategy[Any]:
    return arrays.arrays(np.float32, shape, elements=reals)


@st.composite
def detections(draw: st.DrawFn, keypoints: int | None = None) -> Detection:
    form = draw(
        st.sampled_from(
            [LocationFormat.BOUNDING_BOX, LocationFormat.RELATIVE_BOUNDING_BOX]
        )
    )
    is_relative = form is LocationFormat.RELATIVE_BOUNDING_BOX
    sides = draw(st.tuples(*[reals if is_relative else ints32] * 4))
    count = draw(st.integers(0, 4)) if keypoints is None else keypoints
    labels = draw(st.integers(0, 3))
    return Detection(
        box=Box(*sides),
        scores=draw(st.tuples(*[reals] * labels)),
        label_ids=draw(st.tuples(*[ints32] * labels)),
        labels=draw(st.tuples(*[texts] * labels)),
        keypoints=draw(floats(count, 2)) if count else NO_KEYPOINTS,
        format=form,
        display_names=draw(st.tuples(*[texts] * labels)),
        feature_tag=draw(texts),
        track_id=draw(texts),
        detection_id=draw(ids),
        timestamp_usec=draw(ids),
    )


normalized_rects = st.builds(NormalizedRect, *[reals] * 5, ids)
rects = st.builds(Rect, *[ints32] * 4, reals, ids)


@st.composite
def landmarks(draw: st.DrawFn, count: int | None = None) -> Landmarks:
    kind = draw(st.sampled_from([NormalizedLandmarkList, LandmarkList]))
    length = draw(st.integers(1, 5)) if count is None else count
    known = st.none() | floats(length)
    return cast("Landmarks", kind(draw(floats(length, 3)), draw(known), draw(known)))


doubles = st.floats(allow_nan=False, allow_infinity=False)
colors = st.builds(Color, *[st.integers(0, 255)] * 3)
rectangles = st.builds(
    render_data.Rectangle,
    *[doubles] * 4,
    normalized=st.booleans(),
    rotation=doubles,
    top_left_thickness=st.none() | doubles,
)
rounded = st.builds(render_data.RoundedRectangle, rectangles, ints32, ints32)
ovals = st.builds(render_data.Oval, rectangles)
points = st.builds(render_data.Point, doubles, doubles, st.booleans())
ends = [doubles] * 4
fills = st.none() | colors
shapes = st.one_of(
    rectangles,
    rounded,
    ovals,
    points,
    st.builds(render_data.FilledRectangle, rectangles, fills),
    st.builds(render_data.FilledRoundedRectangle, rounded, fills),
    st.builds(render_data.FilledOval, ovals, fills),
    st.builds(
        render_data.Line, *ends, st.booleans(), st.sampled_from(render_data.LineType)
    ),
    st.builds(render_data.GradientLine, *ends, st.booleans(), colors, colors),
    st.builds(render_data.Arrow, *ends, st.booleans()),
    st.builds(render_data.Scribble, st.lists(points, max_size=3).map(tuple)),
    st.builds(
        render_data.Text,
        texts,
        *[doubles] * 3,
        st.booleans(),
        ints32,
        st.booleans(),
        st.booleans(),
        doubles,
        colors,
    ),
)
pictures = st.builds(
    RenderData,
    st.lists(
        st.builds(RenderAnnotation, shapes, colors, doubles, texts), max_size=4
    ).map(tuple),
    texts,
)
