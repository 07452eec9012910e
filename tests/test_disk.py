"""The changes that `store.files` makes to a disk: which, in which order, and what is left when one is refused."""

import ast
import errno
from pathlib import Path

import pytest

import ditto_cli
from disk_gate import intercepted
from ditto_cli.errors import DiskError
from ditto_cli.store import append_line, fsync_tree, make_private_folder, move, remove_tree, write_bytes

STORE = Path(ditto_cli.__file__).parent / "store"
# What changes a disk.
CHANGES = {"write", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "makedirs", "rmdir", "link", "symlink"}
CHANGES |= {"write_bytes", "write_text", "rmtree", "copy", "copyfile", "copytree", "touch", "truncate"}


class Refusing:
    """Notes every operation; refuses those of one kind."""

    def __init__(self, kind=None):
        self.kind = kind
        self.heard = []

    def __call__(self, operation):
        self.heard.append(operation)
        if operation.kind == self.kind:
            raise OSError(errno.EIO, "words of the system")

    @property
    def kinds(self):
        return [operation.kind for operation in self.heard]


def test_a_write_is_told_step_by_step_with_what_is_written(tmp_path):
    path, noted = tmp_path / "file", Refusing()
    with intercepted(noted):
        write_bytes(path, b"new")
    create, write, sync, rename, sync_folder = noted.heard
    assert noted.kinds == ["create", "write", "sync", "rename", "sync_folder"]
    assert create.path == write.path == sync.path == rename.path != path
    assert (rename.target, sync_folder.path, write.data) == (path, tmp_path, b"new")
    assert write.descriptor > 0


def test_folders_moves_and_removals_are_told(tmp_path):
    noted = Refusing()
    with intercepted(noted):
        make_private_folder(tmp_path / "a" / "b")
        write_bytes(tmp_path / "a" / "b" / "file", b"x")
        del noted.heard[:]
        fsync_tree(tmp_path / "a")
        move(tmp_path / "a" / "b", tmp_path / "c")
        remove_tree(tmp_path / "c")
    told = [(operation.kind, operation.path.relative_to(tmp_path).as_posix()) for operation in noted.heard]
    assert told == [
        ("sync_folder", "a"),
        ("sync", "a/b/file"),
        ("sync_folder", "a/b"),
        ("rename", "a/b"),
        ("sync_folder", "."),
        ("sync_folder", "a"),
        ("unlink", "c/file"),
        ("rmdir", "c"),
    ]


@pytest.mark.parametrize("kind", ["create", "write", "sync", "rename"])
def test_what_is_refused_does_not_happen(tmp_path, kind):
    write_bytes(tmp_path / "file", b"old")
    with intercepted(Refusing(kind)), pytest.raises(DiskError, match="words of the system"):
        write_bytes(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


@pytest.mark.parametrize("kind", ["create", "write", "sync"])
def test_a_line_that_is_refused_leaves_the_earlier_ones(tmp_path, kind):
    path = tmp_path / "lines"
    append_line(path, "one")
    with intercepted(Refusing(kind)), pytest.raises(DiskError):
        append_line(path, "two")
    append_line(path, "three")
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("one", "three")
    assert set(lines[1:-1]) <= {"two"}  # only the flush failed


def test_a_line_is_added_behind_one_that_a_crash_cut_off(tmp_path):
    path, noted = tmp_path / "lines", Refusing()
    path.write_bytes(b"one\ntw")
    with intercepted(noted):
        append_line(path, "three")
    assert path.read_bytes() == b"one\ntw\nthree\n"
    assert noted.kinds == ["create", "write", "sync"]


def changes_of_a_disk(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if is_method_call(node) and node.func.attr in CHANGES:
            owner = ast.unparse(node.func.value)
            if owner != "files":
                yield f"{path.name}: {owner}.{node.func.attr}"


def test_nothing_else_in_the_store_changes_a_disk():
    sources = [path for path in sorted(STORE.rglob("*.py")) if path.name != "files.py"]
    assert [change for path in sources for change in changes_of_a_disk(path)] == []


def test_the_reading_of_the_store_sees_what_files_does():
    seen = {change.rpartition(".")[2] for change in changes_of_a_disk(STORE / "files.py")}
    assert seen == {"write", "fsync", "replace", "link", "unlink", "mkdir", "rmdir"}


def is_method_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
