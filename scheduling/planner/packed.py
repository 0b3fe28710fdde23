"""Pack a vector of resources into one integer, so that one subtraction tests all dimensions.

Each dimension has a field of 48 bits whose top bit no amount reaches. Packing is linear, so packed
vectors add and subtract like vectors. A dimension below zero sets the top bit of its field:
`(free - request) & OVERDRAWN` is zero if and only if the request fits.
"""

from collections.abc import Sequence

from scheduling.planner.resources import Resources

_BITS = 48
_MASK = (1 << _BITS) - 1
_TOP = 1 << (_BITS - 1)
OVERDRAWN = _TOP | _TOP << _BITS | _TOP << 2 * _BITS
_AMOUNT_BITS = 44  # of one amount; the sum of eight amounts does not reach the top bit
LARGEST = (1 << _AMOUNT_BITS) - 1  # amount of a dimension


def pack(vector: Resources) -> int:
    cpu, ram, gpu = vector.cpu_milli, vector.ram_mib, vector.gpu
    if (cpu | ram | gpu) >> _AMOUNT_BITS:
        raise ValueError(f"{vector}: an amount is negative or too large to plan with")
    return cpu | ram << _BITS | gpu << 2 * _BITS


def unpack(packed: int) -> Resources:
    """Return the vector; its dimensions may be negative."""
    cpu = _signed(packed & _MASK)
    packed = (packed - cpu) >> _BITS
    ram = _signed(packed & _MASK)
    return Resources(cpu, ram, (packed - ram) >> _BITS)


def dimensions(packed: int) -> tuple[int, int, int]:
    """Return CPU, RAM and GPU of a vector without negative dimensions."""
    return packed & _MASK, packed >> _BITS & _MASK, packed >> 2 * _BITS


def most(amounts: Sequence[int]) -> int:
    """Return the most of each dimension that one of the vectors has; none may be negative."""
    cpu = max([packed & _MASK for packed in amounts], default=0)
    ram = max([packed >> _BITS & _MASK for packed in amounts], default=0)
    gpu = max([packed >> 2 * _BITS for packed in amounts], default=0)
    return cpu | ram << _BITS | gpu << 2 * _BITS


def least(amounts: Sequence[int]) -> int:
    """Return the least of each dimension that one of the vectors has; none may be negative."""
    cpu = min([packed & _MASK for packed in amounts], default=0)
    ram = min([packed >> _BITS & _MASK for packed in amounts], default=0)
    gpu = min([packed >> 2 * _BITS for packed in amounts], default=0)
    return cpu | ram << _BITS | gpu << 2 * _BITS


def gpus(packed: int) -> int:
    """Return the GPUs of a vector without negative dimensions."""
    return packed >> 2 * _BITS


def beyond(free: int, reserved: int) -> int:
    """Return what is free beyond `reserved`, at least 0 in each dimension."""
    left = unpack(free - reserved)
    return pack(Resources(max(left.cpu_milli, 0), max(left.ram_mib, 0), max(left.gpu, 0)))


def _signed(field: int) -> int:
    return field - (1 << _BITS) if field & _TOP else field
