"""A language model answers in pieces, and remembers its stream's conversation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import openvino_genai as genai
from pyovms import Tensor

MODEL = "smollm2_135m_instruct"
CACHE_GIB = 1
MAX_NEW_TOKENS = 256

# What cannot be text yet: the next token completes it.
INCOMPLETE = "\ufffd"


class OvmsPythonModel:
    """Takes BYTES [1], a message; yields BYTES [1], pieces of the answer, the last one
    empty.

    All streams share the model, which works on all their answers at a time. A stream
    that goes away takes its answer with it.
    """

    tensors: ClassVar = {"message": ("BYTES", [1]), "answer": ("BYTES", [1])}

    def initialize(self, kwargs: dict[str, Any]) -> None:
        """Load the model that lies beside this file."""
        (self._output,) = kwargs["output_names"]
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GIB
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(Path(kwargs["base_path"]) / MODEL),
            scheduler,
            "CPU",
            # Answers are the same whatever the processor prefers.
            {"INFERENCE_PRECISION_HINT": "f32"},
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        self._config = genai.GenerationConfig()
        self._config.max_new_tokens = MAX_NEW_TOKENS
        self._numbers = count()
        self._answers = _Answers(self._pipeline)

    def open_session(self) -> list[dict[str, str]]:
        """A conversation begins; nothing was said."""
        return []

    def execute(
        self, inputs: list[Tensor], session: list[dict[str, str]]
    ) -> Iterator[list[Tensor]]:
        """Answer one message."""
        session.append({"role": "user", "content": _text(inputs[0])})
        prompt = self._tokenizer.apply_chat_template(
            session, add_generation_prompt=True
        )
        handle = self._pipeline.add_request(next(self._numbers), prompt, self._config)
        said = ""
        try:
            for text in self._texts(self._answers.follow(handle)):
                piece = text[len(said) :]
                if piece and not text.endswith(INCOMPLETE):
                    yield [_tensor(self._output, piece)]
                    said = text
        finally:
            handle.cancel()  # where the client has gone; an answer at its end ignores it
        session.append({"role": "assistant", "content": said})
        yield [_tensor(self._output, "")]

    def finalize(self) -> None:
        """Nobody will ask any more."""
        self._answers.stop()

    def _texts(self, tokens: Iterator[list[int]]) -> Iterator[str]:
        """The answer so far, after each of its tokens."""
        ids: list[int] = []
        for more in tokens:
            ids += more
            yield self._tokenizer.decode(ids)


class _Answers:
    """Moves the model on, in a thread of its own, while there is anything to answer."""

    def __init__(self, pipeline: genai.ContinuousBatchingPipeline) -> None:
        self._pipeline = pipeline
        self._followed: dict[Any, SimpleQueue[list[int] | None]] = {}
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread = threading.Thread(
            target=self._run, name="language-model", daemon=True
        )
        self._thread.start()

    def follow(self, handle: Any) -> Iterator[list[int]]:
        """The tokens of an answer, as they come."""
        tokens = SimpleQueue[list[int] | None]()
        with self._changed:
            self._followed[handle] = tokens
            self._changed.notify()
        while (more := tokens.get()) is not None:
            yield more

    def stop(self) -> None:
        """End every answer, and the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._has_work():
            # Answers that nobody follows any more are cancelled: this lets them go.
            self._pipeline.step()
            with self._changed:
                followed = list(self._followed.items())
            for handle, tokens in followed:
                self._pass_on(handle, tokens)

    def _has_work(self) -> bool:
        """Wait for it; False when it is over."""
        with self._changed:
            while not self._pipeline.has_non_finished_requests():
                if self._is_stopped:
                    return False
                self._changed.wait()
            if self._is_stopped:
                for handle in self._followed:
                    handle.cancel()
            return True

    def _pass_on(self, handle: Any, tokens: SimpleQueue[list[int] | None]) -> None:
        while handle.can_read():
            for output in handle.read().values():
                tokens.put(list(output.generated_ids))
        if handle.get_status() != genai.GenerationStatus.RUNNING:
            with self._changed:
                del self._followed[handle]
            tokens.put(None)


def _text(message: Tensor) -> str:
    """BYTES [1] on the wire is the string's length, 4 bytes little endian, and itself."""
    return bytes(message)[4:].decode()


def _tensor(name: str, text: str) -> Tensor:
    encoded = text.encode()
    return Tensor(name, len(encoded).to_bytes(4, "little") + encoded, [1], "BYTES")
