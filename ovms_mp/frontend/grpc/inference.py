"""A unary method of GRPCInferenceService decodes, asks the catalog, and encodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferResponse
from ovms_mp.core.pending import Pending
from ovms_mp.frontend.grpc.again import Again
from ovms_mp.frontend.grpc.catalog import Catalog
from ovms_mp.frontend.grpc.codec import (
    decode_request,
    encode_metadata,
    encode_response,
    parse,
)
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.recording import failed
from ovms_mp.frontend.grpc.status import refusal
from ovms_mp.frontend.grpc.turns import Turns
from ovms_mp.frontend.grpc.wire import first_text
from ovms_mp.frontend.transport.seam import Abort, Call, UnaryHandler

SERVER_NAME: Final = "OpenVINO Model Server"


class InferenceService:
    """The unary methods, as handlers of a transport; they hold no state of a call."""

    def __init__(
        self, catalog: Catalog, version: str, quota: Quota = UNLIMITED
    ) -> None:
        """`quota` is what requests may hold together."""
        self._catalog = catalog
        self._version = version
        self._quota = quota
        self._again = Again(catalog)
        self._turns = Turns()

    def handlers(self) -> Mapping[str, UnaryHandler]:
        """Each method by its path."""
        return {
            kserve.SERVER_LIVE: guarded(self.server_live),
            kserve.SERVER_READY: guarded(self.server_ready),
            kserve.SERVER_METADATA: guarded(self.server_metadata),
            kserve.MODEL_READY: guarded(self.model_ready),
            kserve.MODEL_METADATA: guarded(self.model_metadata),
            kserve.MODEL_INFER: guarded(self.model_infer, self._turns),
        }

    def server_live(self, message: bytes, call: Call) -> bytes:
        """True: the process answers."""
        parse(kserve.ServerLiveRequest, message)
        return kserve.ServerLiveResponse(live=True).SerializeToString()

    def server_ready(self, message: bytes, call: Call) -> bytes:
        """Whether the server can do now what its configuration says."""
        parse(kserve.ServerReadyRequest, message)
        ready = self._catalog.is_ready
        return kserve.ServerReadyResponse(ready=ready).SerializeToString()

    def server_metadata(self, message: bytes, call: Call) -> bytes:
        """OVMS's name, by which its clients know what they talk to, and our version."""
        parse(kserve.ServerMetadataRequest, message)
        response = kserve.ServerMetadataResponse(
            name=SERVER_NAME, version=self._version
        )
        return response.SerializeToString()

    def model_ready(self, message: bytes, call: Call) -> bytes:
        """Whether a servable takes requests; NOT_FOUND if there is none."""
        request = parse(kserve.ModelReadyRequest, message)
        ready = self._catalog.is_servable_ready(request.name, request.version, "gRPC")
        return kserve.ModelReadyResponse(ready=ready).SerializeToString()

    def model_metadata(self, message: bytes, call: Call) -> bytes:
        """What a servable takes and gives."""
        request = parse(kserve.ModelMetadataRequest, message)
        return encode_metadata(self._catalog.metadata(request.name, request.version))

    def model_infer(self, message: bytes, call: Call) -> bytes | Pending[bytes]:
        """The servable's answer. The end of the call, by deadline, cancellation or
        disconnection, cancels what the servable is doing.
        """
        if call.time_remaining is not None and call.time_remaining <= 0:
            raise ServingError(Status.DEADLINE_EXCEEDED)
        known = self._again.answer(message)
        if known is not None:
            return known
        request = decode_request(message, self._quota)
        response = self._catalog.infer(request)
        if response.is_settled:
            answered = response.value()
            self._again.learn(message, request, answered)
            return encode_response(answered)
        answer = Pending[bytes](on_cancel=response.cancel)
        response.on_settled(
            lambda settled: self._settle(answer, settled, call, request.model_name)
        )
        return answer

    def _settle(
        self,
        answer: Pending[bytes],
        response: Pending[InferResponse],
        call: Call,
        name: str,
    ) -> None:
        if answer.is_settled:
            return  # the call ended first, and its cancellation settled the response
        try:
            encoded = encode_response(response.value())
        except Exception as error:
            refused = refusal(error)
            failed(call, name, refused)
            self._turns.fail(answer, refused, call)
        else:
            answer.complete(encoded)


def guarded(handler: UnaryHandler, turns: Turns | None = None) -> UnaryHandler:
    """`handler`, whose errors are those that clients may see; for want of room, in their
    `turns`.
    """

    def guard(message: bytes, call: Call) -> bytes | Pending[bytes]:
        try:
            return handler(message, call)
        except Abort:
            raise
        except Exception as error:
            refused = refusal(error)
            failed(call, first_text(message), refused)
            answer = None if turns is None else turns.answer(refused, call)
            if answer is None:
                raise refused from error
            return answer

    return guard
