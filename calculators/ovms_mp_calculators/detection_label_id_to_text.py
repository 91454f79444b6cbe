"""Labels get their names: DetectionLabelIdToTextCalculator.

    node {
      calculator: "DetectionLabelIdToTextCalculator"
      input_stream: "numbered"      # list of Detection
      output_stream: "named"        # list of Detection
      node_options: {
        [type.googleapis.com/mediapipe.DetectionLabelIdToTextCalculatorOptions] {
          label: "face"
        }
      }
    }

As MediaPipe's. Names are in one of `label`, `label_items`, or the lines of the file
`label_map_path`, which is absolute or in the graph's directory. A detection of which a
label has a name loses its numbers unless keep_label_id says otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.formats.detection import Detection
from ovms_mp_calculators.label_files import label_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

_OPTIONS: Final = graph.DetectionLabelIdToTextCalculatorOptions


class DetectionLabelIdToTextCalculator(Calculator):
    """Reads its file when the graph is loaded."""

    timestamp_offset = 0

    given: Input[list[Detection]] = Input(list)
    named: Output[list[Detection]] = Output(list)
    options = Options(_OPTIONS)

    @classmethod
    def load(cls, node: NodeInfo) -> Mapping[int, tuple[str, str]]:
        """Name and display name by number."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        sources = (options.label_map_path, options.label, options.label_items)
        if sum(map(bool, sources)) > 1:
            raise ContractError(
                "only one of label_map_path, label and label_items may be set"
            )
        if options.label_map_path:
            names = label_lines(node, options.label_map_path)
            return {number: (name, "") for number, name in enumerate(names)}
        if options.label:
            return {number: (name, "") for number, name in enumerate(options.label)}
        return {
            number: (item.name, item.display_name)
            for number, item in options.label_items.items()
        }

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Detections remain detections."""
        return [(node.inputs[0], node.outputs[0])]

    def open(self, ctx: Context) -> None:
        """Whether numbers stay."""
        self._keeps_ids = self.options.keep_label_id

    def process(self, ctx: Context) -> None:
        """One list."""
        ctx.send(self.named, [self._named(each) for each in ctx[self.given]])

    def _named(self, detection: Detection) -> Detection:
        known: Mapping[int, tuple[str, str]] = self.shared
        found = [known[each] for each in detection.label_ids if each in known]
        if not found:
            return detection
        return replace(
            detection,
            labels=(*detection.labels, *[name for name, _ in found]),
            display_names=(*detection.display_names, *[d for _, d in found if d]),
            label_ids=detection.label_ids if self._keeps_ids else (),
        )
