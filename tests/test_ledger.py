"""Lines added to a file so that a crash costs one line at most, and the ledger of answers that is made of them."""

import errno
import hashlib
import hmac
import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from os import write  # the real one, where a test puts another in its place

import pytest

from ditto_cli.errors import DiskError
from ditto_cli.evaluation.judges import Answer, Ledger
from ditto_cli.store import append_line

ANSWER = Answer("A", 120, 8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


# append_line


def test_lines_are_added_in_order_to_a_private_file(path):
    before = os.umask(0)
    try:
        for line in ("one", "größer", ""):
            append_line(path, line)
    finally:
        os.umask(before)
    assert path.read_bytes() == "one\ngrößer\n\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_last_line_does_not_swallow_the_next(path):
    path.write_bytes(b"one\ntwo, torn he")
    append_line(path, "three")
    append_line(path, "four")
    assert path.read_bytes() == b"one\ntwo, torn he\nthree\nfour\n"


def test_a_line_is_one_write(path, monkeypatch):
    path.write_bytes(b"torn")
    writes = []
    monkeypatch.setattr(os, "write", lambda descriptor, data: writes.append(bytes(data)) or write(descriptor, data))
    append_line(path, "one")
    assert writes == [b"\none\n"]


def test_lines_of_many_writers_do_not_mix(path):
    lines = [str(number) * 500 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda line: append_line(path, line), lines))
    assert sorted(path.read_text().splitlines()) == sorted(lines)


def test_a_disk_that_takes_three_bytes_at_a_time_gets_all_of_them(path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    append_line(path, "0123456789")
    assert path.read_bytes() == b"0123456789\n"


def test_the_file_is_flushed_and_its_folder_when_it_is_new(path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    append_line(path, "one")
    append_line(path, "two")
    file, folder = path.stat().st_ino, path.parent.stat().st_ino
    assert flushed == [file, folder, file]


@pytest.mark.parametrize("operation", ["open", "write", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_refused_line_is_one_error_line_and_earlier_lines_stay(path, monkeypatch, operation, number):
    append_line(path, "one")

    def refuse(*arguments):
        raise OSError(number, "words of the system")

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, refuse)
        with pytest.raises(DiskError) as caught:
            append_line(path, "two")
    hint = "check the disk and the access rights, and try again."
    assert str(caught.value) == f"{path} cannot be written (words of the system): {hint}"
    assert path.read_text().splitlines()[0] == "one"


def test_a_disk_that_fills_up_within_a_line_costs_that_line_only(path, monkeypatch):
    append_line(path, "one")
    sizes = iter([3])

    def fills_up(descriptor, data):
        size = next(sizes, None)
        if size is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:size])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fills_up)
        with pytest.raises(DiskError, match="No space left"):
            append_line(path, "second")
    append_line(path, "three")
    assert path.read_text() == "one\nsec\nthree\n"


# Ledger


def test_an_answer_is_found_by_the_next_run_under_its_judge_and_question(path):
    Ledger(path).add("judge", "question", ANSWER)
    ledger = Ledger(path)
    assert ledger.get("judge", "question") == ANSWER
    assert ledger.get("other judge", "question") is None
    assert ledger.get("judge", "other question") is None


def test_a_line_with_what_an_earlier_ditto_wrote_besides_counts(path):
    Ledger(path).add("judge", "question", ANSWER)
    path.write_text(path.read_text().replace("}", ',"marks":["0"]}'))
    assert Ledger(path).get("judge", "question") == ANSWER


@pytest.mark.parametrize("choice", ["A", "B", "tie", None])
def test_every_choice_comes_back(path, choice):
    Ledger(path).add("judge", "question", Answer(choice))
    assert Ledger(path).get("judge", "question") == Answer(choice, 0, 0)


def test_the_last_answer_to_a_question_counts(path):
    ledger = Ledger(path)
    ledger.add("judge", "question", Answer("A"))
    ledger.add("judge", "question", Answer("B"))
    assert ledger.get("judge", "question") == Ledger(path).get("judge", "question") == Answer("B")


def test_a_line_holds_a_keyed_digest_and_no_text(path):
    Ledger(path, key=b"secret").add("judge", "the quokka is ill", ANSWER)
    line = json.loads(path.read_text())
    message = b"judge\x1f1\x1fthe quokka is ill"  # judge, version of the question, question
    assert line == {
        "schema_version": 1,
        "digest": hmac.new(b"secret", message, hashlib.sha256).hexdigest(),
        "choice": "A",
        "prompt_tokens": 120,
        "completion_tokens": 8,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Ledger(path, key=b"other").get("judge", "the quokka is ill") is None


def test_another_version_of_the_question_is_another_question(path, monkeypatch):
    Ledger(path).add("judge", "question", ANSWER)
    monkeypatch.setattr("ditto_cli.evaluation.judges.QUESTION_VERSION", 2)
    assert Ledger(path).get("judge", "question") is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\x00\x00\x00",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"schema_version":1}',
        b'{"schema_version":2,"digest":"DIGEST","choice":"A","prompt_tokens":0,"completion_tokens":0}',
        b'{"schema_version":1,"digest":"DIGEST","choice":"C","prompt_tokens":0,"completion_tokens":0}',
        b'{"schema_version":1,"digest":"DIGEST","choice":"A","prompt_tokens":-1,"completion_tokens":0}',
        b'{"schema_version":1,"digest":"short","choice":"A","prompt_tokens":0,"completion_tokens":0}',
    ],
)
def test_a_damaged_line_is_skipped(path, damage):
    Ledger(path).add("judge", "one", ANSWER)
    digest = json.loads(path.read_bytes())["digest"]
    with path.open("ab") as stream:
        stream.write(damage.replace(b"DIGEST", digest.encode()) + b"\n")
    Ledger(path).add("judge", "two", ANSWER)
    again = Ledger(path)
    assert (again.get("judge", "one"), again.get("judge", "two")) == (ANSWER, ANSWER)


def test_a_file_cut_at_any_byte_loses_the_cut_line_only(path):
    for question in ("one", "two"):
        Ledger(path).add("judge", question, ANSWER)
    whole = path.read_bytes()
    for size in range(len(whole) // 2 + 1, len(whole) - 1):
        path.write_bytes(whole[:size])
        cut = Ledger(path)
        assert (cut.get("judge", "one"), cut.get("judge", "two")) == (ANSWER, None)
    cut.add("judge", "three", ANSWER)
    again = Ledger(path)
    assert [again.get("judge", question) for question in ("one", "two", "three")] == [ANSWER, None, ANSWER]


def test_without_a_path_it_keeps_answers_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(None)
    ledger.add("judge", "question", ANSWER)
    assert ledger.get("judge", "question") == ANSWER
    assert os.listdir(tmp_path) == []


def test_what_was_forgotten_meanwhile_is_not_made_again(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    ledger = Ledger(folder / "answers.jsonl")
    ledger.add("judge", "question", ANSWER)
    shutil.rmtree(folder)
    with pytest.raises(DiskError, match=r"cannot be written \(No such file or directory\): check the disk"):
        ledger.add("judge", "another question", ANSWER)
    assert os.listdir(tmp_path) == []


def test_an_unreadable_ledger_is_a_disk_error(path):
    path.mkdir()
    with pytest.raises(DiskError, match=r"answers\.jsonl"):
        Ledger(path)
