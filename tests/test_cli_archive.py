"""`ditto export --to ditto` and `adapters import`: what comes back is what went out, and no stranger is trusted."""

import json
import os
import shutil
import stat
import tempfile

import pytest

from conftest import CHATML, load_tiny, save_tiny_base, shake
from hostile_archives import hostile_archives, read_members, read_tensors, write_tensors, write_zip

pytest_plugins = ["cli_helpers"]

PROMPT = "Invite Bo."
PRIVATE = "quokka"
STAGES = ("sft", "round1")


def make_record(policy, **changes):
    from ditto_cli.config import Settings
    from ditto_cli.store import AdapterRecord

    settings = Settings.model_validate({"base": {"id": policy.identity.id}, "lora": {"r": 4, "alpha": 8}})
    stage = {"seconds": 1.0, "metrics": {"loss": 1.5}, "sample": f"{PRIVATE} sample"}
    fields = {
        "name": "alice",
        "created": "2026-01-02T03:04:05+00:00",
        "base": policy.identity,
        "quantize": "none",
        "settings": settings,
        "num_demonstrations": 2,
        "num_demonstration_tokens": 40,
        "demonstration_hashes": ["ab" * 32],
        "folder": f"/home/{PRIVATE}/texts",
        "max_new_tokens": 30,
        "watch_prompt": f"{PRIVATE} prompt",
        "base_sample": f"{PRIVATE} base",
        "stages": [{**stage, "stage": name, "warnings": [f"It loops in {name}."]} for name in STAGES],
        "published": "round1",
        "device": "CPU",
        "versions": {"ditto": "0"},
        "seconds": 3.0,
    }
    return AdapterRecord.model_validate({**fields, **changes})


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory, tiny_folder):
    """A home with the adapter alice, whose two stages have different random weights."""
    from ditto_cli.config import LoraSettings
    from ditto_cli.store import AdapterStore

    home = tmp_path_factory.mktemp("stored") / "home"
    policy = load_tiny(tiny_folder)
    policy.add_adapter("a", LoraSettings(r=4, alpha=8), seed=1)
    with AdapterStore(home).training("alice") as kept:
        for number, stage in enumerate(STAGES):
            shake(policy, seed=number)
            kept.add_stage(stage, policy.serialise("a"))
        kept.publish(make_record(policy))
    return home


@pytest.fixture
def stored(ditto, stored_once):
    """The command line with the adapter alice."""
    shutil.copytree(stored_once, ditto.home)
    return ditto


def export(ditto, path, *flags, name="alice"):
    return ditto("export", name, "--to", "ditto", "--out", path, *flags)


@pytest.fixture
def archive(stored, tmp_path):
    path = tmp_path / "alice.ditto"
    assert export(stored, path).code == 0
    return path


@pytest.fixture
def empty(ditto, archive):
    """The command line of another machine: a store without adapters, and an archive from elsewhere."""
    shutil.rmtree(ditto.home)
    return ditto


def sampled(ditto, name, *arguments):
    result = ditto("sample", "--adapter", name, PROMPT, "--seed", "7", "--max-tokens", "20", *arguments)
    assert result.code == 0, result.err
    return result.out


# Export


def test_an_export_says_what_it_is_and_is_private(stored, tmp_path):
    path = tmp_path / "out" / "a.ditto"
    path.parent.mkdir()
    result = export(stored, path)
    assert (result.code, result.out) == (0, "")
    warning, line, _ = result.err.splitlines()
    assert warning == "note: round1: It loops in round1."  # of the stage in the file, and of no other
    assert str(path) in line
    assert "MiB" in line
    assert "private texts" in line
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["a.ditto"]


