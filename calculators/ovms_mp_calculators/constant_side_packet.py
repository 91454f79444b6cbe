"""Values that stand in the graph: ConstantSidePacketCalculator.

    node {
      calculator: "ConstantSidePacketCalculator"
      output_side_packet: "PACKET:0:width"
      output_side_packet: "PACKET:1:names"
      node_options: {
        [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {
          packet { int_value: 128 }
          packet { string_vector_value { string_value: "cat" string_value: "dog" } }
        }
      }
    }

As MediaPipe's. Numbers, bools and texts are Python's; the vectors are lists; messages
(classification_list_value, landmark_list_value, matrix_data_value,
time_series_header_value) are the messages themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Options, SideOutputs

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.ConstantSidePacketCalculatorOptions
_VECTORS: Final = {
    "string_vector_value": "string_value",
    "float_vector_value": "float_value",
    "int_vector_value": "int_value",
}


class ConstantSidePacketCalculator(Calculator):
    """One side packet for each `packet` of the options."""

    packets = SideOutputs(Any, "PACKET", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many values as side packets, and none of them unset."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if len(options.packet) != len(node.side_outputs):
            raise ContractError(
                f"the options hold {len(options.packet)} `packet`, "
                f"the node has {len(node.side_outputs)} output side packets"
            )
        for number, packet in enumerate(options.packet):
            if packet.WhichOneof("value") is None:
                raise ContractError(f"`packet` {number} of the options has no value")

    def open(self, ctx: Context) -> None:
        """All of them."""
        for port, packet in zip(self.packets, self.options.packet, strict=True):
            kind = packet.WhichOneof("value")
            assert kind is not None
            value = getattr(packet, kind)
            if kind in _VECTORS:
                value = list(getattr(value, _VECTORS[kind]))
            ctx.set_side(port, value)
