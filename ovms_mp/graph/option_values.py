"""`option_value: "FIELD:options/GRAPH_FIELD"`: a node of a subgraph takes the value of
an option from the options of its graph, and those from who uses the graph (MediaPipe's
tool/options_util.cc).

Fields are separated by `/`; a number picks one value of a repeated field; `Ext::type`
picks a message by its type, from a graph's options or from an Any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.graph.pbtxt import Types

_ANY: Final = "google.protobuf.Any"
_WHOLE: Final = -1


class BadOptionValue(ValueError):
    """An option_value that cannot be followed; the text says why."""


@dataclass(slots=True)
class _Step:
    """One field on the way to a value; `type_name` picks a message in an Any."""

    field: str
    index: int = _WHOLE
    type_name: str = ""


@dataclass(slots=True)
class _Path:
    """`type_name` is the options message meant; empty for the first that there is."""

    type_name: str
    steps: list[_Step]


def apply(node: Any, graph: Any, parent: Any, types: Types) -> None:
    """Resolve and clear the option_values of a node message. `graph` is the message of
    its graph, `parent` that of the node that uses the graph, or None.

    Raises BadOptionValue.
    """
    for text in node.option_value:
        target, source = _split(text)
        options = options_of(node.options, node.node_options, target.type_name, types)
        given = _graph_options(graph, parent, source.type_name, types)
        if options is None:
            msg = f'option_value "{text}": the node has no options to be set'
            raise BadOptionValue(msg)
        if given is None:
            continue
        try:
            values = _get(given, source.steps, types)
            options = _merge(options, target.steps, values, types)
        except BadOptionValue as error:
            msg = f'option_value "{text}": {error}'
            raise BadOptionValue(msg) from error
        except (TypeError, ValueError, DecodeError) as error:
            msg = f'option_value "{text}": the value does not fit the field'
            raise BadOptionValue(msg) from error
        _keep(node, options)
    node.ClearField("option_value")


def options_of(extended: Any, packed: Any, type_name: str, types: Types) -> Any:
    """A copy of the options message of that type, or of the first if the type is empty;
    None if there is none. Extensions go before Anys.
    """
    for extension, value in extended.ListFields():
        if extension.is_extension and type_name in {"", value.DESCRIPTOR.full_name}:
            copy = type(value)()
            copy.CopyFrom(value)
            return copy
    for each in packed:
        if type_name in {"", each.TypeName()}:
            return types.message_class(each.TypeName()).FromString(each.value)
    return None


def _graph_options(graph: Any, parent: Any, type_name: str, types: Types) -> Any:
    """The graph's own options, overlaid with those that its user gives."""
    own = options_of(graph.options, graph.graph_options, type_name, types)
    if parent is None:
        return own
    given = options_of(parent.options, parent.node_options, type_name, types)
    if own is None or given is None:
        return own or given
    expected, found = own.DESCRIPTOR.full_name, given.DESCRIPTOR.full_name
    if expected != found:
        msg = f"the graph's options are {expected}, its user gives {found}"
        raise BadOptionValue(msg)
    own.MergeFromString(given.SerializePartialToString())
    return own


def _keep(node: Any, options: Any) -> None:
    """Options that have been set stand among `node_options` from then on."""
    node.ClearField("options")
    full_name = options.DESCRIPTOR.full_name
    for each in node.node_options:
        if each.TypeName() == full_name:
            each.value = options.SerializePartialToString()
            return
    packed = node.node_options.add()
    packed.type_url = f"type.googleapis.com/{full_name}"
    packed.value = options.SerializePartialToString()


def _split(text: str) -> tuple[_Path, _Path]:
    parts = text.replace("::", "\0").split(":")
    if len(parts) != 2:
        msg = f'option_value "{text}": expected `field:options/field_of_the_graph`'
        raise BadOptionValue(msg)
    target, source = (_path(part.replace("\0", "::"), text) for part in parts)
    return target, source


def _path(text: str, whole: str) -> _Path:
    names = text.split("/")
    if names[0] == "OPTIONS":
        del names[0]
    if names and names[0] == "options":
        del names[0]
    path = _Path("", [])
    for name in filter(None, names):
        if name.isascii() and name.isdigit() and len(name) < 10:
            if not path.steps:
                msg = f'option_value "{whole}": an index needs a field before it'
                raise BadOptionValue(msg)
            path.steps[-1].index = int(name)
        elif name.lower().startswith("ext::"):
            if path.steps:
                path.steps[-1].type_name = name[5:]
            else:
                path.type_name = name[5:]
        else:
            path.steps.append(_Step(name))
    return path


def _field(message: Any, step: _Step) -> FieldDescriptor:
    field = message.DESCRIPTOR.fields_by_name.get(step.field)
    if field is None:
        msg = f'{message.DESCRIPTOR.full_name} has no field "{step.field}"'
        raise BadOptionValue(msg)
    return field


def is_repeated(field: Any) -> bool:
    """For protobuf before and after `label` was deprecated."""
    known: bool | None = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if known is None else known


