"""What tells one firmware from another in the files that runs leave."""

from __future__ import annotations

import hashlib

from firmware.build import image_path

IMAGES = ("monitor", "gate", "probe")


def firmware_digest() -> str:
    """SHA-256 of the images that a phone boots, in hexadecimal. Raises StaleBuildError."""
    digest = hashlib.sha256()
    folder = image_path(IMAGES[0]).parent
    for name in IMAGES:
        content = (folder / f"{name}.elf").read_bytes()
        digest.update(f"{name} {len(content)}\0".encode() + content)
    return digest.hexdigest()
