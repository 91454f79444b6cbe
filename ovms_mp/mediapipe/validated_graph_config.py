"""mediapipe.ValidatedGraphConfig: a graph that was judged before it is run."""

from __future__ import annotations

from typing import Any

from ovms_mp.mediapipe import binary, configs
from ovms_mp.mediapipe.configs import Given


class ValidatedGraphConfig:
    """Empty until `initialize`."""

    def __init__(self) -> None:
        self._given: Given | None = None

    def initialize(self, **given: Any) -> None:
        """With `binary_graph_path` or with `graph_config`, a text or a message. Raises
        what CalculatorGraph does.
        """
        for name in given:
            if name not in configs.FORMS:
                raise RuntimeError(f"Unknown kwargs input argument: {name}")
        if len(given) != 1:
            raise ValueError(
                "Please either provide 'binary_graph_path' to initialize a "
                "ValidatedGraphConfig object with a binary graph file or 'graph_config'"
                " to initialize a ValidatedGraphConfig object with a graph config proto."
            )
        self._given = configs.read(given)

    def initialized(self) -> bool:
        """True after `initialize` has returned."""
        return self._given is not None

    @property
    def given(self) -> Given:
        """What was judged. Raises RuntimeError if nothing was."""
        if self._given is None:
            raise RuntimeError("ValidatedGraphConfig is not initialized.")
        return self._given

    @property
    def text_config(self) -> str:
        """As it was given; mediapipe has it with subgraphs expanded."""
        return binary.to_text(self.binary_config)

    @property
    def binary_config(self) -> bytes:
        """The same as bytes."""
        return binary.to_binary(self.given.text)
