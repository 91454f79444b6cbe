"""A served model becomes a side packet: OpenVINOModelServerSessionCalculator.

    node {
      calculator: "OpenVINOModelServerSessionCalculator"
      output_side_packet: "SESSION:session"    # InferenceSession
      node_options: {
        [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
          servable_name: "detector"
          servable_version: "1"    # empty, 0 or no number: the default version
        }
      }
    }

The model must be there when the graph is loaded, which OVMS finds out at the first
request only. `service_url` and `server_config` have no meaning inside the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    InferenceSession,
    Models,
    Options,
    SideOutput,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS = graph.OpenVINOModelServerSessionCalculatorOptions


class OpenVINOModelServerSessionCalculator(Calculator):
    """Offers the session of one model to the inference nodes of the graph."""

    is_short = True
    session = SideOutput(InferenceSession, "SESSION")
    options = Options(_OPTIONS)

    @classmethod
    def load(cls, node: NodeInfo) -> InferenceSession:
        """Get the session. Raises ServingError when the model is not available."""
        options = node.options[_OPTIONS.DESCRIPTOR.full_name]
        try:
            models = node.services.get(Models)
        except LookupError as error:
            raise ContractError(
                f"there are no models to choose from: {error}"
            ) from error
        return models.session(options.servable_name, _version(options.servable_version))

    def open(self, ctx: Context) -> None:
        """Set the side packet."""
        ctx.set_side(self.session, self.shared)


def _version(text: str) -> str:
    is_number = text.isascii() and text.isdecimal()
    return str(int(text)) if is_number and int(text) else ""
