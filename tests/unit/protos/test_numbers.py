"""What is on the wire is what others put there: names, numbers, types, defaults."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from ovms_mp_protos import graph, kserve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

MEDIAPIPE_MODULES = (
    "calculator",
    "calculator_options",
    "mediapipe_options",
    "packet_factory",
    "packet_generator",
    "status_handler",
    "stream_handler",
    "stream_handler.default_input_stream_handler",
    "stream_handler.fixed_size_input_stream_handler",
    "stream_handler.sync_set_input_stream_handler",
    "stream_handler.timestamp_align_input_stream_handler",
    "thread_pool_executor",
)

PAYLOADS_AND_OPTIONS = (
    "calculators.core.clip_vector_size_calculator",
    "calculators.core.concatenate_vector_calculator",
    "calculators.core.constant_side_packet_calculator",
    "calculators.core.get_vector_item_calculator",
    "calculators.core.split_vector_calculator",
    "calculators.image.image_transformation_calculator",
    "calculators.image.rotation_mode",
    "calculators.image.segmentation_smoothing_calculator",
    "calculators.tensor.image_to_tensor_calculator",
    "calculators.tensor.tensors_to_detections_calculator",
    "calculators.tensor.tensors_to_floats_calculator",
    "calculators.tensor.tensors_to_landmarks_calculator",
    "calculators.tflite.ssd_anchors_calculator",
    "calculators.util.annotation_overlay_calculator",
    "calculators.util.association_calculator",
    "calculators.util.collection_has_min_size_calculator",
    "calculators.util.detection_label_id_to_text_calculator",
    "calculators.util.detections_to_rects_calculator",
    "calculators.util.detections_to_render_data_calculator",
    "calculators.util.filter_detections_calculator",
    "calculators.util.labels_to_render_data_calculator",
    "calculators.util.landmark_projection_calculator",
    "calculators.util.landmarks_smoothing_calculator",
    "calculators.util.landmarks_to_detection_calculator",
    "calculators.util.landmarks_to_render_data_calculator",
    "calculators.util.non_max_suppression_calculator",
    "calculators.util.rect_to_render_data_calculator",
    "calculators.util.rect_to_render_scale_calculator",
    "calculators.util.rect_transformation_calculator",
    "calculators.util.refine_landmarks_from_heatmap_calculator",
    "calculators.util.thresholding_calculator",
    "calculators.util.visibility_copy_calculator",
    "calculators.util.visibility_smoothing_calculator",
    "framework.formats.annotation.rasterization",
    "framework.formats.body_rig",
    "framework.formats.classification",
    "framework.formats.detection",
    "framework.formats.landmark",
    "framework.formats.location_data",
    "framework.formats.matrix_data",
    "framework.formats.object_detection.anchor",
    "framework.formats.rect",
    "framework.formats.time_series_header",
    "framework.tool.switch_container",
    "gpu.gpu_origin",
    "gpu.scale_mode",
    "modules.face_detection.face_detection",
    "modules.holistic_landmark.calculators.roi_tracking_calculator",
    "util.color",
    "util.label_map",
    "util.render_data",
)
# Fields, messages and enums that came after the wheel.
LATER = {
    "mediapipe.ConstantSidePacketCalculatorOptions": {
        "float_vector_value",
        "int_vector_value",
        "FloatVector",
        "IntVector",
    },
    "mediapipe.LandmarksSmoothingCalculatorOptions": {
        "empty_landmarks_policy",
        "EmptyLandmarksPolicy",
    },
}

# Prints the files of the modules that it is given.
DUMP = """
import importlib, sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet
files = FileDescriptorSet()
for name in sys.argv[1:]:
    importlib.import_module(name).DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
