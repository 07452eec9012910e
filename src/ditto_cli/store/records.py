"""What a training run was -> a checked JSON record, and back; and what makes two base models the same.

A record never holds a demonstration's text: demonstrations are hashed with a key that stays in the store. Every
document carries a digest of itself, and a record those of the weights, so that damage is found before it is used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ditto_cli.config import Settings
from ditto_cli.errors import DamagedError, DiskError, IncompatibleError
from ditto_cli.store.files import fsync_path, list_folder, make_exclusively, make_private_folder, read_bytes
from ditto_cli.types import Demonstration, Preference

SCHEMA_VERSION: Literal[2] = 2
KEY_FILE = "key"
KEY_BYTES = 32

_SEAL = "sha256"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# A stage names a folder, so a damaged record must not be able to name a place outside of its generation.
StageName = Annotated[str, StringConstraints(pattern=r"^(sft|round[1-9][0-9]*)$")]


def _check_utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta(0):
        raise ValueError("must be an ISO 8601 time in UTC")
    return text


UtcTime = Annotated[str, AfterValidator(_check_utc)]


class StoredDocument(BaseModel):
    """What is kept in a JSON file of the store, or is part of it."""

    # A metric that became NaN must not make its record unreadable, so it is stored as the text "NaN".
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class BaseIdentity(StoredDocument):
    """Which base model it is: the digests decide, `id` and `revision` are words for people."""

    source: Literal["hub", "local", "embedded"]
    id: str
    revision: str | None
    config_digest: Sha256
    weights_digest: Sha256
    tokenizer_digest: Sha256
    chat_template_digest: Sha256


class FileDigest(StoredDocument):
    """What a file must be: its size in bytes and its SHA-256."""

    size: int = Field(ge=0)
    sha256: Sha256

    @staticmethod
    def of(data: bytes) -> FileDigest:
        """The digest of a file's content."""
        return FileDigest(size=len(data), sha256=hashlib.sha256(data).hexdigest())


class StageRecord(StoredDocument):
    """One finished stage: its time, its last figures, and what the model then wrote for the watch prompt.

    `seconds` are those since the stage before it was finished, for a round with the samples that it begins with.
    `files` is filled in by the store: file name -> digest.
    """

    stage: StageName
    files: dict[str, FileDigest] = {}
    seconds: float
    metrics: dict[str, float]
    sample: str | None
    warnings: list[str] = []


class AdapterRecord(StoredDocument):
    """All that is known of one generation of an adapter. `name` is what it was trained as, before any renaming."""

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    created: UtcTime
    base: BaseIdentity
    quantize: str
    settings: Settings
    num_demonstrations: int
    num_demonstration_tokens: int
    demonstration_hashes: list[Sha256]
    pair_hashes: list[Sha256] = Field([], description="of the given pairs' prompts and preferred texts")
    rejected_hashes: list[Sha256] = Field([], description="of the same pairs' prompts and other texts")
    folder: str | None = Field(None, description="where the demonstrations lay, to find them again for an evaluation")
    max_new_tokens: int
    watch_prompt: str
    base_sample: str = Field(description="what the base wrote for the watch prompt")
    stages: list[StageRecord] = Field(min_length=1)
    published: StageName
    reason: str = Field("", description="why that stage is published, in a line")
    device: str
    versions: dict[str, str]
    seconds: float

    @model_validator(mode="after")
    def _check_stages(self) -> AdapterRecord:
        if len(set(self.stage_names)) != len(self.stages):
            raise ValueError("a stage is listed twice")
        if self.published not in self.stage_names:
            raise ValueError("the published stage is not one of the stages")
        return self

    @property
    def stage_names(self) -> Sequence[str]:
        """The stages in the order in which they ended."""
        return [stage.stage for stage in self.stages]


StoredModel = TypeVar("StoredModel", bound=BaseModel)


def seal(document: BaseModel) -> bytes:
    """A document as JSON with the digest of its content inside."""
    content = document.model_dump(mode="json")
    return (json.dumps(content | {_SEAL: _content_digest(content)}, indent=2) + "\n").encode()


