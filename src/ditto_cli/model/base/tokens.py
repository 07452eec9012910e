"""A base's name -> how many tokens a text has for it, without its weights and without torch.

The tokenizer alone is read: tokenizer.json of a local folder, of the hub's cache or of the converted embedded base; for
an embedded base that is not converted yet, the vocabulary inside its GGUF file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from ditto_cli.config import BaseSettings
from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID, EMBEDDED_ID, conversion_place, find_gguf

_TOKENIZER_FILE = "tokenizer.json"
# GGUF's types of values: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def token_counter(base: BaseSettings, cache: Path) -> Callable[[str], int] | None:
    """What counts a text's tokens as training does; None where the base's tokenizer is not here, or of an older kind.

    Nothing is downloaded or converted, and nothing is said: what is wrong with a base, loading it tells.
    """
    if base.id != EMBEDDED_ID:
        return _from_file(_local_file(base.id, base.revision))
    gguf = find_gguf()
    if gguf is None:
        return _from_file(_local_file(EMBEDDED_HUB_ID, None))
    return _from_file(conversion_place(gguf, cache) / _TOKENIZER_FILE) or _from_gguf(gguf)


def _local_file(base_id: str, revision: str | None) -> Path | None:
    """tokenizer.json of a local folder or of a hub model in the cache."""
    folder = Path(base_id).expanduser()
    if folder.is_dir():
        return folder / _TOKENIZER_FILE
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base_id, _TOKENIZER_FILE, revision=revision)
    except (HFValidationError, OSError, ValueError):
        return None
    return Path(found) if isinstance(found, str) else None


def _from_file(path: Path | None) -> Callable[[str], int] | None:
    from tokenizers import Tokenizer

    if path is None or not path.is_file():
        return None
    try:
        return _counter(Tokenizer.from_file(str(path)))
    except Exception:  # the library raises that very class for a damaged file
        return None


@cache
def _from_gguf(gguf: Path) -> Callable[[str], int] | None:
    """Byte-level BPE of the file's own tokens and merges, as transformers converts it (the gguf library takes 3 s)."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    try:
        with gguf.open("rb") as stream:
            metadata = _read_metadata(stream)
    except (OSError, ValueError, KeyError, struct.error):
        return None
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        return None
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _counter(tokenizer)


def _counter(tokenizer: Any) -> Callable[[str], int]:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # a person's text is never read as control tokens
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _read_metadata(stream: BinaryIO) -> dict[str, Any]:
    """Keys and values at the head of a GGUF file, versions 2 and 3."""
    if stream.read(4) != b"GGUF" or _number(stream, "I") not in (2, 3):
        raise ValueError("not a GGUF file of a known version")
    _number(stream, "Q")  # how many tensors there are
    metadata = {}
    for _ in range(_number(stream, "Q")):
        key = _string(stream)
        metadata[key] = _value(stream, _number(stream, "I"))
    return metadata


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind == _ARRAY:
        inner, num = _number(stream, "I"), _number(stream, "Q")
        return [_value(stream, inner) for _ in range(num)]
    return _number(stream, _NUMBERS[kind])


def _string(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "Q")).decode("utf-8")


def _number(stream: BinaryIO, code: str) -> Any:
    layout = struct.Struct(f"<{code}")
    return layout.unpack(stream.read(layout.size))[0]
