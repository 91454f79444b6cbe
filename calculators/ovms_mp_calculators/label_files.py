"""A file of labels has one in each line; the first is label 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.calculator import ContractError

if TYPE_CHECKING:
    from ovms_mp.calculator import NodeInfo


def label_lines(node: NodeInfo, name: str) -> list[str]:
    """The labels in the file `name`, which is absolute or in the graph's directory.

    Raises ContractError for a file that cannot be read or is empty.
    """
    try:
        text = (node.base_path / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f'label_map_path "{name}" cannot be read') from error
    if not text:
        raise ContractError(f'label_map_path "{name}" is an empty file')
    return text.removesuffix("\n").split("\n")