"""


def files_of(modules: Iterable[str]) -> list[FileDescriptorProto]:
    """What these generated modules contain, read in a process that has only them."""
    dump = [sys.executable, "-c", DUMP, *modules]
    written = subprocess.run(dump, check=True, capture_output=True).stdout
    return list(FileDescriptorSet.FromString(written).file)


def in_order(message: DescriptorProto) -> DescriptorProto:
    """The same, without what the wire does not see: order and options but `packed`."""
    ordered = DescriptorProto(name=message.name)
    for field in sorted(message.field, key=lambda f: f.number):
        kept = ordered.field.add()
        kept.CopyFrom(field)
        kept.ClearField("json_name")
        kept.ClearField("options")
        if field.options.HasField("packed"):
            kept.options.packed = field.options.packed
    for extension in sorted(message.extension, key=lambda e: e.number):
        ordered.extension.add().CopyFrom(extension)
        ordered.extension[-1].ClearField("json_name")
    for nested in sorted(message.nested_type, key=lambda n: n.name):
        ordered.nested_type.add().CopyFrom(in_order(nested))
    ordered.enum_type.extend(sorted(message.enum_type, key=lambda e: e.name))
    ordered.extension_range.extend(message.extension_range)
    ordered.oneof_decl.extend(message.oneof_decl)
    ordered.options.map_entry = message.options.map_entry
    return ordered


def ours(pool: DescriptorPool, full_name: str) -> DescriptorProto:
    message = DescriptorProto()
    pool.FindMessageTypeByName(full_name).CopyToProto(message)
    return in_order(message)


def theirs(
    files: Iterable[FileDescriptorProto],
) -> Iterator[tuple[str, DescriptorProto]]:
    for file in files:
        for message in file.message_type:
            yield f"{file.package}.{message.name}", in_order(message)


def test_kserve_messages_are_those_of_tritonclient() -> None:
    files = files_of(["tritonclient.grpc.service_pb2"])
    triton = dict(theirs(files))
    own = kserve.pool.FindFileContainingSymbol("inference.ModelInferRequest")
    names = [message.full_name for message in own.message_types_by_name.values()]
    assert len(names) == 21
    assert {n: ours(kserve.pool, n) for n in names} == {n: triton[n] for n in names}


def test_kserve_methods_are_those_of_tritonclient() -> None:
    (file,) = files_of(["tritonclient.grpc.service_pb2"])
    (service,) = file.service
    known = {method.name: method for method in service.method}
    own = kserve.pool.FindServiceByName("inference.GRPCInferenceService")
    assert len(own.methods) == 10
    for method in own.methods:
        other = known[method.name]
        types = (method.input_type.full_name, method.output_type.full_name)
        assert types == (other.input_type[1:], other.output_type[1:])
        is_streamed = (other.client_streaming, other.server_streaming)
        assert is_streamed == ((method.name == "ModelStreamInfer"),) * 2


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="needs mediapipe")
def test_the_graph_language_is_that_of_mediapipe() -> None:
    files = files_of(f"mediapipe.framework.{name}_pb2" for name in MEDIAPIPE_MODULES)
    mediapipe = dict(theirs(files))
    assert len(mediapipe) == 22
    assert {name: ours(graph.pool, name) for name in mediapipe} == mediapipe
    syntax = {message: file.syntax for file in files for message, _ in theirs([file])}
    for name, expected in syntax.items():
        file = FileDescriptorSet().file.add()
        graph.pool.FindFileContainingSymbol(name).CopyToProto(file)
        assert file.syntax == expected


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="needs mediapipe")
def test_payloads_and_options_are_those_of_mediapipe() -> None:
    names = (f"mediapipe.{each}_pb2" for each in PAYLOADS_AND_OPTIONS)
    mediapipe = dict(theirs(files_of(names)))
    found = {name: ours(graph.pool, name) for name in mediapipe}
    for name, later in LATER.items():
        drop(found[name], later)
    assert len(mediapipe) == 66
    assert found == mediapipe


def drop(message: DescriptorProto, names: set[str]) -> None:
    """Take fields, messages and enums away, at any depth."""
    fields = [each for each in message.field if each.name not in names]
    del message.field[:]
    message.field.extend(fields)
    enums = [each for each in message.enum_type if each.name not in names]
    del message.enum_type[:]
    message.enum_type.extend(enums)
    messages = [each for each in message.nested_type if each.name not in names]
    del message.nested_type[:]
    message.nested_type.extend(messages)
    for nested in message.nested_type:
        drop(nested, names)


@pytest.mark.parametrize(
    ("message", "number", "fields"),
    [
        (
            "mediapipe.OpenVINOInferenceCalculatorOptions",
            113473743,
            {
                "tag_to_input_tensor_names": 1,
                "tag_to_output_tensor_names": 2,
                "input_order_list": 3,
                "output_order_list": 4,
            },
        ),
        (
            "mediapipe.OpenVINOModelServerSessionCalculatorOptions",
            113473744,
            {
                "servable_name": 1,
                "servable_version": 2,
                "service_url": 3,
                "server_config": 4,
            },
        ),
        ("mediapipe.PythonExecutorCalculatorOptions", 113473748, {"handler_path": 1}),
        (
            "mediapipe.PyTensorOvTensorConverterCalculatorOptions",
            113473749,
            {"tag_to_output_tensor_names": 1},
        ),
    ],
)
def test_the_options_of_ovms_have_its_numbers(
    message: str, number: int, fields: dict[str, int]
) -> None:
    base = graph.pool.FindMessageTypeByName("mediapipe.CalculatorOptions")
    extension = graph.pool.FindExtensionByNumber(base, number)
    assert extension.full_name == f"{message}.ext"
    options = graph.pool.FindMessageTypeByName(message)
    assert extension.message_type is options
    numbers = {field.name: field.number for field in options.fields}
    # What we add stays away from what OVMS may add.
    assert {name: n for name, n in numbers.items() if n < 1000} == fields


def test_reflection_v1alpha_is_v1_but_for_its_name() -> None:
    v1 = kserve.pool.FindFileContainingSymbol("grpc.reflection.v1.ServerReflection")
    names = list(v1.message_types_by_name)
    assert len(names) == 8
    for name in names:
        new = str(ours(kserve.pool, f"grpc.reflection.v1.{name}"))
        old = str(ours(kserve.pool, f"grpc.reflection.v1alpha.{name}"))
        assert old == new.replace("grpc.reflection.v1.", "grpc.reflection.v1alpha.")


def test_health_has_the_numbers_that_probes_speak() -> None:
    """`grpc.health.v1` of grpc-proto; checked against bytes, since nothing here has it."""
    assert kserve.HealthCheckRequest(service="a").SerializeToString() == b"\n\x01a"
    serving = kserve.HealthCheckResponse(status=kserve.HealthCheckResponse.SERVING)
    assert serving.SerializeToString() == b"\x08\x01"
    assert kserve.HealthCheckResponse.NOT_SERVING == 2
    assert kserve.HealthCheckResponse.SERVICE_UNKNOWN == 3
    listed = kserve.HealthListResponse(statuses={"a": serving})
    assert listed.SerializeToString() == b"\n\x07\n\x01a\x12\x02\x08\x01"