def _values(message: Any, step: _Step) -> list[Any]:
    """All that the field holds; nothing where it is not set."""
    field = _field(message, step)
    if is_repeated(field):
        if field.message_type and field.message_type.GetOptions().map_entry:
            msg = f'"{step.field}" is a map, which has no order'
            raise BadOptionValue(msg)
        return list(getattr(message, step.field))
    is_set = any(each.name == step.field for each, _ in message.ListFields())
    return [getattr(message, step.field)] if is_set else []


def _child(message: Any, step: _Step) -> Any:
    values = _values(message, step)
    if step.type_name:
        found = [each for each in values if _type_name(each) == step.type_name]
        if not found:
            msg = f'"{step.field}" holds no {step.type_name}'
            raise BadOptionValue(msg)
        return found[0]
    index = max(0, step.index)
    if index >= len(values):
        msg = f'"{step.field}" has no value number {index}'
        raise BadOptionValue(msg)
    return values[index]


def _type_name(value: Any) -> str:
    full_name = value.DESCRIPTOR.full_name if hasattr(value, "DESCRIPTOR") else ""
    return value.TypeName() if full_name == _ANY else full_name


def _unpacked(value: Any, types: Types) -> Any:
    if not hasattr(value, "DESCRIPTOR"):
        msg = "a field that is no message has no fields"
        raise BadOptionValue(msg)
    if value.DESCRIPTOR.full_name != _ANY:
        return value
    try:
        return types.message_class(value.TypeName()).FromString(value.value)
    except KeyError as error:
        msg = f"an Any holds the unknown type {value.TypeName()}"
        raise BadOptionValue(msg) from error


def _get(message: Any, steps: Sequence[_Step], types: Types) -> list[Any]:
    if not steps:
        return [message]
    head, tail = steps[0], steps[1:]
    if tail:
        return _get(_unpacked(_child(message, head), types), tail, types)
    if head.type_name or head.index != _WHOLE:
        return [_child(message, head)]
    return _values(message, head)


def _merge(
    message: Any, steps: Sequence[_Step], values: list[Any], types: Types
) -> Any:
    """The message with the values at that place; messages there are overlaid."""
    previous = _get(message, steps, types)
    merged: list[Any] = []
    for number, value in enumerate(values):
        if number < len(previous) and _is_message(value, previous[number]):
            overlaid = type(previous[number])()
            overlaid.CopyFrom(previous[number])
            overlaid.MergeFromString(value.SerializePartialToString())
            merged.append(overlaid)
        else:
            merged.append(value)
    if not steps:
        if not merged:
            msg = "there is no value"
            raise BadOptionValue(msg)
        return merged[0]
    _set(message, steps, merged, types)
    return message


def _is_message(value: Any, other: Any) -> bool:
    if not hasattr(value, "DESCRIPTOR") or not hasattr(other, "DESCRIPTOR"):
        return False
    given, wanted = value.DESCRIPTOR.full_name, other.DESCRIPTOR.full_name
    if given != wanted:
        msg = f"expected {wanted}, the graph has {given}"
        raise BadOptionValue(msg)
    return True


def _set(message: Any, steps: Sequence[_Step], values: list[Any], types: Types) -> None:
    head, tail = steps[0], steps[1:]
    if not tail:
        _set_field(message, head, values)
        return
    child = _child(message, head)
    inner = _unpacked(child, types)
    _set(inner, tail, values, types)
    if inner is not child:
        child.value = inner.SerializePartialToString()


def _set_field(message: Any, step: _Step, values: list[Any]) -> None:
    field = _field(message, step)
    if is_repeated(field) and step.index != _WHOLE:
        every = _values(message, step)
        every[step.index : step.index + 1] = values
        values = every
    for value in values:
        _check_fits(field, value)
    if field.message_type is not None:
        texts = [value.SerializePartialToString() for value in values]
        message.ClearField(step.field)
        for text in texts:
            into = getattr(message, step.field)
            (into.add() if is_repeated(field) else into).MergeFromString(text)
        return
    message.ClearField(step.field)
    if is_repeated(field):
        getattr(message, step.field).extend(values)
    elif values:
        setattr(message, step.field, values[-1])


def _check_fits(field: FieldDescriptor, value: Any) -> None:
    wanted, given = _kind(field), _kind_of(value)
    if wanted is not given and (wanted, given) != (float, int):
        msg = f'the value does not fit the field "{field.name}"'
        raise BadOptionValue(msg)
    message_type: Any = field.message_type
    if message_type and message_type.full_name != value.DESCRIPTOR.full_name:
        found = value.DESCRIPTOR.full_name
        msg = f"expected {message_type.full_name}, the graph has {found}"
        raise BadOptionValue(msg)


def _kind(field: Any) -> type:
    if field.message_type is not None:
        return object
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes
    return {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: float,
        FieldDescriptor.CPPTYPE_FLOAT: float,
        FieldDescriptor.CPPTYPE_STRING: str,
    }.get(field.cpp_type, int)


def _kind_of(value: Any) -> type:
    kinds = (bool, float, int, str, bytes)
    return next((each for each in kinds if isinstance(value, each)), object)
