"""A base's name -> how many tokens a text has for it, without its weights and without torch.

The tokenizer alone is read: tokenizer.json of a local folder, of the hub's cache or of the converted embedded base.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ditto_cli.config import BaseSettings
from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID, EMBEDDED_ID, conversion_place, find_gguf

_TOKENIZER_FILE = "tokenizer.json"


def token_counter(base: BaseSettings, cache: Path) -> Callable[[str], int] | None:
    """What counts a text's tokens as training does; None where the base's tokenizer is not here, or of an older kind.

    Nothing is downloaded or converted, and nothing is said: what is wrong with a base, loading it tells.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(_tokenizer_file(base, cache)))
    except Exception:  # the libraries raise that very class for a damaged file, and others for what is no base's name
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # a person's text is never read as control tokens
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _tokenizer_file(base: BaseSettings, cache: Path) -> object:
    """Where it lies or would lie; of a hub model that is not cached, what the library says instead."""
    base_id, revision = base.id, base.revision
    if base_id == EMBEDDED_ID:
        gguf = find_gguf()
        if gguf is not None:
            return conversion_place(gguf, cache) / _TOKENIZER_FILE
        base_id, revision = EMBEDDED_HUB_ID, None
    folder = Path(base_id).expanduser()
    if folder.is_dir():
        return folder / _TOKENIZER_FILE
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(base_id, _TOKENIZER_FILE, revision=revision)
