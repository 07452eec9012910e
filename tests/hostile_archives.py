"""Archives that must be refused, each made from a good one by one change. No pytest, no torch.

`hostile_archives(good)` yields (name, content); nothing that imports one may write, run or trust anything of it.
"""

import io
import json
import pickle
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field, replace

RECORD = "record.json"
WEIGHTS = "adapter_model.safetensors"
REGULAR = (stat.S_IFREG | 0o600) << 16


@dataclass(frozen=True)
class Member:
    """A member of a ZIP; what `central` and `local` name stands in these headers instead of the truth."""

    name: bytes
    data: bytes
    central: dict = field(default_factory=dict)
    local: dict = field(default_factory=dict)
    extra: bytes = b""
    comment: bytes = b""


def read_members(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return [Member(info.filename.encode(), opened.read(info)) for info in opened.infolist()]


def write_zip(members, *, prefix=b"", before_directory=b"", suffix=b"", comment=b"", end=None):
    """Members one behind the other, as a plain ZIP has them, apart from what they say themselves."""
    body, directory = prefix, b""
    for member in members:
        truth = {
            "version": 20,
            "flags": 0,
            "method": 0,
            "crc": zlib.crc32(member.data),
            "packed": len(member.data),
            "size": len(member.data),
            "attributes": REGULAR,
            "offset": len(body),
            "disk": 0,
            "name": member.name,
        }
        central, local = {**truth, **member.central}, {**truth, **member.local}
        directory += struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\x01\x02", 0x0314, central["version"], central["flags"], central["method"], 0, 0x21),
            *(central["crc"], central["packed"], central["size"], len(central["name"]), len(member.extra)),
            *(len(member.comment), central["disk"], 0, central["attributes"], central["offset"]),
        )
        directory += central["name"] + member.extra + member.comment
        body += struct.pack(
            "<4s5H3I2H",
            *(b"PK\x03\x04", local["version"], local["flags"], local["method"], 0, 0x21),
            *(local["crc"], local["packed"], local["size"], len(local["name"]), 0),
        )
        body += local["name"] + member.data
    body += before_directory
    facts = {"disk": 0, "here": len(members), "num": len(members), "size": len(directory), "start": len(body)}
    facts |= end or {}
    tail = struct.pack(
        "<4s4H2IH",
        *(b"PK\x05\x06", facts["disk"], facts["disk"], facts["here"], facts["num"], facts["size"], facts["start"]),
        len(comment),
    )
    return body + directory + tail + comment + suffix


def read_tensors(weights):
    """A safetensors file -> its header, and its tensors' bytes by name."""
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    body = weights[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: (tensor["dtype"], tensor["shape"], body[slice(*tensor["data_offsets"])])
        for name, tensor in header.items()
    }


def write_tensors(tensors, *, metadata=None, change=None):
    """The reverse; `change` may edit the header."""
    header, body = {"__metadata__": metadata or {"format": "pt"}}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    if change is not None:
        change(header)
    return with_header(json.dumps(header).encode(), body)


def with_header(header, body):
    return struct.pack("<Q", len(header)) + header + body


def hostile_archives(good):
    """Yield (name, content) for every way to be refused that we know; names and contents are distinct."""
    members = read_members(good)
    yield from _broken_files(good, members)
    yield from _hostile_members(members)
    yield from _lying_headers(members)
    yield from _hostile_records(members)
    yield from _hostile_weights(members)


def _zip_with(members, member_name, data=None, /, **changes):
    """A ZIP of the members, with one of them changed."""
    changed = {**changes, **({} if data is None else {"data": data})}
    return write_zip([replace(member, **changed) if member.name == member_name else member for member in members])


def _weights_member(members):
    return next(member for member in members if member.name.endswith(WEIGHTS.encode()))


