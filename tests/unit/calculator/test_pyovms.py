"""Laws of pyovms.Tensor: a named, read-only view that costs and leaks nothing."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref
from array import array as packed
from typing import Any

import numpy as np
import pytest

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.tensor import Datatype

# numpy's letters of elements, all of them. By the letter alone `l` and `L` are INT32 and
# UINT32 to OVMS, whatever their size is; here the size counts.
DATATYPES = {
    "?": "BOOL",
    "B": "UINT8",
    "H": "UINT16",
    "I": "UINT32",
    "L": "UINT64",
    "Q": "UINT64",
    "b": "INT8",
    "h": "INT16",
    "i": "INT32",
    "l": "INT64",
    "n": "INT64",
    "p": "INT64",
    "q": "INT64",
    "N": "UINT64",
    "P": "UINT64",
    "e": "FP16",
    "f": "FP32",
    "d": "FP64",
}
FORMATS = {
    "g": "g",
    "F": "Zf",
    "D": "Zd",
    "G": "Zg",
    "S3": "3s",
    "U3": "3w",
    "V3": "3x",
}
NO_MEMORY = "OMm"
READONLY = "is read-only|not writable|not writeable"


def test_every_letter_of_numpy_has_a_law_here():
    mine = {*DATATYPES, *(each[0] for each in FORMATS), *NO_MEMORY}
    assert set(np.typecodes["All"]) <= mine


@pytest.mark.parametrize("letter", sorted({*np.typecodes["All"]} & {*DATATYPES}))
def test_the_datatype_comes_from_the_elements(letter: str):
    array = np.zeros((2, 3), letter)
    tensor = Tensor("x", array)
    assert tensor.datatype == DATATYPES[letter]
    # What the datatype says of the size is what is sent.
    assert 6 * Datatype[tensor.datatype].dtype.itemsize == tensor.size == array.nbytes


@pytest.mark.parametrize(("dtype", "expected"), [*FORMATS.items(), (">f4", ">f")])
def test_elements_without_a_datatype_give_their_format(dtype: str, expected: str):
    assert Tensor("x", np.zeros(2, dtype)).datatype == expected


def test_so_do_the_elements_of_any_buffer():
    assert Tensor("x", memoryview(b"abc").cast("c")).datatype == "c"
    assert Tensor("x", packed("L", [1, 2])).datatype == "UINT64"
    assert Tensor("x", memoryview(bytes(8)).cast("l")).datatype == "INT64"


@pytest.mark.parametrize("letter", NO_MEMORY)
def test_elements_that_are_no_memory_are_refused(letter: str):
    with pytest.raises((TypeError, ValueError)):
        Tensor("x", np.zeros(2, letter))


@pytest.mark.parametrize(
    "buffer", [b"abc", bytearray(b"abc"), memoryview(b"abc")], ids=["b", "ba", "mv"]
)
def test_bytes_are_uint8_in_one_dimension(buffer: bytes):
    tensor = Tensor("x", buffer)
    assert (tensor.datatype, tensor.shape, tensor.size) == ("UINT8", (3,), 3)
    assert bytes(tensor) == b"abc"
    assert tensor.ref_obj is buffer


def test_an_empty_buffer_is_a_tensor():
    tensor = Tensor("x", b"")
    assert (tensor.shape, tensor.size, bytes(tensor)) == ((0,), 0, b"")
    assert Tensor("x", np.zeros((0, 3), "f")).shape == (0, 3)


def test_a_scalar_is_a_tensor_without_dimensions():
    tensor = Tensor("x", np.float32(3))
    assert (tensor.shape, tensor.datatype) == ((), "FP32")
    assert np.array(tensor) == 3


def test_shape_and_datatype_are_what_the_author_says_and_the_buffer_keeps_its_own():
    tensor = Tensor("x", b"\x01\x00\x00\x00a", [1], "BYTES")
    assert (tensor.name, tensor.shape, tensor.datatype) == ("x", (1,), "BYTES")
    assert memoryview(tensor).shape == (5,)
    assert np.array(tensor).tolist() == [1, 0, 0, 0, 97]
    assert Tensor("x", b"ab", datatype="mine").datatype == "mine"


def test_consumers_see_the_buffer_itself():
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    tensor: Any = Tensor("x", array)
    view = memoryview(tensor)
    assert (view.format, view.shape, view.strides) == ("e", (2, 3), (6, 2))
    assert np.shares_memory(np.asarray(tensor), array)
    assert np.shares_memory(np.array(tensor, copy=False), array)
    assert np.array_equal(np.array(tensor), array)
    assert np.array_equal(np.frombuffer(tensor, np.float16), array.reshape(-1))
    assert bytes(tensor) == array.tobytes()
    assert tensor.data == view
    assert tensor.ptr == array.ctypes.data
    assert tensor.size == 12
    assert tensor.ref_obj is array


def test_scattered_memory_reads_in_order():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2]
    tensor = Tensor("x", array.T)
    assert bytes(tensor) == array.T.tobytes()
    assert np.array_equal(np.array(tensor), array.T)


def test_nobody_writes_through_a_tensor():
    array = np.zeros(3, np.uint8)
    tensor: Any = Tensor("x", array)
    assert memoryview(tensor).readonly and tensor.data.readonly
    assert not np.asarray(tensor).flags.writeable
    assert not np.frombuffer(tensor, np.uint8).flags.writeable
    with pytest.raises((TypeError, ValueError, BufferError), match=READONLY):
        (ctypes.c_char * 3).from_buffer(tensor)
    array[0] = 1  # its owner still may
    assert bytes(tensor) == b"\x01\x00\x00"


@pytest.mark.parametrize(
    "attribute", ["name", "data", "shape", "datatype", "size", "ptr", "ref_obj"]
)
def test_attributes_cannot_be_set(attribute: str):
    tensor = Tensor("x", b"abc")
    with pytest.raises(AttributeError):
        setattr(tensor, attribute, getattr(tensor, attribute))
    with pytest.raises(AttributeError):
        delattr(tensor, attribute)


def test_a_tensor_offers_nothing_that_takes_the_memory_away():
    tensor = Tensor("x", b"abc")
    public = {name for name in dir(tensor) if not name.startswith("_")}
    public = {name for name in public if hasattr(tensor, name)}
    assert public == {"name", "data", "shape", "datatype", "size", "ptr", "ref_obj"}


@pytest.mark.parametrize(
    "wrong", [5, [1, 2], "text", None, np.array([None]), np.zeros(1, "M8[s]")], ids=repr
)
def test_what_has_no_memory_to_show_is_refused(wrong: Any):
    with pytest.raises((TypeError, ValueError)):
        Tensor("x", wrong)


@pytest.mark.parametrize("length", [2**63, -(2**63) - 1, 2**70])
def test_a_shape_that_no_message_can_hold_is_refused(length: int):
    with pytest.raises(ValueError, match="integers of 64 bits"):
        Tensor("x", b"abc", [1, length])
    assert Tensor("x", b"abc", [2**63 - 1, -(2**63)]).shape == (2**63 - 1, -(2**63))


@pytest.mark.parametrize("shape", [[1.5], ["3"], "3", 3, [None]], ids=repr)
def test_a_shape_is_made_of_integers(shape: Any):
    with pytest.raises(TypeError):
        Tensor("x", b"abc", shape)
    assert Tensor("x", b"abc", np.array([1, 3])).shape == (1, 3)
    assert Tensor("x", b"abc", (np.int32(1), 3)).shape == (1, 3)


@pytest.mark.parametrize("said", [{"name": "\ud800"}, {"datatype": "\udfff"}])
def test_text_that_no_message_can_hold_is_refused(said: dict[str, str]):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Tensor(**{"name": "é", "buffer": b"", "datatype": "ü", **said})


def test_names_are_text():
    number: Any = 1
    with pytest.raises(TypeError, match="name must be str, not int"):
        Tensor(number, b"")
    text: Any = b"FP32"
    with pytest.raises(TypeError, match="datatype must be str, not bytes"):
        Tensor("x", b"", datatype=text)


def test_a_view_keeps_the_memory_alive():
    array = np.arange(4)
    gone = weakref.ref(array)
    view = memoryview(Tensor("x", array))
    del array
    gc.collect()
    assert view.tolist() == [0, 1, 2, 3]
    assert gone() is not None
    del view
    gc.collect()
    assert gone() is None


def test_a_tensor_in_a_cycle_is_collected():
    class Node(Tensor):
        me: object

    array = np.arange(4)
    gone = weakref.ref(array)
    node = Node("x", array)
    node.me = [node, memoryview(node), node.data]
    del node, array
    gc.collect()
    assert gone() is None


def test_a_subclass_is_a_tensor_as_well():
    class Named(Tensor):
        def upper(self) -> str:
            return self.name.upper()

    tensor = Named("x", b"abc")
    assert tensor.upper() == "X"
    assert bytes(tensor) == b"abc"


def test_a_hundred_thousand_exports_leave_no_reference_behind():
    array = np.zeros(8, np.float32)
    tensor: Any = Tensor("x", array)
    watched = (array, tensor, Tensor)
    before = [sys.getrefcount(each) for each in watched]
    for _ in range(100_000):
        memoryview(tensor)
    for _ in range(10_000):
        np.frombuffer(tensor, np.float32)
        bytes(Tensor("y", array))
    assert [sys.getrefcount(each) for each in watched] == before


def test_threads_may_share_a_tensor():
    tensor = Tensor("x", np.arange(100))
    right: list[bool] = []

    def use() -> None:
        right.extend(
            np.asarray(tensor)[99] == 99 and len(bytes(tensor)) == 800
            for _ in range(2_000)
        )

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 16_000 and all(right)


def test_the_interpreter_finds_no_fault_in_development_mode():
    script = (
        "import gc, ctypes, numpy as np\n"
        "from ovms_mp.calculator.pyovms import Tensor\n"
        "class Sub(Tensor): pass\n"
        "for _ in range(2000):\n"
        "    t = Sub('x', np.arange(3.0)); t.me = [t, memoryview(t)]\n"
        "    np.frombuffer(t); bytes(t)\n"
        "    try: ctypes.c_char.from_buffer(t)\n"
        "    except (TypeError, ValueError, BufferError): pass\n"
        "    gc.collect(0)\n"
        "del t; gc.collect(); print('fine')\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="nothing is borrowed there")
def test_the_type_that_was_borrowed_is_as_it_was():
    from pickle import PickleBuffer

    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (PickleBuffer,), {})
