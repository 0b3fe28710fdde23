"""Compress a text piece by piece, so that pieces that stay the same are compressed once.

Each piece is compressed without reference to the others and ends at a byte, so the compressed
pieces, one after the other, are one ordinary zlib stream. Only its checksum depends on all of them,
and it follows from theirs.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

_ADLER_BASE = 65521
_HEADER = b"\x78\x9c"
_END = b"\x03\x00"  # an empty last block


class Piece(NamedTuple):
    """A piece of a zlib stream, with the checksum and the number of the bytes in it."""

    deflated: bytes
    adler: int
    size: int


def deflate(text: bytes) -> Piece:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)
    return Piece(deflated, zlib.adler32(text), len(text))


def joined(pieces: Iterable[Piece]) -> bytes:
    """Return the zlib stream of the pieces."""
    parts, adler = [_HEADER], zlib.adler32(b"")
    for piece in pieces:
        parts.append(piece.deflated)
        adler = _combined(adler, piece.adler, piece.size)
    return b"".join([*parts, _END, adler.to_bytes(4, "big")])


def _combined(first: int, second: int, size: int) -> int:
    """Return the Adler-32 of two texts, of which the second has this size, from those of each."""
    low, high = first & 0xFFFF, first >> 16
    low_of_both = (low + (second & 0xFFFF) - 1) % _ADLER_BASE
    high_of_both = (high + (second >> 16) + size * (low - 1)) % _ADLER_BASE
    return high_of_both << 16 | low_of_both
