"""Numbers of what a model gives: TensorsToFloatsCalculator.

    node {
      calculator: "TensorsToFloatsCalculator"
      input_stream: "TENSORS:tensors"     # list of ndarray; the first counts
      output_stream: "FLOAT:score"        # float
      node_options: {
        [type.googleapis.com/mediapipe.TensorsToFloatsCalculatorOptions] {
          activation: SIGMOID
        }
      }
    }

As MediaPipe's: FLOAT of a tensor with one value, or FLOATS, a list of all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp_calculators.box_decoding import floats_at, foresee_first
from ovms_mp_calculators.model_tensors import named
from ovms_mp_calculators.tensors_to_landmarks import sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, NodeInfo
    from ovms_mp.core.tensor import Array

_OPTIONS: Final = graph.TensorsToFloatsCalculatorOptions
_NO_TENSORS: Final = "a list without tensors has no numbers"


class TensorsToFloatsCalculator(Calculator):
    """Fails for tensors of another datatype than FP32, and for one with more values
    than one where one is wanted.
    """

    timestamp_offset = 0

    tensors: Input[list[Array]] = Input(list, "TENSORS")
    number = Output(float, "FLOAT", optional=True)
    numbers: Output[list[float]] = Output(list, "FLOATS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One output."""
        if len(node.outputs) != 1:
            raise ContractError("one output is needed, FLOAT or FLOATS")

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model of more numbers than one where one is wanted."""
        tensors = coming.get(node.inputs[0].name)
        if tensors is not None:
            first = foresee_first(tensors, _NO_TENSORS)
            if first.size is not None and node.outputs[0].tag == "FLOAT":
                _check_size(first.size, first.shape, first.whose)
        return {}

    def open(self, ctx: Context) -> None:
        """Whether numbers are activated."""
        self._is_activated = self.options.activation == _OPTIONS.SIGMOID

    def process(self, ctx: Context) -> None:
        """One list of tensors."""
        tensors = ctx[self.tensors]
        if not tensors:
            raise ValueError(_NO_TENSORS)
        values = floats_at(tensors, 0)
        if self._is_activated:
            values = sigmoid(values)
        if self.numbers:
            ctx.send(self.numbers, values.reshape(-1).tolist())
            return
        if values.size != 1:
            _check_size(values.size, values.shape, named(tensors, 0))
        ctx.send(self.number, values.item())


def _check_size(size: int, shape: tuple[int, ...], whose: str) -> None:
    if size != 1:
        raise ValueError(
            f"{whose} of shape {list(shape)} has {size} values; expected 1"
        )
