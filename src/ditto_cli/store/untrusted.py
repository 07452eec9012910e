"""A stranger's bytes -> members of a ZIP, a JSON object, the tensors of a safetensors file; or why they are refused.

A general reader makes the best of a file that says two things. Here a file is read as it stands, and whatever says
anything else than ditto itself would have written is refused. No torch.
"""

from __future__ import annotations

import json
import math
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_MEMBERS = 64
MAX_DIRECTORY_BYTES = 2**14
MAX_HEADER_BYTES = 2**24
MAX_DIMENSIONS = 8

_END = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_END_MARK, _CENTRAL_MARK, _LOCAL_MARK = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
_ZIP_VERSION = 20

_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.]{1,256}")


class RefusedError(Exception):
    """Why a file is not taken, in a clause."""


class NonFiniteWeightsError(RefusedError):
    """A weight is NaN or infinite."""


def refuse(reason: str) -> NoReturn:
    """Raise `RefusedError`."""
    raise RefusedError(reason)


def zip_members(data: bytes, max_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """Names and contents of a plain ZIP: nothing is compressed, encrypted, commented or hidden between members.

    Args:
        data: the file.
        max_bytes: most bytes of a member, by a pattern of its whole name; other names are refused.

    Raises:
        RefusedError: it is anything else.
    """
    if len(data) < _END.size or data[-_END.size : -_END.size + 4] != _END_MARK:
        refuse("it does not end as one; perhaps it was cut off")
    _, disk, first_disk, num_here, num, size, start, comment = _END.unpack(data[-_END.size :])
    if disk or first_disk or num_here != num or comment:
        refuse("it has parts or a comment")
    if not 1 <= num <= MAX_MEMBERS:
        refuse(f"it has {num} members, and between 1 and {MAX_MEMBERS} are allowed")
    directory_end = len(data) - _END.size
    if start + size != directory_end or size > MAX_DIRECTORY_BYTES:
        refuse("its directory is not where it should be")
    members: dict[str, bytes] = {}
    place, offset = start, 0
    for _ in range(num):
        if place + _CENTRAL.size > directory_end:
            refuse("its directory is cut off")
        name, content, num_header_bytes = _member(data[place:directory_end], data, offset, start, max_bytes)
        if name in members:
            refuse(f"{name} is there twice")
        members[name] = content
        place += num_header_bytes
        offset += _LOCAL.size + len(name) + len(content)
    if place != directory_end or offset != start:
        refuse("it holds something besides its members")
    return members


def _member(
    directory: bytes, data: bytes, offset: int, end: int, max_bytes: Mapping[str, int]
) -> tuple[str, bytes, int]:
    """The first member of `directory`, which must lie at `offset` and before `end`.

    Returns:
        Its name, its content, and the size of its entry in the directory.
    """
    fields = _CENTRAL.unpack_from(directory)
    mark, _, version, flags, method, time, date, crc, packed, size, name_size, extra, comment, disk = fields[:14]
    attributes, place = fields[15:]
    name_bytes = directory[_CENTRAL.size : _CENTRAL.size + name_size]
    name = name_bytes.decode("latin-1")
    limit = next((number for pattern, number in max_bytes.items() if re.fullmatch(pattern, name)), None)
    if mark != _CENTRAL_MARK or limit is None:
        refuse(f"a member is called {name[:80]!r}")
    if method != zipfile.ZIP_STORED or packed != size:
        refuse(f"{name} is compressed")
    if version > _ZIP_VERSION or flags or extra or comment or disk:
        refuse(f"{name} is encrypted, or uses what ditto does not")
    if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG) or attributes & 0xFFFF:
        refuse(f"{name} is not a plain file")
    local = _LOCAL.pack(_LOCAL_MARK, version, flags, method, time, date, crc, packed, size, name_size, 0) + name_bytes
    begin = offset + len(local)
    if place != offset or data[offset:begin] != local:
        refuse(f"{name} is not where the directory says, or not as it says")
    if begin + size > end or size > limit:
        refuse(f"{name} is too large")
    content = data[begin : begin + size]
    if zlib.crc32(content) != crc:
        refuse(f"{name} is damaged (its check sum is wrong)")
    return name, content, _CENTRAL.size + name_size


def tensor_shapes(weights: bytes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file that holds finite fp32 tensors, one behind the other, and nothing else.

    Raises:
        NonFiniteWeightsError: a weight is NaN or infinite.
        RefusedError: it is anything else.
    """
    header_bytes = int.from_bytes(weights[:8], "little")
    if len(weights) < 8 or header_bytes > min(MAX_HEADER_BYTES, len(weights) - 8):
        refuse("its weights are not in the safetensors format")
    start = 8 + header_bytes
    header = strict_json(weights[8:start], "the weights' header")
    if header.pop("__metadata__", {"format": "pt"}) != {"format": "pt"}:
        refuse("its weights carry unknown metadata")
    places: list[tuple[int, int]] = []
    shapes = {}
    for name, tensor in header.items():
        place = _tensor_place(tensor)
        if place is None or not _TENSOR_NAME.fullmatch(name):
            refuse(f"the tensor {name[:80]!r} is not described as fp32 weights are")
        places.append(place)
        shapes[name] = tuple(tensor["shape"])
    end = 0
    for first, last in sorted(places):
        if first != end:
            refuse("its tensors overlap or leave gaps")
        end = last
    if not places or start + end != len(weights):
        refuse("its tensors are not as large as its weights")
    _check_values(weights, start)
    return shapes


def _tensor_place(tensor: Any) -> tuple[int, int] | None:
    """Where a tensor begins and ends; None if its description is not that of an fp32 tensor."""
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"} or tensor["dtype"] != "F32":
        return None
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if not (_are_counts(shape) and 1 <= len(shape) <= MAX_DIMENSIONS and _are_counts(offsets) and len(offsets) == 2):
        return None
    num_bytes = 4 * math.prod(shape)
    return (offsets[0], offsets[1]) if 0 < num_bytes == offsets[1] - offsets[0] else None


def _are_counts(values: Any) -> bool:
    # `type`, as True is an int; the limit keeps the product of eight of them small.
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**40 for value in values)


def _check_values(weights: bytes, start: int) -> None:
    # Imported here, as no other command of the store needs them.
    import numpy
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not numpy.isfinite(numpy.frombuffer(weights, dtype="<f4", offset=start)).all():
        raise NonFiniteWeightsError("a weight is NaN or infinite")
    try:
        load(weights)  # the library that will read them must agree
    except SafetensorError as error:
        refuse(f"its weights are not in the safetensors format ({error})")


def strict_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no key comes twice and every number is finite.

    Raises:
        RefusedError: it is anything else; `what` names it.
    """
    try:
        content = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # half a surrogate pair could not be stored
    except (ValueError, RecursionError):
        refuse(f"{what} is not valid JSON")
    if not isinstance(content, dict):
        refuse(f"{what} is not a JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key comes twice")
    return content


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError("too large a number")
    return float(text)