def _broken_files(good, members):
    end = len(good)
    yield "empty", b""
    yield "text", b"this is not an archive\n" * 40
    yield "pickle instead of an archive", pickle.dumps({"weights": [1.0, 2.0]}) + bytes(64)
    yield "only the end record", good[-22:]
    yield "empty zip", b"PK\x05\x06" + bytes(18)
    for place in (1, 10, 22, 23, 60):
        yield f"cut {place} bytes before the end", good[: end - place]
    for share in (4, 2):
        yield f"cut at 1/{share}", good[: end // share]
    yield "first byte missing", good[1:]
    yield "garbage appended", good + b"garbage"
    yield "a second archive appended", good + good
    yield "a script in front", b"#!/bin/sh\necho hello\n" + good
    yield "a script in front, offsets moved", write_zip(members, prefix=b"#!/bin/sh\necho hello\n")
    yield "comment", write_zip(members, comment=b"hello")
    yield "gap before the directory", write_zip(members, before_directory=b"hidden")
    yield "gzip", b"\x1f\x8b" + zlib.compress(good)
    local_name = good.index(RECORD.encode())
    yield "byte flipped in a local header", _flipped(good, local_name - 8)
    yield "byte flipped in a local name", _flipped(good, local_name)
    yield "byte flipped in the record", _flipped(good, local_name + 40)
    weights = _weights_member(members)
    begin = good.index(weights.data)
    yield "byte flipped in the weights' header", _flipped(good, begin + 20)
    yield "byte flipped in the weights", _flipped(good, begin + len(weights.data) - 9)
    yield "byte flipped in the directory", _flipped(good, good.index(b"PK\x01\x02") + 17)
    yield "byte flipped in the end record", _flipped(good, end - 5)


def _flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def _hostile_members(members):
    weights = _weights_member(members)
    config = {"auto_mapping": {"base_model_class": "x", "parent_library": "os"}, "base_model_name_or_path": "/etc"}
    for title, name in {
        "path that leaves the folder": b"../../evil.txt",
        "path that leaves the folder further down": b"sft/../../../evil.txt",
        "absolute path": b"/tmp/evil.txt",
        "Windows path": b"..\\..\\evil.txt",
        "Windows drive": b"C:\\evil.txt",
        "server path": b"\\\\host\\share\\evil",
        "NUL in a name": b"record.json\x00.txt",
        "empty name": b"",
        "name with a line break": b"record.json\n",
        "upper case": b"RECORD.JSON",
        "look-alike letters": "rec\u043erd.json".encode(),
        "pickled weights beside": b"sft/adapter_model.bin",
        "pickled trainer state": b"training_args.bin",
        "template beside": b"sft/chat_template.jinja",
        "code beside": b"sft/modeling_evil.py",
        "stage of no name": b"round0/" + WEIGHTS.encode(),
        "stage that the record does not list": b"round999/" + WEIGHTS.encode(),
    }.items():
        yield title, write_zip([*members, Member(name, b"evil")])
    yield (
        "adapter_config.json with auto_mapping",
        write_zip([*members, Member(b"sft/adapter_config.json", json.dumps(config).encode())]),
    )
    yield "folder member", write_zip([*members, Member(b"sft/", b"")])
    for member in members:
        title = member.name.decode()
        yield f"symbolic link as {title}", _zip_with(members, member.name, central={"attributes": 0o120777 << 16})
        yield f"device as {title}", _zip_with(members, member.name, central={"attributes": 0o020666 << 16})
        yield f"folder as {title}", _zip_with(members, member.name, central={"attributes": REGULAR | 0x10})
        yield f"{title} twice", write_zip([*members, member])
        yield f"{title} missing", write_zip([other for other in members if other is not member])
    yield "weights under another stage", _zip_with(members, weights.name, name=b"round7/" + WEIGHTS.encode())
    yield "a folder around all", write_zip([replace(member, name=b"a/" + member.name) for member in members])
    yield (
        "65 members",
        write_zip([*members, *(Member(f"round{n}/{WEIGHTS}".encode(), b"x") for n in range(100, 165 - len(members)))]),
    )
    yield (
        "3000 members",
        write_zip([*members, *(Member(f"round{n}/{WEIGHTS}".encode(), b"") for n in range(100, 3100))]),
    )
    yield "a zip in the zip", _zip_with(members, weights.name, write_zip(members))


def _lying_headers(members):
    record = next(member for member in members if member.name == RECORD.encode())
    weights = _weights_member(members)

    def both(member, data=None, **changes):
        return _zip_with(members, member.name, data, central=changes, local=changes)

    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = raw.compress(record.data) + raw.flush()
    yield "deflated", both(record, packed, method=8, size=len(record.data), crc=zlib.crc32(record.data))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(2**22)
    packed = b"".join(bomb.compress(zeros) for _ in range(16)) + bomb.flush()
    yield "zip bomb", both(weights, packed, method=8, size=16 * len(zeros), crc=zlib.crc32(zeros * 16))
    for title, method in (("bzip2", 12), ("lzma", 14), ("unknown method", 99)):
        yield title, both(record, method=method)
    for title, flags in (("encrypted", 1), ("sizes behind the data", 8), ("names in UTF-8", 0x800), ("masked", 0x2000)):
        yield title, both(record, flags=flags)
    yield "encrypted in the directory only", _zip_with(members, record.name, central={"flags": 1})
    yield "newer ZIP version", both(record, version=63)
    yield "wrong check sum", both(weights, crc=zlib.crc32(weights.data) ^ 1)
    yield "check sum wrong in the directory", _zip_with(members, weights.name, central={"crc": 7})
    size = len(weights.data)
    for title, sizes in {
        "size too large": {"size": size + 100},
        "both sizes too large": {"size": size + 100, "packed": size + 100},
        "both sizes huge": {"size": 0xFFFFFFF0, "packed": 0xFFFFFFF0},
        "ZIP64 sizes without their field": {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
        "both sizes too small": {"size": size - 4, "packed": size - 4},
        "packed size 0": {"packed": 0},
    }.items():
        yield title, both(weights, **sizes)
        yield f"{title}, in the directory only", _zip_with(members, weights.name, central=sizes)
    yield "other name in the local header", _zip_with(members, record.name, local={"name": b"../../x.json"})
    yield "other name in the directory", _zip_with(members, record.name, central={"name": b"../../x.json"})
    yield "overlapping members", _zip_with(members, weights.name, central={"offset": 4})
    yield "all members at one place", write_zip([replace(member, central={"offset": 0}) for member in members])
    yield "offset behind the end", _zip_with(members, weights.name, central={"offset": 0x7FFFFFFF})
    yield "on another disk", _zip_with(members, weights.name, central={"disk": 1})
    zip64 = struct.pack("<2H3Q", 1, 24, size, size, 0)
    yield "ZIP64 field", _zip_with(members, weights.name, extra=zip64)
    yield (
        "ZIP64 field and sizes",
        _zip_with(members, weights.name, extra=zip64, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}),
    )
    zip64_end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**40, 2**40, 2**60, 2**60)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    yield "ZIP64 end record", _before_end(write_zip(members), zip64_end + locator)
    yield "ZIP64 end record in a comment", _zip_with(members, weights.name, comment=zip64_end + locator)
    yield "comment of a member", _zip_with(members, weights.name, comment=b"hello")
    yield (
        "file name of Info-ZIP",
        _zip_with(members, record.name, extra=struct.pack("<2HBI", 0x7075, 14, 1, 0) + b"../../x.j"),
    )
    for title, end in {
        "more members than there are": {"here": len(members) + 1, "num": len(members) + 1},
        "fewer members than there are": {"here": len(members) - 1, "num": len(members) - 1},
        "two counts of members": {"here": len(members) - 1},
        "ZIP64 count": {"here": 0xFFFF, "num": 0xFFFF},
        "directory elsewhere": {"start": 0},
        "directory of size 0": {"size": 0},
        "ZIP64 directory": {"start": 0xFFFFFFFF, "size": 0xFFFFFFFF},
        "one of several disks": {"disk": 1},
    }.items():
        yield title, write_zip(members, end=end)


