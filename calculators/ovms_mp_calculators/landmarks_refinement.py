"""Parts of a thing, as better models see them, take their places in the whole:
LandmarksRefinementCalculator.

    node {
      calculator: "LandmarksRefinementCalculator"
      input_stream: "LANDMARKS:0:face"            # NormalizedLandmarkList of 4
      input_stream: "LANDMARKS:1:eye"             # NormalizedLandmarkList of 2
      output_stream: "REFINED_LANDMARKS:refined"  # NormalizedLandmarkList of 5
      node_options: {
        [type.googleapis.com/mediapipe.LandmarksRefinementCalculatorOptions] {
          refinement {
            indexes_mapping: [0, 1, 2, 3]
            z_refinement { copy {} }
          }
          refinement {
            indexes_mapping: [2, 4]
            z_refinement { assign_average { indexes_for_average: [0, 1] } }
          }
        }
      }
    }

As MediaPipe's: list after list, x and y of each landmark go to where its mapping says; z
goes with them (`copy`), stays what it was (`none`), or becomes the mean of what landmarks
of the whole have by then (`assign_average`). The mappings together are 0, 1, 2 and so on.
Visibility and presence are not refined, nobody knows them afterwards. Nothing comes
unless all lists do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Inputs, Options, Output
from ovms_mp.formats.landmark import NormalizedLandmarkList

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.LandmarksRefinementCalculatorOptions
# Of a face there are 478; the mapping says how much is kept for each packet.
_MAX_LANDMARKS: Final = 1 << 16
_COPIED: Final = np.empty(0, np.intp)


class LandmarksRefinementCalculator(Calculator):
    """Fails for a list of another length than its mapping."""

    timestamp_offset = 0

    lists = Inputs(NormalizedLandmarkList, "LANDMARKS")
    refined = Output(NormalizedLandmarkList, "REFINED_LANDMARKS")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A refinement for each list, and a place for each landmark."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if len(options.refinement) != len(node.inputs):
            raise ContractError(
                f"There are {len(options.refinement)} refinements while "
                f"{len(node.inputs)} landmark streams"
            )
        places = {e for each in options.refinement for e in each.indexes_mapping}
        if len(places) > _MAX_LANDMARKS or places != set(range(len(places))):
            raise ContractError(
                f"indexes_mapping are 0, 1, 2 and so on, at most {_MAX_LANDMARKS} of them"
            )
        for number, each in enumerate(options.refinement):
            if not each.indexes_mapping:
                raise ContractError(f"Refinement {number} has no indexes mapping")
            kind = each.z_refinement.WhichOneof("z_refinement_options")
            if kind is None:
                raise ContractError(
                    f"Refinement {number} has no Z refinement specified"
                )
            averaged = each.z_refinement.assign_average.indexes_for_average
            if kind == "assign_average" and not (
                averaged and places.issuperset(averaged)
            ):
                raise ContractError(
                    f"Refinement {number} has no indexes_for_average, or some of "
                    "landmarks that there are not"
                )

    def open(self, ctx: Context) -> None:
        """Places as arrays, and what becomes of z."""
        refinements = self.options.refinement
        self._places = [np.array(each.indexes_mapping) for each in refinements]
        self._depths = [_depth_of(each.z_refinement) for each in refinements]
        self._count = 1 + max(int(each.max()) for each in self._places)

    def process(self, ctx: Context) -> None:
        """One list of each kind."""
        if not all(ctx.has(each) for each in self.lists):
            return
        refined: Floats = np.zeros((self._count, 3), np.float32)
        for port, places, depth in zip(
            self.lists, self._places, self._depths, strict=True
        ):
            points = ctx[port].points
            if len(points) != len(places):
                raise ValueError(
                    f"There are {len(points)} refinement landmarks while mapping has "
                    f"{len(places)}"
                )
            if depth is _COPIED:
                refined[places] = points
                continue
            refined[places, :2] = points[:, :2]
            if depth is not None:
                refined[places, 2] = np.mean(refined[depth, 2], dtype=np.float64)
        ctx.send(self.refined, NormalizedLandmarkList(refined))


def _depth_of(options: Any) -> NDArray[np.intp] | None:
    """Of which landmarks z is the mean; _COPIED, or None where it stays."""
    match options.WhichOneof("z_refinement_options"):
        case "copy":
            return _COPIED
        case "assign_average":
            return np.array(options.assign_average.indexes_for_average, np.intp)
        case _:
            return None