def read_document(path: Path, model: type[StoredModel]) -> StoredModel:
    """A record from its file; DiskError: missing, unreadable, damaged, or written by a newer ditto."""
    if path.name not in list_folder(path.parent):
        raise missing_file(path)
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError):  # neither JSON nor UTF-8
        raise damaged(path, "not valid JSON") from None
    if not isinstance(content, dict):
        raise damaged(path, "not a JSON object")
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise DiskError(
            f"{path} was written by a newer ditto (format {version}, this one reads {SCHEMA_VERSION}): upgrade ditto."
        )
    if content.pop(_SEAL, None) != _content_digest(content):
        raise damaged(path, "its digest is not that of its content")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise damaged(path, first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """Where a document does not fit its model, and why, without what stands there."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def missing_file(path: Path) -> DamagedError:
    """The error for a file that a complete adapter would have."""
    return DamagedError(f"{path} is missing: train the adapter again, or remove it.")


def damaged(path: Path, reason: str) -> DamagedError:
    """The error for a file whose content cannot be what ditto wrote."""
    return DamagedError(f"{path} is damaged ({reason}): train the adapter again, or remove it.")


def describe_mismatch(recorded: BaseIdentity, loaded: BaseIdentity) -> str | None:
    """The first way in which `loaded` is not the base that an adapter was trained on, as a clause; None if it is.

    The same files from the hub and from a local folder are the same base.
    """
    trained, given = _describe_base(recorded), _describe_base(loaded)
    for part, before, now in (
        ("other weights", recorded.weights_digest, loaded.weights_digest),
        ("another configuration", recorded.config_digest, loaded.config_digest),
    ):
        if before == now:
            continue
        if trained != given:
            return f"it was trained on {trained}, and this base is {given}"
        return f"it was trained on {trained} with {part} than this base has now"
    # The embedded base's files are a library's, which notes there whether it was offline; they come from one GGUF.
    is_embedded = recorded.source == loaded.source == "embedded"
    if recorded.tokenizer_digest != loaded.tokenizer_digest and not is_embedded:
        return f"it was trained with another tokenizer than that of {given}"
    if recorded.chat_template_digest != loaded.chat_template_digest:
        return f"it was trained with another chat template than that of {given}"
    return None


def check_base(adapter: str, record: AdapterRecord, base: BaseIdentity) -> None:
    """Refuse an adapter that was trained on another base."""
    mismatch = describe_mismatch(record.base, base)
    if mismatch is not None:
        raise IncompatibleError(f"Adapter {adapter} does not belong to this base: {mismatch}.")


def keyed_hash(key: bytes, text: str) -> str:
    """HMAC-SHA256 of a text in hex: tells if two runs saw the same text, and nothing to who lacks the key."""
    # A .jsonl escape may spell half a surrogate pair, which plain UTF-8 refuses.
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def learnt_hashes(
    key: bytes, demonstrations: Sequence[Demonstration], pairs: Sequence[Preference]
) -> dict[str, list[str]]:
    """What a record says of the texts that were learnt: each with its prompt, of pairs both sides."""
    return {
        "demonstration_hashes": [keyed_hash(key, f"{one.prompt}\0{one.completion}") for one in demonstrations],
        "pair_hashes": [keyed_hash(key, f"{pair.prompt}\0{pair.chosen}") for pair in pairs],
        "rejected_hashes": [keyed_hash(key, f"{pair.prompt}\0{pair.rejected}") for pair in pairs],
    }


def store_key(home: Path) -> bytes:
    """The store's own random key, made on first use."""
    path = home / KEY_FILE
    if KEY_FILE not in list_folder(home):
        make_private_folder(home)
        make_exclusively(path, secrets.token_bytes(KEY_BYTES))
        fsync_path(home)
    key = read_bytes(path)  # read back, as another process may have been quicker
    if len(key) != KEY_BYTES:
        raise DiskError(
            f"{path} is damaged ({len(key)} bytes instead of {KEY_BYTES}): delete it, and the next run makes a new one."
        )
    return key


def _content_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _describe_base(base: BaseIdentity) -> str:
    return base.id if base.revision is None else f"{base.id} at revision {base.revision}"
