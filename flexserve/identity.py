"""What tells one firmware from another in the files that runs leave."""

from __future__ import annotations

import hashlib

from firmware.build import image_path

IMAGES = ("monitor", "gate", "probe")


def firmware_digest() -> str:
    """SHA-256 of the images that a phone boots, in hexadecimal. Raises StaleBuildError."""
    digest = hashlib.sha256()
    for name in IMAGES:
        content = image_path(name).read_bytes()
        digest.update(f"{name} {len(content)}\0".encode() + content)
    return digest.hexdigest()
