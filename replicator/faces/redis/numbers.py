"""Numbers in requests and in values, read and written as Redis does.

Whole numbers have 64 bits and one spelling. INCRBYFLOAT counts with x86's ``long double``, whose
significand has 64 bits, and writes 17 decimals: 10.6 + 0.1 is 10.7 there, as it is not with the 53
bits of Python's float. So it is done here with fractions, rounded to 64 bits where C rounds.
"""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from replicator.faces.stepwise import CommandError

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 63) - 1

_CHARACTERS_MAX = 20
_SIGNIFICAND_BITS = 64
_EXPONENT_MAX = 4932
"""Of 10, in the largest ``long double``."""
_DECIMALS = 17
_FLOAT_CHARACTERS_MAX = 5120
_INFINITE: Final = frozenset(
    sign + word for sign in (b"", b"+", b"-") for word in (b"inf", b"infinity")
)


def integer(text: bytes) -> int:
    """A whole number of 64 bits.

    Raises:
        CommandError: it is none, or spelt in another way than it would be written.
    """
    try:
        if len(text) <= _CHARACTERS_MAX:
            number = int(text)
            if b"%d" % number == text and INTEGER_MIN <= number <= INTEGER_MAX:
                return number
    except ValueError:
        pass
    raise CommandError("ERR value is not an integer or out of range")


def real(text: bytes) -> Fraction:
    """A decimal number, rounded to what a ``long double`` holds.

    Raises:
        CommandError: it is none.
    """
    if text.lower() in _INFINITE:
        raise CommandError("ERR increment would produce NaN or Infinity")
    try:
        if len(text) > _FLOAT_CHARACTERS_MAX or b"_" in text or text != text.strip():
            raise ValueError
        number = Decimal(text.decode("ascii"))
        if not number.is_finite() or (number and abs(number.adjusted()) > _EXPONENT_MAX):
            raise ValueError
    except (ValueError, InvalidOperation):
        raise CommandError("ERR value is not a valid float") from None
    return rounded(Fraction(number)) if number else Fraction(0)


def rounded(number: Fraction) -> Fraction:
    """The nearest number with a significand of 64 bits; in the middle, the even one."""
    if not number:
        return number
    bits = abs(number.numerator).bit_length() - number.denominator.bit_length()
    unit = Fraction(2) ** (bits - _SIGNIFICAND_BITS)
    if abs(number) >= unit * (1 << _SIGNIFICAND_BITS):
        unit *= 2
    return round(number / unit) * unit


def written(number: Fraction) -> bytes:
    """A number with at most 17 decimals, without zeros at its end."""
    digits = abs(round(number * 10**_DECIMALS))
    whole, decimals = divmod(digits, 10**_DECIMALS)
    text = f"{whole}.{decimals:0{_DECIMALS}}".rstrip("0").rstrip(".")
    return (f"-{text}" if number < 0 and digits else text).encode()