def _before_end(archive, data):
    return archive[:-22] + data + archive[-22:]


def _hostile_records(members):
    good = next(member for member in members if member.name == RECORD.encode()).data
    record = json.loads(good)
    stage = record["published"]

    def raw(data):
        return _zip_with(members, RECORD.encode(), data)

    def changed(**changes):
        return raw(json.dumps({**record, **changes}).encode())

    def nested(section, **changes):
        return changed(**{section: {**record[section], **changes}})

    def settings(section, **changes):
        return nested("settings", **{section: {**record["settings"][section], **changes}})

    def of_stage(**changes):
        stages = [{**known, **changes} if known["stage"] == stage else known for known in record["stages"]]
        return changed(stages=stages)

    yield "record empty", raw(b"")
    yield "record not JSON", raw(b"{" * 20)
    yield "record a list", raw(b"[]")
    yield "record null", raw(b"null")
    yield "record in UTF-16", raw(good.decode().encode("utf-16"))
    yield "record with a byte order mark", raw(b"\xef\xbb\xbf" + good)
    yield "record not UTF-8", raw(good.replace(b'"device": "', b'"device": "\xff', 1))
    yield "record of 2 MiB", raw(good + b" " * 2**21)
    yield "record nested deeply", raw(b"[" * 200_000 + b"]" * 200_000)
    yield "objects nested deeply", raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield "key twice", raw(good.replace(b"{", b'{"name": "other",', 1))
    yield "key twice further down", raw(json.dumps(record).encode().replace(b'"r": ', b'"r": 1, "r": ', 1))
    yield "NaN", changed(seconds=float("nan"))
    yield "Infinity", changed(seconds=float("inf"))
    yield "number without end", raw(json.dumps({**record, "seconds": 0}).encode().replace(b'ds": 0', b'ds": 1e999', 1))
    yield (
        "number of 5000 digits",
        raw(json.dumps({**record, "num_demonstrations": 0}).encode().replace(b'ns": 0', b'ns": ' + b"9" * 5000, 1)),
    )
    yield "half a character", changed(device="\ud800")
    yield "half a character in a key", nested("versions", **{"\udfff": "1"})
    yield "newer schema", changed(schema_version=record["schema_version"] + 1)
    yield "schema 0", changed(schema_version=0)
    yield "unknown key", changed(trust_remote_code=True)
    yield "unknown key with control characters", changed(**{"\x1b[2J\r\nerror: all is well\n": 1})
    yield "unknown key of 100 kB", changed(**{"k" * 100_000: 1})
    yield "unknown key in the settings", nested("settings", auto_mapping={"parent_library": "os"})
    yield "unknown key in LoRA", settings("lora", init_lora_weights="eva")
    yield "unknown key in the base", nested("base", trust_remote_code=True)
    for key in ("schema_version", "name", "base", "settings", "stages", "published"):
        yield f"no {key}", raw(json.dumps({k: v for k, v in record.items() if k != key}).encode())
    for title, name in {
        "a slash": "a/b",
        "a path": "../../evil",
        "an absolute path": "/etc/passwd",
        "nothing": "",
        "a line break": "alice\n",
        "a reserved word": "base",
        "100000 letters": "a" * 100_000,
        "a dot first": ".alice",
    }.items():
        yield f"name is {title}", changed(name=name)
    yield "stage is a path", of_stage(stage="../x")
    yield "stage is a path and published", changed(stages=[{**record["stages"][0], "stage": "../x"}], published="../x")
    yield "stage has a line break", of_stage(stage=f"{stage}\n")
    yield "stage twice", changed(stages=[*record["stages"], record["stages"][0]])
    yield "stage without weights", changed(stages=[*record["stages"], {**record["stages"][0], "stage": "round77"}])
    yield "empty list of stages", changed(stages=[])
    yield "published stage not there", changed(published="round88")
    yield "metrics are text", of_stage(metrics={"loss": "low"})
    yield "warnings are objects", of_stage(warnings=[{"x": 1}])
    yield "time of another zone", changed(created="2026-01-01T00:00:00+05:00")
    yield "time is text", changed(created="yesterday")
    for part in ("weights", "config", "tokenizer", "chat_template"):
        yield f"other {part} of the base", nested("base", **{f"{part}_digest": "0" * 64})
    yield "digest is none", nested("base", weights_digest="none")
    yield "base is a path on the hub", nested("base", source="hub", id="../../etc", revision="0" * 40)
    yield "base is an address", nested("base", source="hub", id="https://example.com/x", revision="0" * 40)
    yield "revision is a path", nested("base", source="hub", id="owner/name", revision="../../../../tmp/evil")
    yield "revision of a branch", nested("base", source="hub", id="owner/name", revision="main")
    yield "embedded base of another name", nested("base", source="embedded", id="/etc", revision=None)
    yield "base of an unknown kind", nested("base", source="ftp")
    for title, lora in {
        "rank 0": {"r": 0},
        "rank 100000": {"r": 100_000},
        "rank as text": {"r": "many"},
        "alpha 0": {"alpha": 0},
        "alpha beyond floats": {"alpha": 10**400},
        "dropout 2": {"dropout": 2.0},
        "no targets": {"targets": []},
        "targets as a pattern": {"targets": ".*"},
        "targets as a slow pattern": {"targets": ["(a+)+$"]},
        "100000 targets": {"targets": ["q_proj"] * 100_000},
        "unknown targets": {"targets": ["no_such_proj"]},
        "targets that are no layers": {"targets": ["self_attn"]},
        "fewer targets": {"targets": ["q_proj"]},
        "other rank than the weights": {"r": record["settings"]["lora"]["r"] + 1},
    }.items():
        yield title, settings("lora", **lora)
    yield "temperature 0", settings("sampling", temperature=0)
    yield "seed below 0", nested("settings", seed=-1)
    yield "quantised in an unknown way", changed(quantize="import os")
    yield "length limit below 1", changed(max_new_tokens=-5)


