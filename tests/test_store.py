"""The store: durable writes, generations that replace each other whole, names, records, and what is said of damage."""

import errno
import hashlib
import hmac
import json
import os
import stat
import time

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from disk_gate import intercepted
from ditto_cli.config import Settings
from ditto_cli.errors import DiskError, InputError
from ditto_cli.store import (
    AdapterRecord,
    AdapterStore,
    BaseIdentity,
    StageRecord,
    cache_home,
    check_name,
    describe_mismatch,
    files,
    keyed_hash,
    make_private_folder,
    remove_tree,
    store_home,
    suggest_name,
    write_bytes,
    write_text,
)
from ditto_cli.store.records import FileDigest, read_document, seal, store_key

BASE = BaseIdentity(
    source="hub",
    id="org/model",
    revision="aaa",
    config_digest="1" * 64,
    weights_digest="2" * 64,
    tokenizer_digest="3" * 64,
    chat_template_digest="4" * 64,
)


def make_record(stage_names=("sft", "round1"), **changes):
    fields = {
        "name": "alice",
        "created": "2026-01-02T03:04:05+00:00",
        "base": BASE,
        "quantize": "none",
        "settings": Settings(),
        "num_demonstrations": 2,
        "num_demonstration_tokens": 100,
        "demonstration_hashes": ["5" * 64, "6" * 64],
        "max_new_tokens": 64,
        "watch_prompt": "Write a note.",
        "base_sample": "Dear Sir or Madam,",
        "stages": [StageRecord(stage=stage, seconds=1.5, metrics={"loss": 2.0}, sample="Hi") for stage in stage_names],
        "published": stage_names[-1],
        "device": "cpu",
        "versions": {"ditto": "0"},
        "seconds": 3.0,
    }
    return AdapterRecord(**{**fields, **changes})


def stage_files(text):
    return {"adapter_config.json": b"{}", "adapter_model.safetensors": text.encode()}


def publish(store, name="alice", text="one", stages=("sft", "round1")):
    """Publish a generation, and tell its folder."""
    with store.training(name) as kept:
        for stage in stages:
            kept.add_stage(stage, stage_files(f"{text} {stage}"))
        kept.publish(make_record(stages, watch_prompt=text))
    return store.stage_folder(name).parent


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def store(tmp_path):
    return AdapterStore(tmp_path / "home")


# Writes


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert os.listdir(tmp_path) == ["file"]


def test_modes_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        make_private_folder(tmp_path / "a" / "b")
        write_bytes(tmp_path / "a" / "private", b"")
        write_bytes(tmp_path / "a" / "shared", b"", mode=0o644)
    finally:
        os.umask(before)
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]
    assert [mode(tmp_path / "a" / "private"), mode(tmp_path / "a" / "shared")] == [0o600, 0o644]


def test_an_existing_folder_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a")
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_disk_that_takes_three_bytes_at_a_time_gets_all_of_them(tmp_path, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:3]))
    write_bytes(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO],
)
def test_a_refused_write_leaves_the_old_file_and_says_one_line(tmp_path, monkeypatch, operation, number):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def refuse(*arguments):
        raise OSError(number, "words of the system")

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, refuse)
        with pytest.raises(DiskError) as caught:
            write_bytes(path, b"new")
    hint = "check the disk and the access rights, and try again."
    assert str(caught.value) == f"{path} cannot be written (words of the system): {hint}"
    assert tree(tmp_path) == {"file": b"old"}