def test_an_export_holds_the_published_stage_or_all(stored, tmp_path):
    for flags, stages in (([], ["round1"]), (["--all-stages"], ["round1", "sft"])):
        path = tmp_path / f"{len(flags)}.ditto"
        assert export(stored, path, *flags).code == 0
        members = {member.name.decode(): member.data for member in read_members(path.read_bytes())}
        assert list(members) == ["record.json", *(f"{stage}/adapter_model.safetensors" for stage in stages)]
        for stage in stages:
            weights = (stored.stage("alice", stage) / "adapter_model.safetensors").read_bytes()
            assert members[f"{stage}/adapter_model.safetensors"] == weights
        assert sorted(stage["stage"] for stage in json.loads(members["record.json"])["stages"]) == stages


def test_an_export_without_a_file_goes_into_the_current_folder(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stored("export", "alice", "--to", "ditto").code == 0
    assert (tmp_path / "alice.ditto").is_file()


def test_the_same_adapter_gives_the_same_bytes_under_the_name_that_it_has_now(stored, tmp_path):
    contents = []
    for number in range(2):
        assert export(stored, tmp_path / f"{number}.ditto").code == 0
        contents.append((tmp_path / f"{number}.ditto").read_bytes())
    assert contents[0] == contents[1]
    assert stored("adapters", "rename", "alice", "bob").code == 0
    assert export(stored, tmp_path / "bob.ditto", name="bob").code == 0
    assert json.loads(read_members((tmp_path / "bob.ditto").read_bytes())[0].data)["name"] == "bob"


def test_an_export_leaves_out_all_that_is_private_or_of_this_machine(stored, archive, tiny_folder):
    content = archive.read_bytes()
    assert PRIVATE.encode() not in content
    assert str(tiny_folder.parent).encode() not in content
    kept = json.loads(read_members(content)[0].data)
    left_out = {key for key, value in kept.items() if value in (None, "", [])}
    # Whoever adds a field to the record decides whether strangers may see it, and changes this list.
    assert set(kept) - left_out == {
        *("schema_version", "name", "created", "base", "quantize", "settings", "num_demonstrations"),
        *("num_demonstration_tokens", "max_new_tokens", "stages", "published", "device", "versions", "seconds"),
    }
    assert kept["base"]["id"] == kept["settings"]["base"]["id"] == "tiny"
    stage = kept["stages"][0]
    assert {key for key, value in stage.items() if value} == {"stage", "seconds", "metrics", "warnings"}


def test_an_export_never_replaces_a_file_unasked(stored, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("mine")
    result = export(stored, path)
    assert (result.code, path.read_text()) == (2, "mine")
    assert "--force" in result.only_error
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    assert export(stored, dangling).code == 2
    assert export(stored, tmp_path).code == 2
    assert export(stored, path, "--force").code == 0
    assert path.read_bytes()[:2] == b"PK"


def test_an_unknown_adapter_and_a_missing_folder(stored, tmp_path):
    result = export(stored, tmp_path / "x.ditto", name="alicia")
    assert result.code == 2
    assert "did you mean alice" in result.only_error
    result = export(stored, tmp_path / "nowhere" / "x.ditto")
    assert result.code == 4
    assert "x.ditto" in result.error
    assert "Wrote" not in result.err


def test_a_damaged_adapter_is_not_exported(stored, tmp_path):
    weights = stored.stage("alice") / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    result = export(stored, tmp_path / "x.ditto")
    assert result.code == 4
    assert "damaged" in result.only_error
    assert not (tmp_path / "x.ditto").exists()


def test_an_adapter_that_is_not_finite_is_not_exported(stored, tmp_path):
    from ditto_cli.store import AdapterStore

    folder, record = stored.stage("alice"), stored.record("alice")
    tensors = read_tensors((folder / "adapter_model.safetensors").read_bytes())
    name, (dtype, shape, data) = next(iter(tensors.items()))
    bad = write_tensors({**tensors, name: (dtype, shape, data[:-4] + b"\x00\x00\xc0\x7f")})
    config = (folder / "adapter_config.json").read_bytes()
    with AdapterStore(stored.home).training("bad") as kept:
        for stage in STAGES:
            kept.add_stage(stage, {"adapter_config.json": config, "adapter_model.safetensors": bad})
        kept.publish(record)
    result = export(stored, tmp_path / "x.ditto", name="bad")
    assert result.code == 6
    assert "NaN" in result.only_error
    assert not (tmp_path / "x.ditto").exists()


def test_an_export_needs_no_torch(stored, tmp_path):
    result = stored.without(
        "torch,transformers,peft", "export", "alice", "--to", "ditto", "--out", tmp_path / "x.ditto"
    )
    assert result.code == 0, result.err


# Import


def test_what_comes_back_is_what_went_out(stored, tmp_path):
    path = tmp_path / "a.ditto"
    assert export(stored, path, "--all-stages").code == 0
    before = {stage: {p.name: p.read_bytes() for p in stored.stage("alice", stage).iterdir()} for stage in STAGES}
    texts = {stage: sampled(stored, "alice", "--round", stage) for stage in STAGES}
    assert texts["sft"] != texts["round1"]
    shutil.rmtree(stored.home)
    result = stored("adapters", "import", path, "--base", stored.base, "--offline", environment={"DITTO_DEBUG": "1"})
    assert result.code == 0, result.err
    assert "Imported adapter alice" in result.err
    assert "round1: It loops in round1." in result.err
    # The configuration was not in the file, and is what training would have written.
    assert {
        stage: {p.name: p.read_bytes() for p in stored.stage("alice", stage).iterdir()} for stage in STAGES
    } == before
    assert {stage: sampled(stored, "alice", "--round", stage) for stage in STAGES} == texts
    record = stored.record("alice")
    assert (record.published, record.folder, record.demonstration_hashes) == ("round1", None, [])
    assert record.base.id == str(stored.base.resolve())
    assert stored("adapters", "show", "alice").code == 0
    assert stat.S_IMODE((stored.stage("alice") / "adapter_model.safetensors").stat().st_mode) == 0o600


def test_a_second_export_gives_the_same_file(empty, archive, tmp_path):
    assert empty("adapters", "import", archive, "--base", empty.base).code == 0
    assert export(empty, tmp_path / "again.ditto").code == 0
    assert (tmp_path / "again.ditto").read_bytes() == archive.read_bytes()


def test_a_name_that_is_taken_is_refused_and_another_one_helps(stored, archive):
    before = stored.snapshot()
    result = stored("adapters", "import", archive)
    assert result.code == 2
    assert "--name" in result.error
    assert stored.snapshot() == before
    assert stored("adapters", "import", archive, "--name", "zoe", "--base", stored.base).code == 0
    assert stored.names() == ["alice", "zoe"]
    assert sampled(stored, "zoe") == sampled(stored, "alice")


def test_a_local_base_must_be_named_on_another_machine(empty, archive):
    result = empty("adapters", "import", archive)
    assert result.code == 2
    assert "--base" in result.error
    assert "tiny" in result.error
    assert not empty.home.exists()


@pytest.mark.parametrize("name", ["../x", "base", "a b", ""])
def test_a_name_that_cannot_be_one(empty, archive, name):
    result = empty("adapters", "import", archive, "--name", name)
    assert result.code == 2
    assert "cannot be an adapter's name" in result.error
    assert not empty.home.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "it was trained on tiny, and this base is"),
        ({"hidden_size": 48}, "it was trained on tiny, and this base is"),
        ({"template": CHATML + "x"}, "it was trained with another chat template than that of"),
    ],
)
def test_another_base_is_refused(empty, archive, tmp_path, changes, words):
    result = empty("adapters", "import", archive, "--base", save_tiny_base(tmp_path / "other", **changes))
    assert result.code == 3
    assert words in result.error
    assert not empty.home.exists()


