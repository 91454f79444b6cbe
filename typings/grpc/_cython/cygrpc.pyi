# What the transport `core` uses of grpcio's private extension module, and no more.
#
# Read from its behaviour in grpcio 1.62 to 1.85; `core_check` holds it to this at start.

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import grpc

_Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

class Operation:
    # Of the kinds that receive; what is asked of another kind is not there.
    def message(self) -> bytes | None: ...
    def cancelled(self) -> bool: ...

class SendInitialMetadataOperation(Operation):
    def __init__(self, initial_metadata: _Metadata, flags: int) -> None: ...

class SendMessageOperation(Operation):
    def __init__(self, message: bytes, flags: int) -> None: ...

class SendStatusFromServerOperation(Operation):
    def __init__(
        self, trailing_metadata: _Metadata, code: int, details: str, flags: int
    ) -> None: ...

class ReceiveMessageOperation(Operation):
    def __init__(self, flags: int) -> None: ...

class ReceiveCloseOnServerOperation(Operation):
    def __init__(self, flags: int) -> None: ...

class CompletionType:
    queue_shutdown: Final[int]

class CallDetails:
    method: bytes
    deadline: float

class Call:
    def start_server_batch(
        self,
        operations: Sequence[Operation],
        tag: Callable[[BatchOperationEvent], object],
    ) -> int: ...
    def cancel(self, error_code: int, details: str) -> int: ...
    def peer(self) -> bytes: ...

class BaseEvent:
    completion_type: int
    success: bool
    tag: Callable[[BaseEvent], object]

class BatchOperationEvent(BaseEvent):
    batch_operations: Sequence[Operation]

class RequestCallEvent(BaseEvent):
    call: Call
    call_details: CallDetails
    invocation_metadata: _Metadata

class ServerShutdownEvent(BaseEvent): ...

class CompletionQueue:
    def poll(self) -> BaseEvent: ...
    def shutdown(self) -> None: ...

class SslPemKeyCertPair:
    def __init__(self, private_key: bytes, certificate_chain: bytes) -> None: ...

class ServerCredentials: ...

def server_credentials_ssl(
    pem_root_certs: bytes | None,
    pem_key_cert_pairs: Sequence[SslPemKeyCertPair],
    force_client_auth: bool,
) -> ServerCredentials: ...
def server_credentials_ssl_dynamic_cert_config(
    initial_cert_config: grpc.ServerCertificateConfiguration,
    cert_config_fetcher: Callable[[], grpc.ServerCertificateConfiguration],
    force_client_auth: bool,
) -> ServerCredentials: ...

class Server:
    def __init__(
        self, arguments: Sequence[tuple[bytes, bytes | int]], xds: bool
    ) -> None: ...
    def register_completion_queue(self, queue: CompletionQueue) -> None: ...
    def register_method(self, fully_qualified_method: str) -> None: ...
    def add_http2_port(
        self, address: bytes, server_credentials: ServerCredentials | None = None
    ) -> int: ...
    def start(self) -> None: ...
    def request_call(
        self,
        call_queue: CompletionQueue,
        server_queue: CompletionQueue,
        tag: Callable[[RequestCallEvent], object],
    ) -> int: ...
    def request_registered_call(
        self,
        call_queue: CompletionQueue,
        server_queue: CompletionQueue,
        method: str,
        tag: Callable[[RequestCallEvent], object],
    ) -> int: ...
    def shutdown(
        self, queue: CompletionQueue, tag: Callable[[ServerShutdownEvent], object]
    ) -> None: ...
    def cancel_all_calls(self) -> None: ...
    def destroy(self) -> bool: ...