def test_files_and_every_folder_that_got_a_name_are_flushed(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    make_private_folder(tmp_path / "a" / "b")
    write_bytes(tmp_path / "a" / "b" / "file", b"x")
    files.move(tmp_path / "a" / "b" / "file", tmp_path / "a" / "moved")
    root, a, b, file = (
        path.stat().st_ino for path in (tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/moved")
    )
    assert flushed == [root, a, file, b, a, b]


def test_a_file_system_without_folder_flush_is_accepted(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(tmp_path / "file", b"new")
    assert tree(tmp_path) == {"file": b"new"}


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match=r"file.* cannot be made \((Not a directory|File exists)\)"):
        make_private_folder(tmp_path / "file" / "below")
    with pytest.raises(DiskError, match="File exists"):
        make_private_folder(tmp_path / "file")


def test_remove_tree_takes_files_folders_links_and_what_is_not_there(tmp_path):
    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "kept")
    for file in ("a/b/file", "kept/file", "file"):
        write_bytes(tmp_path / file, b"x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("a", "file", "link", "nothing"):
        remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


# Homes and the key


def test_home_is_the_variable_else_the_platform_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for value in (str(tmp_path / "x"), "~/x", "x"):
        assert store_home({"DITTO_HOME": value}) == tmp_path / "x"
        assert cache_home({"DITTO_HOME": value}) == tmp_path / "x" / "cache"
    for nothing in ({}, {"DITTO_HOME": ""}):
        assert store_home(nothing).name == "ditto"
        assert store_home(nothing) != cache_home(nothing)


def test_key_is_made_once_private_and_differs_between_homes(tmp_path):
    key = store_key(tmp_path / "one")
    assert len(key) == 32
    assert store_key(tmp_path / "one") == key
    assert mode(tmp_path / "one" / "key") == 0o600
    assert store_key(tmp_path / "two") != key


def test_damaged_key_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(DiskError, match=r"key is damaged \(5 bytes instead of 32\): delete it"):
        store_key(tmp_path)


def test_keyed_hash_is_hmac_sha256_and_takes_any_text():
    assert keyed_hash(b"key", "text") == hmac.new(b"key", b"text", hashlib.sha256).hexdigest()
    assert keyed_hash(b"key", "text") != keyed_hash(b"other", "text")
    assert len(keyed_hash(b"key", "\ud800")) == 64


# Records


def test_record_survives_json_even_with_a_metric_that_is_not_a_number():
    record = make_record()
    assert AdapterRecord.model_validate_json(record.model_dump_json()) == record
    odd = make_record(("sft",)).model_copy(
        update={"stages": [StageRecord(stage="sft", seconds=1, metrics={"loss": float("nan")}, sample=None)]}
    )
    back = AdapterRecord.model_validate_json(odd.model_dump_json())
    assert str(back.stages[0].metrics["loss"]) == "nan"


@pytest.mark.parametrize(
    "changes",
    [
        {"published": "round2"},
        {"stages": []},
        {"stages": [StageRecord(stage="sft", seconds=1, metrics={}, sample=None)] * 2, "published": "sft"},
        {"created": "2026-01-02T03:04:05"},
        {"created": "2026-01-02T03:04:05+02:00"},
        {"created": "yesterday"},
        {"demonstration_hashes": ["the text itself"]},
        {"schema_version": 1},
        {"surprise": 1},
    ],
)
def test_record_refuses_what_does_not_fit_together(changes):
    with pytest.raises(ValidationError):
        make_record(**changes)


def test_a_sealed_document_is_read_back(tmp_path):
    record = make_record(watch_prompt="größer \ud800")
    write_bytes(tmp_path / "record.json", seal(record))
    assert read_document(tmp_path / "record.json", AdapterRecord) == record


def test_no_flipped_bit_of_a_document_goes_unseen(tmp_path):
    record, path = make_record(), tmp_path / "record.json"
    whole, num_harmless = seal(record), 0
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert read_document(path, AdapterRecord) == record
            num_harmless += 1
        except DiskError:
            pass
    assert num_harmless < 3  # 1e-05 may become 1E-05


def test_stage_name_cannot_be_a_path():
    with pytest.raises(ValidationError):
        StageRecord(stage="../sft", seconds=1, metrics={}, sample=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"source": "local", "id": "/models/copy", "revision": None}, None),
        (
            {"id": "org/other", "revision": None, "weights_digest": "9" * 64},
            "it was trained on org/model at revision aaa, and this base is org/other",
        ),
        (
            {"revision": "bbb", "weights_digest": "9" * 64},
            "it was trained on org/model at revision aaa, and this base is org/model at revision bbb",
        ),
        (
            {"weights_digest": "9" * 64},
            "it was trained on org/model at revision aaa with other weights than this base has now",
        ),
        (
            {"config_digest": "9" * 64},
            "it was trained on org/model at revision aaa with another configuration than this base has now",
        ),
        (
            {"tokenizer_digest": "9" * 64, "chat_template_digest": "9" * 64},
            "it was trained with another tokenizer than that of org/model at revision aaa",
        ),
        (
            {"chat_template_digest": "9" * 64},
            "it was trained with another chat template than that of org/model at revision aaa",
        ),
    ],
)
def test_mismatch_names_the_first_difference(changes, words):
    assert describe_mismatch(BASE, BASE.model_copy(update=changes)) == words


