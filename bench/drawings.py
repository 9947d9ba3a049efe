"""Drawings of about the bundled model's own size, as PNG files: coloured bands and a disc."""

import struct
import zlib


def drawing(i, size=64):
    """Another for each i below 65,536."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            inside = (x - size // 2) ** 2 + (y - size // 2) ** 2 < (size // 3) ** 2
            rows += bytes([(i * 40 + 200) % 256, (i * 90) % 256, (60 + i // 256) % 256] if inside else [255, 255, (y // 8 * 16 + i) % 256])

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
