"""A handler that does whatever it is told, and what must come of it."""

from __future__ import annotations

from typing import Final, NamedTuple

HANDLER: Final = r"""
import ctypes, os, re, sys, threading, time
import numpy as np
from pyovms import Tensor

class Base(BaseException):
    pass

class OvmsPythonModel:
    leaked = []

    def execute(self, inputs):
        word = bytes(inputs[0]).decode()
        if word.startswith("yield"):
            return self.generate(word)
        return getattr(self, word, self.say)()

    def say(self):
        return [Tensor("out", b"said")]

    def generate(self, word):
        yield self.say()
        yield self.say()
        if word == "yield late":
            raise ValueError("late")
        while True:
            yield self.say()

    def raise_(self):
        raise ValueError("no")

    def base(self):
        raise Base("of all")

    def exit(self):
        sys.exit("enough")

    def interrupt(self):
        raise KeyboardInterrupt

    def recurse(self):
        return self.recurse()

    def hard_exit(self):
        os._exit(3)

    def crash(self):
        ctypes.string_at(0)

    def loop(self):
        while True:
            pass

    def regex(self):
        re.match("(a+)+$", "a" * 60 + "b")

    def sleep(self):
        time.sleep(3600)

    def nap(self):
        time.sleep(1)
        return self.say()

    def allocate(self):
        return [Tensor("out", np.ones(2 << 30, np.uint8))]

    def shout(self):
        for _ in range(1000):
            print("x" * 99 + "\n" + "y" * 99_899)
        return self.say()

    def whisper(self):
        os.write(1, b"beneath Python\n")
        return self.say()

    def fork(self):
        os.fork()
        return self.say()

    def leak(self):
        # As many in all, however often it is asked: fifty stacks are below the limit.
        while len(self.leaked) < 50:
            each = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
            each.start()
            self.leaked.append(each)
        return self.say()

    def none(self):
        return None

    def text(self):
        return "said"

    def numbers(self):
        return [1]

    def stranger(self):
        return [Tensor("stranger", b"")]

    def nan(self):
        return [Tensor("out", b"x", shape=[float("nan")])]

    def patch(self):
        sys.modules["grpc"] = None
        os.getpid = lambda: 1 / 0
        try:
            return self.say()
        finally:
            del sys.modules["grpc"]
            os.getpid = type(os)("x") and __import__("posix").getpid

    def babble(self):
        for fd in range(3, 32):
            try:
                os.write(fd, b"\xff" * 8)
            except OSError:
                pass
        time.sleep(3600)

    def finalize(self):
        raise Base("at last")
"""

SAID: Final = ("OK", "")


class Case(NamedTuple):
    """A word, the code that its client hears, and words of the text beside it."""

    word: str
    code: str
    text: str = ""


_CALLED: Final = "INVALID_ARGUMENT"

SURVIVED: Final = (
    Case("raise_", _CALLED, "ValueError: no"),
    Case("base", _CALLED, "Base: of all"),
    Case("exit", _CALLED, "SystemExit: enough"),
    Case("interrupt", _CALLED, "KeyboardInterrupt"),
    Case("recurse", _CALLED, "RecursionError: maximum recursion depth"),
    Case("nap", "OK"),
    Case("shout", "OK"),
    Case("fork", "OK"),
    Case("leak", "OK"),
    Case("none", _CALLED, "it returned NoneType"),
    Case("text", _CALLED, "it returned str"),
    Case("numbers", _CALLED, "contains int, not pyovms.Tensor"),
    Case("stranger", _CALLED, 'tensor "stranger", which is no output stream'),
    Case("nan", _CALLED, "'float' object cannot be interpreted as an integer"),
    Case("patch", "OK"),
    Case("yield late", _CALLED, "ValueError: late"),
)
"""By handlers in the server, too."""

CONTAINED: Final = (
    Case("hard_exit", "UNAVAILABLE", "the node's process ended with exit code 3"),
    Case("crash", "UNAVAILABLE", "the node's process ended by SIGSEGV"),
    Case("allocate", _CALLED, "MemoryError: Unable to allocate 2.00 GiB"),
    Case("whisper", "OK"),
    Case("babble", "UNAVAILABLE", "the node's process sent nonsense"),
)
"""By processes of their own only."""

ENDLESS: Final = (
    Case("loop", "DEADLINE_EXCEEDED", "execute took more than 1.5 s"),
    Case("regex", "DEADLINE_EXCEEDED", "execute took more than 1.5 s"),
    Case("sleep", "DEADLINE_EXCEEDED", "execute took more than 1.5 s"),
)
"""By processes with a time limit only."""