def test_the_embedded_base_is_itself_whether_it_was_converted_offline_or_not():
    one = BASE.model_copy(update={"source": "embedded", "id": "embedded", "revision": None})
    other = one.model_copy(update={"tokenizer_digest": "e" * 64})
    assert describe_mismatch(one, other) is None
    assert describe_mismatch(one, other.model_copy(update={"chat_template_digest": "e" * 64})) is not None


# Publishing


def test_publish_files_everything_where_peft_finds_it(store, tmp_path):
    generation = publish(store)
    assert generation == tmp_path / "home/adapters/alice/generations/000001"
    assert sorted(tree(tmp_path / "home" / "adapters")) == [
        "alice/generations/000001/record.json",
        "alice/generations/000001/round1/adapter_config.json",
        "alice/generations/000001/round1/adapter_model.safetensors",
        "alice/generations/000001/sft/adapter_config.json",
        "alice/generations/000001/sft/adapter_model.safetensors",
    ]
    for path in (tmp_path / "home").rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600)


def test_publish_fills_in_what_each_file_must_be_and_changes_nothing_else(store):
    record = make_record(watch_prompt="one")
    with store.training("alice") as kept:
        for stage in record.stage_names:
            kept.add_stage(stage, stage_files(f"one {stage}"))
        stored = kept.publish(record)
    assert stored == store.record("alice")
    assert {stage.stage: stage.files for stage in stored.stages} == {
        stage: {name: FileDigest.of(data) for name, data in stage_files(f"one {stage}").items()}
        for stage in ("sft", "round1")
    }
    weights = stored.stages[0].files["adapter_model.safetensors"]
    assert weights == FileDigest(size=7, sha256=hashlib.sha256(b"one sft").hexdigest())
    bare = [stage.model_copy(update={"files": {}}) for stage in stored.stages]
    assert stored.model_copy(update={"stages": bare}) == record


def test_publish_replaces_and_keeps_the_one_before(store):
    for text in ("one", "two", "three"):
        generation = publish(store, text=text)
    assert store.record("alice").watch_prompt == "three"
    assert sorted(os.listdir(generation.parent)) == ["000002", "000003"]
    assert store.names() == ["alice"]


def test_nothing_is_seen_before_publish_and_discard_leaves_nothing(store, tmp_path):
    with store.training("alice") as kept:
        kept.add_stage("sft", stage_files("x"))
        assert list(kept.digests) == ["sft"]
        assert store.names() == []
        assert not store.exists("alice")
    assert os.listdir(tmp_path / "home" / "adapters") == []


