"""A text in a side packet as a number: the StringTo…Calculators.

    node {
      calculator: "StringToIntCalculator"
      input_side_packet: "width_text"
      output_side_packet: "width"
    }

As MediaPipe's: decimal, with a sign or without, white space around it. Int and Int32
have 32 bits, Int64 has 64; Uint, Uint32 and Uint64 take no minus sign. What is no number
or has too many digits is an error when a run begins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from ovms_mp.calculator import Calculator, SideInput, SideOutput

if TYPE_CHECKING:
    from ovms_mp.calculator import Context

_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)[ \t\n\v\f\r]*")


class StringToIntCalculator(Calculator):
    """Reads 32 bits with a sign."""

    bits: ClassVar[int] = 32
    is_signed: ClassVar[bool] = True

    text = SideInput(str)
    number = SideOutput(int)

    def open(self, ctx: Context) -> None:
        """All there is to do."""
        found = _NUMBER.fullmatch(ctx.side(self.text))
        if found is None or len(found[2].lstrip("0")) > 20:  # longer than 2**64
            raise ValueError("The string could not be parsed as an integer.")
        number = int(found[1] + found[2])
        low = -(2 ** (self.bits - 1)) if self.is_signed else 0
        is_negative = found[1] == "-" and not self.is_signed
        if is_negative or not low <= number < low + 2**self.bits:
            raise ValueError("The string could not be parsed as an integer.")
        ctx.set_side(self.number, number)


class StringToInt64Calculator(StringToIntCalculator):
    """Reads 64 bits with a sign."""

    bits = 64


class StringToUintCalculator(StringToIntCalculator):
    """Reads 32 bits without a sign."""

    is_signed = False


class StringToUint64Calculator(StringToUintCalculator):
    """Reads 64 bits without a sign."""

    bits = 64
