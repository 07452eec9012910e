"""An adapter of the store <-> one file to carry to another machine, of which nothing is trusted there. No torch.

    record.json                          what it is, without what is private or of one machine
    <stage>/adapter_model.safetensors    its weights, for each stage that the record lists

The file is a ZIP without compression. Nothing in it names a place to write to, or code to run: PEFT's
`adapter_config.json` is not in it, and is made anew from the record's settings. A general reader makes the best of a
file that says two things; here an import takes only what an export of the same members would have written.
"""

from __future__ import annotations

import io
import json
import re
import stat
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from ditto_cli.errors import DiskError, InputError, NonFiniteError
from ditto_cli.shown import shorten
from ditto_cli.store import files
from ditto_cli.store.adapter_store import AdapterStore, is_valid_name
from ditto_cli.store.generations import RECORD_FILE
from ditto_cli.store.records import SCHEMA_VERSION, AdapterRecord, BaseIdentity, first_problem

ARCHIVE_SUFFIX = ".ditto"
WEIGHTS_FILE = "adapter_model.safetensors"
MAX_ARCHIVE_BYTES = 1_900_000_000  # below what a ZIP needs its 64-bit headers for; these are refused
MAX_RECORD_BYTES = 2**20
MAX_MEMBERS = 64
MAX_DIRECTORY_BYTES = 2**14
MAX_HEADER_BYTES = 2**24
MAX_ALPHA = 2**16
MAX_TARGETS = 256

_WEIGHTS_MEMBER = re.compile(r"(sft|round[1-9][0-9]{0,8})/adapter_model\.safetensors")
_ZIP_END, _ZIP64_END = b"PK\x05\x06", b"PK\x06\x07"
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError, struct.error)
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.]{1,256}")
_TARGET = re.compile(r"[A-Za-z0-9_.]{1,128}")
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


class RefusedError(Exception):
    """Why a file is not taken, in a clause."""


class NonFiniteWeightsError(RefusedError):
    """A weight is NaN or infinite."""


@dataclass(frozen=True)
class ArchivedStage:
    """One stage's weights as a safetensors file, and the shape of each tensor in it."""

    weights: bytes
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class AdapterArchive:
    """What an archive holds, after all checks that need no base model."""

    record: AdapterRecord
    stages: Mapping[str, ArchivedStage]


def export_archive(store: AdapterStore, name: str, *, all_stages: bool) -> tuple[AdapterRecord, bytes]:
    """An adapter as an archive: its published stage, or all of them.

    Returns:
        The record as it is handed on, and the file's content.

    Raises:
        DiskError: the adapter is damaged, or nothing that an import would take.
        NonFiniteError: a weight is NaN or infinite.
    """
    record = store.record(name)
    stages = record.stage_names if all_stages else [record.published]
    members = {
        f"{stage}/{WEIGHTS_FILE}": files.read_bytes(store.checked_stage_folder(name, stage) / WEIGHTS_FILE)
        for stage in stages
    }
    shared = _record_to_share(record, name, stages)
    members[RECORD_FILE] = shared.model_dump_json(indent=2).encode()
    try:
        if sum(map(len, members.values())) > MAX_ARCHIVE_BYTES:
            refuse(f"it is larger than {MAX_ARCHIVE_BYTES} bytes")
        data = _zip_members(members)
        parse_archive(data)  # what an import would refuse is not written
    except NonFiniteWeightsError as error:
        raise NonFiniteError(f"Adapter {name} cannot be exported ({error}): train it again.") from None
    except RefusedError as error:
        raise DiskError(f"Adapter {name} cannot be exported ({error}): train it again.") from None
    return shared, data


def read_archive(path: Path) -> AdapterArchive:
    """An archive from its file, with every check that needs no base model; nothing is written.

    InputError: no such file, or nothing that can be trusted.
    """
    try:
        return parse_archive(_read_file(path))
    except RefusedError as error:
        reason = shorten(str(error), 200)
        raise InputError(f"{path} is not a ditto adapter archive that can be trusted: {reason}.") from None


def parse_archive(data: bytes) -> AdapterArchive:
    """As `read_archive`, of a file's content; raises `RefusedError`."""
    members = zip_members(data)
    if RECORD_FILE not in members:
        refuse(f"it has no {RECORD_FILE}")
    record = _record(members.pop(RECORD_FILE))
    if set(members) != {f"{stage}/{WEIGHTS_FILE}" for stage in record.stage_names}:
        refuse("its weights are not those of the stages that its record lists")
    stages = {}
    for stage in record.stage_names:
        weights = members[f"{stage}/{WEIGHTS_FILE}"]
        stages[stage] = ArchivedStage(weights, tensor_shapes(weights))
    return AdapterArchive(record, stages)


def refuse(reason: str) -> NoReturn:
    """Raise `RefusedError`."""
    raise RefusedError(reason)


def zip_members(data: bytes) -> dict[str, bytes]:
    """Names and contents of a ZIP that is, byte for byte, the one that `export_archive` makes of them."""
    end = data[-22:]
    if end[:4] != _ZIP_END:
        refuse("it does not end as one; perhaps it was cut off")
    # The library makes objects of a directory of any size before one can count them.
    if int.from_bytes(end[12:16], "little") > MAX_DIRECTORY_BYTES or data[-42:-38] == _ZIP64_END:
        refuse("its directory is too large")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if not 1 <= len(entries) <= MAX_MEMBERS:
                refuse(f"it has {len(entries)} members, and between 1 and {MAX_MEMBERS} are allowed")
            for entry in entries:
                if entry.filename != RECORD_FILE and not _WEIGHTS_MEMBER.fullmatch(entry.filename):
                    refuse(f"a member is called {entry.filename[:80]!r}")
                if entry.compress_type != zipfile.ZIP_STORED:
                    refuse(f"{entry.filename} is compressed")
                if entry.file_size > (MAX_RECORD_BYTES if entry.filename == RECORD_FILE else len(data)):
                    refuse(f"{entry.filename} is too large")
            members = {entry.filename: archive.read(entry) for entry in entries}
    except _ZIP_ERRORS as error:
        refuse(f"it is damaged ({error})")
    if _zip_members(members) != data:
        refuse("it holds something besides its members, or says something of them that ditto does not")
    return members