def test_an_error_in_a_run_leaves_the_adapter_before_it(store, tmp_path):
    publish(store)
    before = tree(tmp_path)

    def run():
        with store.training("alice") as kept:
            kept.add_stage("sft", stage_files("x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert tree(tmp_path) == before


def test_a_training_sweeps_what_was_to_be_removed_and_what_a_killed_run_left_a_day_ago(store, tmp_path):
    generations = publish(store).parent
    old, young, foreign = generations / ".staging-old", generations / ".staging-young", generations / ".git"
    removed, temporary = tmp_path / "home/adapters/.removed-x", tmp_path / "home/adapters/alice/.tmp-x"
    for folder in (old, young, foreign, removed):
        folder.mkdir()
    temporary.write_bytes(b"")
    day_ago = time.time() - 25 * 60 * 60
    for path in (old, foreign, temporary):
        os.utime(path, (day_ago, day_ago))
    with store.training("alice"):
        pass
    assert [path.exists() for path in (old, young, foreign, removed, temporary)] == [False, True, True, False, False]


def test_a_stage_that_does_not_fit_is_left_out_and_the_others_can_be_published(store):
    with store.training("alice") as kept:
        kept.add_stage("sft", stage_files("x"))
        with intercepted(Fault("write", at=1)), pytest.raises(DiskError):
            kept.add_stage("round1", stage_files("y"))
        assert list(kept.digests) == ["sft"]
        kept.publish(make_record(("sft",)))
    assert sorted(os.listdir(store.stage_folder("alice").parent)) == ["record.json", "sft"]
    assert store.check("alice") is None


class Killed(BaseException):
    """Stands for the end of the process: nobody handles it."""


class Fault:
    """Counts the changes of the disk, of one kind or all, and fails the N-th: once, from then on, or like a kill."""

    def __init__(self, kind=None, *, at, manner="once"):
        self.kind, self.at, self.manner = kind, at, manner
        self.num_operations = 0

    def __call__(self, operation):
        if self.kind in (None, operation.kind):
            self.num_operations += 1
            if self.num_operations == self.at or (self.num_operations > self.at and self.manner != "once"):
                raise Killed if self.manner == "kill" else OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("manner", ["once", "full", "kill"])
@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_a_fault_at_any_operation_leaves_the_old_adapter_or_the_new_one(tmp_path, manner, num_before):
    for fail_at in range(1, 1000):
        home = tmp_path / str(fail_at)
        store = AdapterStore(home)
        store.key()
        for number in range(num_before):
            publish(store, text=f"old {number}")
        old = tree(store.stage_folder("alice").parent) if num_before else None
        old_adapters = tree(home / "adapters")
        raised = None
        fault = Fault(at=fail_at, manner=manner)
        with intercepted(fault):
            try:
                publish(store, text="new")
            except (DiskError, Killed) as error:
                raised = error
        if fault.num_operations < fail_at:
            break
        now = tree(store.stage_folder("alice").parent) if store.exists("alice") else None
        if now != old:
            assert store.record("alice").watch_prompt == "new"
            assert now["round1/adapter_model.safetensors"] == b"new round1"
        if store.exists("alice"):
            assert store.check("alice") is None
        assert raised is not None or now != old
        if isinstance(raised, DiskError):
            assert "(No space left on device)" in str(raised)
        if manner == "once":  # the clean-up after the fault works again
            rubbish = [path for path in home.rglob("*") if path.name.startswith(".")]
            assert not [path for path in rubbish if path.parent.name != "locks"]
            assert now != old or tree(home / "adapters") == old_adapters
        publish(store, text="after")
        assert store.record("alice").watch_prompt == "after"
    assert raised is None
    assert fault.num_operations > 30  # 2 stages x 2 files x (create, write, sync, rename, sync_folder), and more


# Names and look-ups


def test_rename_and_remove(store, tmp_path):
    publish(store, "alice", "one")
    publish(store, "bob", "two")
    store.rename("alice", "carol")
    assert store.names() == ["bob", "carol"]
    assert store.record("carol").watch_prompt == "one"
    assert store.record("carol").name == "alice"
    with pytest.raises(InputError, match="There is already an adapter 'bob'"):
        store.rename("carol", "bob")
    with pytest.raises(InputError, match="cannot be an adapter's name"):
        store.rename("carol", "base")
    store.remove("carol")
    store.remove("bob")
    assert os.listdir(tmp_path / "home" / "adapters") == []


def test_remove_takes_what_is_left_of_an_adapter(store, tmp_path):
    left = store.evaluation_folder("alice")
    write_bytes(left / "report.html", b"x")
    assert (store.has("alice"), store.size_bytes("alice")) == (False, 1)
    store.remove("alice")
    assert os.listdir(tmp_path / "home" / "adapters") == []
    with pytest.raises(InputError, match="Unknown adapter"):
        store.remove("alice")


def test_a_removal_that_was_killed_is_finished_by_the_next(store, tmp_path):
    publish(store)

    def kill(operation):
        if operation.kind == "unlink" and "generations" in str(operation.path):
            raise KeyboardInterrupt

    with intercepted(kill), pytest.raises(KeyboardInterrupt):
        store.remove("alice")
    assert (store.names(), len(tree(tmp_path / "home" / "adapters")) > 0) == ([], True)
    assert (store.finish_removals(), store.finish_removals()) == (1, 0)
    assert tree(tmp_path / "home" / "adapters") == {}


def test_scratch_folders_of_dead_processes_are_found(store, tmp_path):
    with store.scratch_folder() as mine:
        dead = mine.with_name(".tmp-4194305-1-0123abcd")
        dead.mkdir()
        assert (store.finish_removals(), mine.exists(), dead.exists()) == (1, True, False)
    assert not mine.exists()


def test_leftovers_of_a_name_are_told_when_it_is_wanted(store):
    publish(store)
    store.evaluation_folder("al")
    with pytest.raises(InputError, match="`ditto forget al` removes them"):
        store.rename("alice", "al")


def test_of_two_that_make_the_first_key_both_use_one(tmp_path, monkeypatch):
    home = tmp_path / "home"
    seen = iter([[]])
    monkeypatch.setattr("ditto_cli.store.records.list_folder", lambda folder: next(seen, ["key"]))
    quicker = b"q" * 32
    home.mkdir()
    (home / "key").write_bytes(quicker)  # between the look and the write
    assert store_key(home) == quicker == (home / "key").read_bytes()


def test_unknown_names_get_the_nearest(store):
    with pytest.raises(InputError) as caught:
        store.record("alice")
    assert (
        str(caught.value) == "Unknown adapter 'alice': there are no adapters yet; make one with `ditto train FOLDER`."
    )
    publish(store, "alice")
    with pytest.raises(InputError, match=r"^Unknown adapter 'alcie': did you mean alice\?$"):
        store.remove("alcie")
    for name in ("alina", "bob"):
        publish(store, name)
    with pytest.raises(InputError) as caught:
        store.stage_folder("alcie", None)
    assert str(caught.value) == "Unknown adapter 'alcie': did you mean alice, alina or bob?"


@pytest.mark.parametrize("name", ["../alice", "", ".", "alice/../alice", "/"])
def test_a_name_never_leads_out_of_the_store(store, name):
    publish(store)
    assert not store.exists(name)
    for look_up in (store.record, store.check, store.remove, store.size_bytes, store.stage_folder):
        with pytest.raises(InputError, match="Unknown adapter"):
            look_up(name)


@pytest.mark.parametrize("name", ["alice", "a", "7", "my_emails", "A.b-c_d", "rounded", "sft2", "base1", "x" * 64])
def test_good_names(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("my emails", "my-emails"),
        ("José", "Jose"),
        ("a/b\\c", "a-b-c"),
        ("-x", "x"),
        ("..", "my-adapter"),
        ("", "my-adapter"),
        ("日本", "my-adapter"),
        ("line\nbreak\n", "line-break"),
        ("x" * 65, "x" * 64),
        ("base", "my-base"),
        ("few-shot", "my-few-shot"),
        ("SFT", "my-SFT"),
        ("round12", "my-round12"),
    ],
)
def test_bad_names_come_with_a_good_one(name, suggestion):
    assert suggest_name(name) == suggestion
    with pytest.raises(InputError) as caught:
        check_name(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"; try {suggestion!r}.")
    check_name(suggestion)


def test_a_bad_name_is_refused_before_the_disk_is_touched(store, tmp_path):
    with pytest.raises(InputError), store.training("a/b"):
        pass
    assert os.listdir(tmp_path) == []


def test_stage_folder_takes_long_and_short_words(store):
    generation = publish(store, stages=("sft", "round1", "round2"))
    assert store.stage_folder("alice", None) == generation / "round2"
    assert store.stage_folder("alice", "sft") == generation / "sft"
    assert store.stage_folder("alice", "round1") == generation / "round1"
    assert store.stage_folder("alice", "2") == generation / "round2"
    for unknown in ("3", "round3", "", "../sft"):
        with pytest.raises(InputError, match=r"has no stage .*: it has sft, round1, round2"):
            store.stage_folder("alice", unknown)


def test_two_homes_do_not_see_each_other(tmp_path):
    one, two = AdapterStore(tmp_path / "one"), AdapterStore(tmp_path / "two")
    publish(one, "alice")
    publish(two, "bob")
    assert (one.names(), two.names()) == (["alice"], ["bob"])


def test_size_counts_all_files(store, tmp_path):
    publish(store)
    publish(store, text="two")
    assert store.size_bytes("alice") == sum(len(data) for data in tree(tmp_path / "home/adapters/alice").values())


# Damage


class Anything(BaseModel):
    """A document with whatever fields."""

    model_config = ConfigDict(extra="allow")


def edit(path, **changes):
    """Change a document's fields, None to drop one, and give it a seal that fits, as only a defect of ditto could."""
    content = json.loads(path.read_text()) | changes
    path.write_bytes(
        seal(Anything(**{key: content[key] for key in content if content[key] is not None and key != "sha256"}))
    )


RECORD = "generations/000001/record.json"
WEIGHTS = "generations/000001/sft/adapter_model.safetensors"


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (RECORD, lambda path: path.write_text("{"), "not valid JSON"),
        (RECORD, lambda path: path.write_bytes(b"\xff\xfe"), "not valid JSON"),
        (RECORD, lambda path: path.write_text("[" * 100_000), "not valid JSON"),
        (RECORD, lambda path: path.write_text("[]"), "not a JSON object"),
        (RECORD, lambda path: path.unlink(), "is missing: train the adapter again, or remove it."),
        (RECORD, lambda path: path.write_text(path.read_text().replace("cpu", "gpu")), "its digest is not that of its"),
        (RECORD, lambda path: path.write_text(path.read_text().replace("sha256", "sha512")), "its digest is not that"),
        (RECORD, lambda path: edit(path, device=None), "device: Field required"),
        (RECORD, lambda path: edit(path, surprise=1), "surprise: Extra inputs"),
        (RECORD, lambda path: edit(path, schema_version=0), "schema_version"),
        (RECORD, lambda path: edit(path, schema_version=3), "by a newer ditto (format 3, this one reads 2): upgrade"),
        (RECORD, lambda path: edit(path, published="../x"), "published"),
        (WEIGHTS, lambda path: path.unlink(), "is missing: train the adapter again, or remove it."),
        (WEIGHTS, lambda path: path.write_bytes(path.read_bytes()[:-1]), "its size is not what was written"),
    ],
)
def test_damage_is_told_in_one_line_and_can_be_listed_removed_and_trained_over(store, tmp_path, file, damage, words):
    publish(store, "alice")
    publish(store, "bob")
    path = tmp_path / "home" / "adapters" / "alice" / file
    damage(path)
    with pytest.raises(DiskError) as caught:
        store.record("alice")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    alice, bob = store.entries()
    assert (alice.name, alice.record, alice.problem) == ("alice", None, str(caught.value))
    assert store.check("alice") == str(caught.value)
    assert alice.size_bytes == store.size_bytes("alice")
    assert (bob.name, bob.problem) == ("bob", None)
    publish(store, "alice", "again")
    assert store.record("alice").watch_prompt == "again"
    path.parent.mkdir(exist_ok=True, parents=True)
    store.remove("alice")
    assert store.names() == ["bob"]


def test_a_flipped_bit_in_the_weights_is_found_by_who_reads_them_whole(store, tmp_path):
    publish(store)
    path = tmp_path / "home/adapters/alice" / WEIGHTS
    assert store.check("alice") is None
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert store.record("alice").watch_prompt == "one"  # a look at sizes only
    problem = f"{path} is damaged (its content is not what was written): train the adapter again, or remove it."
    assert store.check("alice") == problem
    with pytest.raises(DiskError) as caught:
        store.checked_stage_folder("alice", "sft")
    assert str(caught.value) == problem
    assert store.checked_stage_folder("alice") == store.stage_folder("alice")  # round1 is whole


def test_a_missing_file_is_told_without_a_traceback(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        files.read_bytes(tmp_path / "nothing")
