"""Server reflection answers from the descriptors of the services that are offered, and
knows nothing beside them and what they import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.codec import parse
from ovms_mp.frontend.grpc.status import outcome_of
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.transport.seam import Code, Session, StreamCall


class Reflection:
    """An index of `files`, in which services are defined, and of all they import.

    Version v1alpha of the protocol differs from v1 in its name only, so that the same
    sessions serve both.
    """

    def __init__(self, files: Iterable[FileDescriptor]) -> None:
        files = tuple(files)
        self._files = {
            each.name: each for file in files for each in _with_imports(file)
        }
        self._services = sorted(
            service.full_name
            for file in files
            for service in file.services_by_name.values()
        )
        self._file_of = {
            symbol: file for file in self._files.values() for symbol in _symbols(file)
        }
        self._messages = frozenset(
            message.full_name
            for file in self._files.values()
            for message in _messages(file.message_types_by_name.values())
        )

    def session(self) -> ReflectionSession:
        """The session of one ServerReflectionInfo call."""
        return ReflectionSession(self)

    def answer(
        self, request: kserve.ServerReflectionRequest
    ) -> kserve.ServerReflectionResponse:
        """The answer to one question; what is not known is an `error_response`."""
        response = kserve.ServerReflectionResponse(
            valid_host=request.host, original_request=request
        )
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                name = request.file_by_filename
                self._tell_file(response, self._files.get(name), f"file {name}")
            case "file_containing_symbol":
                name = request.file_containing_symbol
                self._tell_file(response, self._file_of.get(name), f"symbol {name}")
            case "file_containing_extension":
                _refuse(response, Code.NOT_FOUND, "no messages here are extended")
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                if name in self._messages:
                    response.all_extension_numbers_response.base_type_name = name
                else:
                    _refuse(response, Code.NOT_FOUND, f"no message {name}")
            case _:
                _refuse(response, Code.INVALID_ARGUMENT, "the request asks nothing")
        return response

    def _tell_file(
        self,
        response: kserve.ServerReflectionResponse,
        file: FileDescriptor | None,
        asked: str,
    ) -> None:
        if file is None:
            _refuse(response, Code.NOT_FOUND, f"no {asked}")
            return
        response.file_descriptor_response.file_descriptor_proto.extend(
            each.serialized_pb for each in _with_imports(file)
        )


class ReflectionSession(Session):
    """One ServerReflectionInfo call: question, answer, next question."""

    def __init__(self, index: Reflection) -> None:
        self._index = index

    def on_open(self, call: StreamCall) -> None:
        """Read the first question."""
        self._call = call
        call.request_next()

    def on_message(self, message: bytes) -> None:
        """Answer, and read on when that is written."""
        try:
            request = parse(kserve.ServerReflectionRequest, message)
        except MalformedMessage as error:
            self._call.finish(*outcome_of(error))
            return
        answer = self._index.answer(request)
        self._call.write(answer.SerializeToString(), self._written)

    def on_half_close(self) -> None:
        """No more questions."""
        self._call.finish(Code.OK, "")

    def _written(self, is_sent: bool) -> None:
        if is_sent:
            self._call.request_next()


def _refuse(response: kserve.ServerReflectionResponse, code: Code, text: str) -> None:
    response.error_response.error_code = code.value
    response.error_response.error_message = text


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """`file` and, once each, all that it imports, directly or not."""
    found = {file.name: file}
    pending = [file]
    while pending:
        each = pending.pop()
        yield each
        new = [f for f in each.dependencies if f.name not in found]
        found.update((f.name, f) for f in new)
        pending += new


def _messages(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        yield message
        yield from _messages(message.nested_types)


def _symbols(file: FileDescriptor) -> Iterator[str]:
    """Full names of all that is defined in `file` and that a client may ask for."""
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (f"{service.full_name}.{method.name}" for method in service.methods)
    enums: list[EnumDescriptor] = list(file.enum_types_by_name.values())
    for message in _messages(file.message_types_by_name.values()):
        yield message.full_name
        yield from (field.full_name for field in message.fields)
        yield from (oneof.full_name for oneof in message.oneofs)
        enums += message.enum_types
    yield from (enum.full_name for enum in enums)