def tensor_shapes(weights: bytes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file that holds finite fp32 tensors, one behind the other, and nothing else."""
    # Imported here, as no other command of the store needs them.
    import numpy
    from safetensors import SafetensorError, deserialize

    header_bytes = int.from_bytes(weights[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        refuse("its weights are not in the safetensors format")
    try:
        # It refuses what overlaps, leaves gaps, or has another size than its shape says.
        tensors = deserialize(weights)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        refuse(f"its weights are not in the safetensors format ({error})")
    header = strict_json(weights[8 : 8 + header_bytes], "the weights' header")
    if header.pop("__metadata__", {"format": "pt"}) != {"format": "pt"}:
        refuse("its weights carry unknown metadata")
    if not tensors:
        refuse("its weights hold no tensor")
    for name, tensor in tensors:
        is_plain = set(header[name]) == {"dtype", "shape", "data_offsets"} and 0 not in tensor["shape"]
        if tensor["dtype"] != "F32" or not is_plain or not _TENSOR_NAME.fullmatch(name):
            refuse(f"the tensor {name[:80]!r} is not described as fp32 weights are")
        if not numpy.isfinite(numpy.frombuffer(tensor["data"], dtype="<f4")).all():
            raise NonFiniteWeightsError("a weight is NaN or infinite")
    return {name: tuple(tensor["shape"]) for name, tensor in tensors}


def strict_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no key comes twice and every number is finite; `what` names it in the refusal."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        # Refuses NaN and numbers without end; half a surrogate pair could not be stored.
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        refuse(f"{what} is not valid JSON")
    if not isinstance(content, dict):
        refuse(f"{what} is not a JSON object")
    return content


def _zip_members(members: Mapping[str, bytes]) -> bytes:
    """The same members give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = (stat.S_IFREG | 0o600) << 16
            archive.writestr(entry, members[name])
    return stream.getvalue()


def _record_to_share(record: AdapterRecord, name: str, stages: Sequence[str]) -> AdapterRecord:
    """The record without texts, their hashes, and paths of one machine; with some of its stages."""
    base = record.base
    if base.source == "local":
        base = base.model_copy(update={"id": Path(base.id).name or "base"})
    base_settings = record.settings.base.model_copy(update={"id": base.id, "revision": base.revision})
    return record.model_copy(
        update={
            "name": name,
            "base": base,
            "settings": record.settings.model_copy(update={"base": base_settings}),
            "demonstration_hashes": [],
            "pair_hashes": [],
            "rejected_hashes": [],
            "folder": None,
            "watch_prompt": "",
            "base_sample": "",
            "stages": [
                # The digests are those of the files of one store, which it fills in itself.
                stage.model_copy(update={"sample": None, "files": {}})
                for stage in record.stages
                if stage.stage in stages
            ],
        }
    )


def _read_file(path: Path) -> bytes:
    with files.disk_errors(path, "read"):
        if not path.exists():
            raise InputError(f"{path} does not exist: give a file that `ditto export --to ditto` wrote.")
        if not path.is_file():  # a pipe would block here for ever
            refuse("it is not a file")
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            refuse(f"it is larger than {MAX_ARCHIVE_BYTES} bytes")
        return path.read_bytes()


def _record(data: bytes) -> AdapterRecord:
    content = strict_json(data, RECORD_FILE)
    version = content.get("schema_version")
    if not isinstance(version, int):
        refuse(f"{RECORD_FILE} names no format")
    if version > SCHEMA_VERSION:
        refuse(f"a newer ditto wrote it (format {version}, this one reads {SCHEMA_VERSION}): upgrade ditto")
    try:
        record = AdapterRecord.model_validate(content)
    except ValidationError as error:
        refuse(f"in {RECORD_FILE}, {first_problem(error)}")
    lora = record.settings.lora
    targets = () if isinstance(lora.targets, str) else lora.targets
    problems = {  # what no record of ours says, though its types are right
        "the name cannot be an adapter's": not is_valid_name(record.name),
        "the base is named in an unknown way": not _is_plausible(record.base),
        "quantize is neither nf4 nor none": record.quantize not in ("nf4", "none"),
        "max_new_tokens is below 1": record.max_new_tokens < 1,
        f"settings.lora.alpha is above {MAX_ALPHA}": lora.alpha > MAX_ALPHA,
        "settings.lora.targets are not names of modules": len(targets) > MAX_TARGETS
        or not all(_TARGET.fullmatch(target) for target in targets),
    }
    for problem, is_found in problems.items():
        if is_found:
            refuse(f"in {RECORD_FILE}, {problem}")
    # Once more: who made the file may have put a folder or a text where ours has none.
    return _record_to_share(record, record.name, record.stage_names)


def _is_plausible(base: BaseIdentity) -> bool:
    """Whether a base's id and revision may be given to the hub; those of a local folder are given to nobody."""
    if base.source == "hub":
        named = _HUB_ID.fullmatch(base.id) is not None and ".." not in base.id
        return named and base.revision is not None and _COMMIT.fullmatch(base.revision) is not None
    return base.revision is None and (base.source == "local" or base.id == "embedded")
