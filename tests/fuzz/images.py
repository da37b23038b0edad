"""Pictures in every format that is read, damaged; and files that only look like pictures."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .case import Case
from .damage import damaged

ROUNDS = 15


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pictures() -> dict[str, bytes]:
    """Return a small valid picture of every kind, by file name."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 65536, (24, 20)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [rgb, rgb.rotate(90, expand=True).resize(rgb.size)]
    return {
        "rgb.png": _encoded(rgb, "PNG"),
        "grey.png": _encoded(rgb.convert("L"), "PNG"),
        "palette.png": _encoded(rgb.quantize(16), "PNG"),
        "alpha.png": _encoded(rgb.convert("RGBA"), "PNG"),
        "grey-alpha.png": _encoded(rgb.convert("LA"), "PNG"),
        "bit.png": _encoded(rgb.convert("1"), "PNG"),
        "grey16.png": _encoded(grey16, "PNG"),
        "rgb.jpg": _encoded(rgb, "JPEG"),
        "progressive.jpg": _encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": _encoded(rgb.convert("CMYK"), "JPEG"),
        "turned.jpg": _encoded(rgb, "JPEG", exif=exif),
        "lossy.webp": _encoded(rgb, "WEBP"),
        "lossless.webp": _encoded(rgb, "WEBP", lossless=True),
        "one.gif": _encoded(rgb, "GIF"),
        "animated.gif": _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.png": _encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "rgb.bmp": _encoded(rgb, "BMP"),
        "raw.tif": _encoded(rgb, "TIFF"),
        "lzw.tif": _encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": _encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "grey16.tif": _encoded(grey16, "TIFF"),
        "jpeg.tif": _encoded(rgb, "TIFF", compression="jpeg"),
    }


def _command(folder: Path, choice: str, *more: str) -> list[str]:
    return [
        "train",
        "--data",
        str(folder / "data"),
        "--out",
        str(folder / "out"),
        "--strategy",
        "none",
        "--epochs",
        "1",
        "--set",
        "training.batch_size=2",
        "--on-bad-image",
        choice,
        *more,
    ]


def _with_good_ones(folder: Path) -> Path:
    """Write two classes of two good images and return the folder of the first."""
    for name in ("cat", "dog"):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8), (40 * number, 90, 9)).save(folder / "data" / name / f"{number}.png")
    return folder / "data" / "cat"


def _case(name: str, put: Callable[[Path], object], choice: str, *more: str) -> Case:
    def build(folder: Path) -> list[str]:
        put(_with_good_ones(folder))
        return _command(folder, choice, *more)

    return Case(f"image {name} ({choice})", build)


def _bytes(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def cases() -> Iterator[Case]:
    """Yield damaged pictures, every other one to be skipped, then what was written by hand, both ways.

    The former are in dry runs, which train a little and write nothing; the latter train to the end.
    """
    number = 0
    for name, data in pictures().items():
        yield _case(f"{name} whole", _bytes(name, data), "refuse")
        for seed in range(ROUNDS):
            number += 1
            choice = "skip" if number % 2 else "refuse"
            yield _case(f"{name} {seed}", _bytes(f"bad-{name}", damaged(data, 1000 * number + seed)), choice, "--dry-run")
    for name, put in by_hand().items():
        for choice in ("refuse", "skip"):
            yield _case(name, put, choice)


def _png_header(width: int, height: int, rest: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rest or zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _link(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


def by_hand() -> dict[str, Callable[[Path], object]]:
    """Return files that are no pictures, or too much of one."""
    good = pictures()
    gif_bomb = (
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"
    )
    return {
        "zero bytes": _bytes("a.png", b""),
        "one byte": _bytes("a.jpg", b"\xff"),
        "text": _bytes("a.png", b"hello\n"),
        "html": _bytes("a.jpg", b"<!doctype html><title>404</title>"),
        "svg": _bytes("a.png", b"<svg onload='alert(1)'/>"),
        "postscript": _bytes("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        "pdf": _bytes("a.tif", b"%PDF-1.7\n"),
        "zip": _bytes("a.webp", b"PK\x03\x04" + bytes(60)),
        "bomb.png": _bytes("a.png", _png_header(60_000, 60_000)),
        "bomb.gif": _bytes("a.gif", gif_bomb),
        "huge.png": _bytes("a.png", _png_header(2**31 - 1, 2**31 - 1)),
        "flat.png": _bytes("a.png", _png_header(0, 5)),
        "bomb.bmp": _bytes("a.bmp", good["rgb.bmp"][:18] + struct.pack("<ii", 30_000, -30_000) + good["rgb.bmp"][26:]),
        "short.png": _bytes("a.png", _png_header(400, 400)),
        "riff": _bytes("a.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40)),
        "float.tif": _bytes("a.tif", _encoded(Image.fromarray(np.ones((4, 4), dtype=np.float32)), "TIFF")),
        "link out": _link("a.png", "/etc/hostname"),
        "link to nothing": _link("a.png", "nothing"),
        "loop": _link("a.png", "a.png"),
        "link to a folder": _link("more", "../dog"),
        "device": _link("a.png", "/dev/zero"),
        "pipe": lambda folder: os.mkfifo(folder / "a.png"),
        "name of escapes": _bytes("\x1b[31m\u202e\n<b>.png", b"x"),
        "name of bytes": _bytes(os.fsdecode(b"\xff\xfe.png"), b"x"),
        "quoted name": _bytes("a'\"`$(id);&|.png", b"x"),
    }
