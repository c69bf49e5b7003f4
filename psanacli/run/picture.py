"""Small pictures with labels as PNG, made of an array and a font of dots; nothing but numpy and zlib."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

GLYPH_WIDTH, GLYPH_HEIGHT = 6, 10
"""Room that a letter takes, in dots, its gaps included."""

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

# A letter is nine rows of five dots, top first: a digit of base 32 is a row; seven rows stand on the line.
_FONT = """
0 EHJLPPHE0 1 4C4444E00 2 EH1264V00 3 V2421HE00 4 26AIV2200 5 VGU11HE00 6 68GUHHE00 7 V12488800 8 EHHEHHE00 9 EHHF12C00
A EHHVHHH00 B UHHUHHU00 C EHGGGHE00 D SIHHHIS00 E VGGUGGV00 F VGGUGGG00 G EHGNHHF00 H HHHVHHH00 I E44444E00 J 72222IC00
K HIKOKIH00 L GGGGGGV00 M HRLLHHH00 N HHPLJHH00 O EHHHHHE00 P UHHUGGG00 Q EHHHLID00 R UHHUKIH00 S FGGE11U00 T V44444400
U HHHHHHE00 V HHHHHA400 W HHHLLLA00 X HHA4AHH00 Y HHHA44400 Z V1248GV00 a 00E1FHF00 b GGMPHHU00 c 00EGGHE00 d 11DJHHF00
e 00EHVGE00 f 698S88800 g 00FHHF1E0 h GGMPHHH00 i 40C444E00 j 20622IC00 k GGIKOKI00 l C44444E00 m 00QLLHH00 n 00MPHHH00
o 00EHHHE00 p 00UHHUGG0 q 00FHHF110 r 00MPGGG00 s 00FGE1U00 t 88S889600 u 00HHHJD00 v 00HHHA400 w 00HHLLA00 x 00HA4AH00
y 00HHHF1E0 z 00V248V00 . 00000CC00 : 0CC0CC000 , 00000C480 - 000V00000 _ 0000000V0 | 444444440 / 011248G00 ( 248884200
) 842224800 % OP248J300 + 044V44000 = 00V0V0000 * 04LELK400 ? EH1240400 ! 444440400 # AAVAVAA00 [ E88888E00 ] E22222E00
"""


@cache
def _glyphs() -> dict[str, NDArray[np.bool_]]:
    words = _FONT.split()
    glyphs = {" ": np.zeros((GLYPH_HEIGHT, GLYPH_WIDTH), np.bool_)}
    for letter, digits in zip(words[::2], words[1::2], strict=True):
        dots = np.zeros((GLYPH_HEIGHT, GLYPH_WIDTH), np.bool_)
        for row, digit in enumerate(digits):
            value = int(digit, 32)
            dots[row, :5] = [value >> bit & 1 for bit in (4, 3, 2, 1, 0)]
        glyphs[letter] = dots
    return glyphs


class Canvas:
    """A picture that is drawn on: white, `height` x `width` dots of red, green and blue."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Pixels = np.full((height, width, 3), 255, np.uint8)

    def fill(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """Fill a rectangle."""
        self.pixels[max(y, 0) : y + height, max(x, 0) : x + width] = colour

    def place(self, x: int, y: int, pixels: Pixels) -> None:
        """Place a smaller picture, which has to fit."""
        self.pixels[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels

    def write(self, x: int, y: int, text: str, colour: Colour = (40, 40, 40)) -> None:
        """Write text from its upper left corner; a letter that the font lacks shows as a question mark."""
        glyphs = _glyphs()
        for letter in text:
            dots = glyphs.get(letter, glyphs["?"])
            room = self.pixels[max(y, 0) : y + GLYPH_HEIGHT, max(x, 0) : x + GLYPH_WIDTH]
            room[dots[: room.shape[0], : room.shape[1]]] = colour
            x += GLYPH_WIDTH

    def png(self) -> bytes:
        """Return the picture as the bytes of a PNG file."""
        height, width, _ = self.pixels.shape
        rows = np.zeros((height, 1 + 3 * width), np.uint8)  # the first byte of a row is its filter: none
        rows[:, 1:] = self.pixels.reshape(height, 3 * width)
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