def _hostile_weights(members):
    weights = _weights_member(members)
    tensors = read_tensors(weights.data)
    first, second = sorted(tensors)[:2]
    length = int.from_bytes(weights.data[:8], "little")
    header, body = weights.data[8 : 8 + length], weights.data[8 + length :]

    def raw(data):
        return _zip_with(members, weights.name, data)

    def edited(change):
        return raw(write_tensors(tensors, change=change))

    def with_tensor(name, **changes):
        dtype, shape, data = tensors[name]
        parts = {"dtype": dtype, "shape": shape, "data": data, **changes}
        return raw(write_tensors({**tensors, name: (parts["dtype"], parts["shape"], parts["data"])}))

    def renamed(old, new):
        return raw(write_tensors({name.replace(old, new, 1): tensor for name, tensor in tensors.items()}))

    def with_value(value):
        data = tensors[first][2]
        return with_tensor(first, data=data[:-4] + struct.pack("<f", value))

    yield "weights empty", raw(b"")
    yield "weights of 4 bytes", raw(b"\x02\x00\x00\x00")
    yield "pickle instead of weights", raw(pickle.dumps({"weights": [1.0] * 100}))
    yield "a torch file instead of weights", raw(write_zip([Member(b"archive/data.pkl", pickle.dumps({}))]))
    for title, size in {
        "header of 2^63 bytes": 2**63,
        "header of 2^64 bytes": 2**64 - 1,
        "header of 100 MB": 10**8,
        "header beyond the file": len(weights.data),
        "header of 0 bytes": 0,
        "header too short": length - 5,
        "header into the numbers": length + 8,
    }.items():
        yield title, raw(struct.pack("<Q", size) + header + body)
    yield "header not JSON", raw(with_header(b"x" * length, body))
    yield "header a list", raw(with_header(b"[]", body))
    yield "header nested deeply", raw(with_header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, body))
    yield (
        "tensor twice in the header",
        raw(with_header(header.replace(b"{", b"{" + json.dumps(first).encode() + b": {}, ", 1), body)),
    )
    yield "no tensors", raw(write_tensors({}))
    yield "unknown metadata", raw(write_tensors(tensors, metadata={"format": "pt", "auto_map": "os.system"}))
    yield "metadata with numbers", raw(write_tensors(tensors, metadata={"format": 1}))
    for title, offsets in {
        "negative offsets": [-64, 0],
        "offsets turned round": [64, 0],
        "offsets behind the end": [len(body), len(body) + 64],
        "offsets beyond 64 bits": [2**70, 2**70 + 64],
        "offsets as text": ["0", "64"],
        "offsets as truth": [False, True],
        "one offset": [0],
    }.items():
        yield title, edited(lambda head, offsets=offsets: head[first].update(data_offsets=offsets))
    yield "overlapping tensors", edited(lambda head: head[second].update(data_offsets=head[first]["data_offsets"]))
    for title, shape in {
        "negative shape": [-1, -1],
        "shape too large": [2**33, 2**33],
        "shape of no dimension": [],
        "shape of a thousand dimensions": [1] * 1000,
        "shape with zero": [0, *tensors[first][1]],
        "shape with fractions": [float(number) for number in tensors[first][1]],
    }.items():
        yield title, edited(lambda head, shape=shape: head[first].update(shape=shape))
    yield "unknown key of a tensor", edited(lambda head: head[first].update(storage="pickle"))
    yield "no type", edited(lambda head: head[first].pop("dtype"))
    yield "tensor is a number", edited(lambda head: head.update({first: 1}))
    for dtype in ("F64", "BF16", "F16", "I64", "I32", "U8", "BOOL", "f32", "F128"):
        yield f"tensor of type {dtype}", edited(lambda head, dtype=dtype: head[first].update(dtype=dtype))
    data = tensors[first][2]
    yield "true bf16 tensor", with_tensor(first, dtype="BF16", data=data[: len(data) // 2])
    yield "true fp64 tensor", with_tensor(first, dtype="F64", data=data * 2)
    yield "bytes behind the tensors", raw(weights.data + b"hidden!!")
    yield "bytes missing behind the tensors", raw(weights.data[:-4])
    yield "a gap between tensors", edited(_shifted(first))
    for value in (float("nan"), float("inf"), float("-inf")):
        yield f"weight {value}", with_value(value)
    yield "signalling NaN", with_tensor(first, data=data[:-4] + b"\x01\x00\x80\x7f")
    shape = tensors[first][1]
    yield "transposed", with_tensor(first, shape=shape[::-1] if shape[0] != shape[1] else [shape[0] * shape[1], 1])
    yield "flattened", with_tensor(first, shape=[len(data) // 4])
    yield "one dimension more", with_tensor(first, shape=[1, *shape])
    yield "all transposed", raw(write_tensors({n: (t, list(s)[::-1], d) for n, (t, s, d) in tensors.items()}))
    yield "other rank than the settings", raw(write_tensors({n: _halved(n, tensor) for n, tensor in tensors.items()}))
    yield "tensor missing", raw(write_tensors({name: tensor for name, tensor in tensors.items() if name != first}))
    yield "half of the tensors", raw(write_tensors({name: tensors[name] for name in sorted(tensors)[::2]}))
    yield "tensor too many", raw(write_tensors({**tensors, "base_model.model.lm_head.weight": ("F32", [1], bytes(4))}))
    yield (
        "base weight besides",
        raw(write_tensors({**tensors, "base_model.model.model.embed_tokens.weight": ("F32", [2, 2], bytes(16))})),
    )
    yield "tensor of another module", renamed("q_proj", "o_proj_x")
    yield "tensor of another depth", renamed("layers.0.", "layers.900.")
    yield "tensor of another adapter", renamed("lora_A.weight", "lora_A.other.weight")
    yield "tensor of another method", renamed("lora_A", "lora_magnitude_vector")
    yield "tensor named as a path", raw(write_tensors({**tensors, "../../evil": ("F32", [1], bytes(4))}))
    yield "tensor name with a line break", raw(write_tensors({**tensors, "x\nerror: y": ("F32", [1], bytes(4))}))
    yield "tensor without a name", raw(write_tensors({**tensors, "": ("F32", [1], bytes(4))}))


def _shifted(name):
    """Every tensor but one begins four bytes later than it does."""

    def change(header):
        for other, tensor in header.items():
            if other not in ("__metadata__", name):
                tensor["data_offsets"] = [offset + 4 for offset in tensor["data_offsets"]]

    return change


def _halved(name, tensor):
    """A tensor as an adapter of half the rank would have it."""
    dtype, (rows, columns), data = tensor
    if "lora_A" in name:
        return dtype, [rows // 2, columns], data[: 4 * (rows // 2) * columns]
    kept = b"".join(data[4 * row * columns : 4 * (row * columns + columns // 2)] for row in range(rows))
    return dtype, [rows, columns // 2], kept
