"""Pictures and files made by hand, whose every pixel is known."""

import functools
import struct
import zlib

import torch
from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Four plain quarters, so that every turn and mirroring of the picture can be told from the corners."""
    picture = Image.new("RGB", size, RED)
    half = (size[0] // 2, size[1] // 2)
    picture.paste(GREEN, (half[0], 0, size[0], half[1]))
    picture.paste(BLUE, (0, half[1], half[0], size[1]))
    picture.paste(WHITE, (half[0], half[1], *size))
    return picture


def as_held(upright: Image.Image, orientation: int) -> Image.Image:
    """The upright scene as a camera stores it that is held so that EXIF says `orientation`."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright.transpose(undo[orientation]) if orientation in undo else upright


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(1, 3, H, W) whose values are exact in 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator) / 255


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG made by hand: what Pillow does not write (16-bit colour) or would refuse to (a lie about the size)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@functools.cache  # a profile holds the second that it was made in
def swapped_profile() -> bytes:
    """A space like sRGB, but its first channel is the blue light and its third the red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