def test_what_is_no_file_or_too_large_a_file_is_refused(empty, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.ditto").open("wb") as stream:
        stream.truncate(3 * 2**30)  # a hole, which takes no space
    for place, reason in {
        "nowhere.ditto": "does not exist",
        ".": "not a file",
        "pipe": "not a file",
        "large.ditto": "larger than",
    }.items():
        result = empty("adapters", "import", tmp_path / place)
        assert result.code == 2
        assert reason in result.error


def test_mistakes_are_found_without_torch(stored, archive, tmp_path):
    bad = tmp_path / "bad.ditto"
    bad.write_bytes(archive.read_bytes()[:-1])
    for arguments in ([bad], [archive], [archive, "--name", "../x"], [tmp_path / "nowhere"]):
        result = stored.without("torch", "adapters", "import", *arguments)
        assert result.code == 2, result.err


def test_the_import_of_the_private_fields_that_a_stranger_filled_in_drops_them(empty, archive, tmp_path):
    record, *others = read_members(archive.read_bytes())
    content = json.loads(record.data) | {"folder": "/etc", "watch_prompt": "x", "demonstration_hashes": ["ab" * 32]}
    content |= {"pair_hashes": ["cd" * 32], "rejected_hashes": ["ef" * 32]}
    path = tmp_path / "filled.ditto"
    path.write_bytes(write_zip([type(record)(record.name, json.dumps(content).encode()), *others]))
    assert empty("adapters", "import", path, "--base", empty.base).code == 0
    kept = empty.record("alice")
    assert (kept.folder, kept.watch_prompt) == (None, "")
    assert kept.demonstration_hashes == kept.pair_hashes == kept.rejected_hashes == []


def test_a_good_archive_written_anew_is_taken(empty, archive, tmp_path):
    """So the hostile ones are refused for what is wrong with them, and not for who wrote them."""
    path = tmp_path / "copy.ditto"
    members = read_members(archive.read_bytes())
    tensors = read_tensors(members[1].data)
    path.write_bytes(write_zip([members[0], type(members[1])(members[1].name, write_tensors(tensors))]))
    assert empty("adapters", "import", path, "--base", empty.base).code == 0


def test_every_hostile_archive_is_refused_and_leaves_no_trace(empty, archive, tmp_path, monkeypatch):
    from ditto_cli.cli.adapters import run_import
    from ditto_cli.errors import DittoError

    hostile = list(hostile_archives(archive.read_bytes()))
    assert len(hostile) >= 60
    assert len({name for name, _ in hostile}) == len({content for _, content in hostile}) == len(hostile)
    monkeypatch.setenv("DITTO_HOME", str(empty.home))
    path, temporary = places(tmp_path, monkeypatch)
    wrong = {}
    for name, content in hostile:
        path.write_bytes(content)
        before = seen(tmp_path)
        try:
            run_import(path, name=None, base=str(empty.base))
            code, message = 0, ""
        except DittoError as error:
            code, message = error.exit_code, str(error)
        if code not in (2, 3) or not 0 < len(message) < 1000 or seen(tmp_path) != before:
            wrong[name] = (code, message)
    assert not wrong
    assert not empty.home.exists()
    assert not list(temporary.iterdir())


def test_some_hostile_archives_by_the_command_line(stored, archive, tmp_path, monkeypatch):
    path, temporary = places(tmp_path, monkeypatch)
    before = stored.snapshot()
    hostile = list(hostile_archives(archive.read_bytes()))
    told = {"unknown key with control characters", "tensor name with a line break", "name is 100000 letters", "NaN"}
    told |= {name for name, _ in hostile[::16]}
    for name, content in hostile:
        if name not in told:
            continue
        path.write_bytes(content)
        arguments = ("adapters", "import", path, "--name", "zoe", "--base", stored.base)
        result = stored(*arguments, environment={"TMPDIR": str(temporary)})
        assert result.code in (2, 3), name
        assert [line for line in result.err.splitlines() if line != "hosts contacted: none"] == [result.error], name
        assert stored.snapshot() == before, name
    assert not list(temporary.iterdir())


def places(tmp_path, monkeypatch):
    """Where the hostile file lies, and a folder for temporary files of this process alone."""
    outside, temporary = tmp_path / "outside", tmp_path / "temporary"
    for folder in (outside, temporary):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    return outside / "hostile.ditto", temporary


def seen(folder):
    """Every path below a folder, with size and time."""
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if not path.is_dir()}
