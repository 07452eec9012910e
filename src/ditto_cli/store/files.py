"""Bytes -> files that are either the old ones or the new ones, never half of each; every write goes through here.

A file is written beside its place, flushed to the disk, renamed onto its place, and the folder is flushed after it.
Whatever the operating system refuses becomes a `DiskError` of one line. This module knows nothing of adapters.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ditto_cli.errors import DiskError

# Names of unfinished work, and of what is to be removed, start like this; whoever owns the folder sweeps what a killed
# process leaves of them.
TEMPORARY_PREFIX, STAGING_PREFIX, REMOVED_PREFIX = ".tmp-", ".staging-", ".removed-"
_STALE_SECONDS = 24 * 60 * 60


def write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put `data` into `path` so that a reader sees the old file or the whole new one.

    Its folder must exist; `mode` is that of the new file, before the umask.

    Raises:
        DiskError: the disk refused. The old file is as it was, unless only the last flush of the folder failed, when
            the new file is already in its place.
    """
    temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
    with disk_errors(path, "written"):
        try:
            _write_new_file(temporary, data, mode)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    fsync_path(path.parent)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """`write_bytes` of `text` as UTF-8, line ends as they are."""
    write_bytes(path, text.encode("utf-8"), mode=mode)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, by name, into a private folder, one after the other; where one fails the whole folder goes."""
    try:
        make_private_folder(folder)
        for name, data in contents.items():
            write_bytes(folder / name, data)
    except BaseException:
        with suppress(DiskError):
            remove_tree(folder)
        raise


def append_line(path: Path, line: str) -> None:
    """Put `line` and a newline at the end of a private file, which is made if it is missing; its folder must exist.

    A last line that a crash cut off stays as it is, and the new one begins behind it. Where the disk refuses, all
    earlier lines are as they were.
    """
    assert "\n" not in line, "one line"
    with disk_errors(path, "written"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with suppress(OSError):  # some network disks cannot lock; the worst is then an empty line
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # until closed: nobody adds between look and write
            size = os.fstat(descriptor).st_size
            is_cut_off = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            begin = b"\n" if is_cut_off else b""
            _write(descriptor, begin + line.encode("utf-8") + b"\n")
        finally:
            os.close(descriptor)
    if size == 0:
        fsync_path(path.parent)


def make_exclusively(path: Path, data: bytes) -> bool:
    """Make a private file, or return False when there is one: of several processes only one makes it."""
    temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
    with disk_errors(path, "written"):
        try:
            _write_new_file(temporary, data, 0o600)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # a disk without second names
                try:
                    _write_new_file(path, data, 0o600)
                except FileExistsError:
                    return False
            return True
        finally:
            with suppress(OSError):
                os.unlink(temporary)


def read_bytes(path: Path) -> bytes:
    """The whole content of a file of ours."""
    with disk_errors(path, "read"):
        return path.read_bytes()


def move(source: Path, target: Path) -> None:
    """Rename a file or folder within one disk, and flush both folders that changed.

    Where only a flush failed, the move has already happened.
    """
    with disk_errors(target, "written"):
        os.replace(source, target)
    fsync_path(target.parent)
    if source.parent != target.parent:
        fsync_path(source.parent)


def make_private_folder(path: Path) -> None:
    """Make `path` and its missing parents, each readable by its owner alone; existing folders keep their rights."""
    missing: list[Path] = []
    with disk_errors(path, "made"):
        folder = path
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                if not folder.is_dir():  # else another process was faster, which is as good
                    raise
            fsync_path(folder.parent)


def list_folder(path: Path) -> list[str]:
    """Sorted names in a folder; none when there is no such folder."""
    with disk_errors(path, "read"):
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []


def list_numbered(path: Path) -> list[Path]:
    """What has a number of six digits or more for its name in a folder, lowest first."""
    names = [name for name in list_folder(path) if re.fullmatch(r"[0-9]{6,}", name)]
    return [path / name for name in sorted(names, key=int)]


def next_numbered(path: Path) -> Path:
    """Where what gets the next number in a folder will lie."""
    before = list_numbered(path)
    number = int(before[-1].name) + 1 if before else 1
    return path / f"{number:06d}"


def folder_size(path: Path) -> int:
    """Bytes of all files below a folder; a file that vanishes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens when it is not there."""
    with disk_errors(path, "removed"), suppress(FileNotFoundError):  # another process may remove it at the same time
        if not path.is_dir() or path.is_symlink():
            os.unlink(path)
            return
        for name in os.listdir(path):
            remove_tree(path / name)
        os.rmdir(path)


def remove_empty_folder(path: Path) -> None:
    """Remove a folder if nothing is in it."""
    with suppress(OSError):
        os.rmdir(path)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder: what was to be removed, and old work in progress."""
    for name in list_folder(folder):
        if name.startswith((STAGING_PREFIX, REMOVED_PREFIX, TEMPORARY_PREFIX)):
            # Rubbish that cannot be removed is no reason to refuse a training.
            with suppress(DiskError, OSError):
                is_old = time.time() - (folder / name).lstat().st_mtime > _STALE_SECONDS
                if is_old or name.startswith(REMOVED_PREFIX):
                    remove_tree(folder / name)


def fsync_path(path: Path) -> None:
    """Flush the names in a folder, or a file that some library wrote, so that they survive a power cut."""
    with disk_errors(path, "written"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network and FUSE file systems have no flush for folders; nothing more can be done on those.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def fsync_tree(path: Path) -> None:
    """Flush a folder and everything below it before it is moved to its place."""
    for folder, _, names in os.walk(path):
        for name in names:
            fsync_path(Path(folder, name))
        fsync_path(Path(folder))


def _write_new_file(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


@contextmanager
def disk_errors(path: Path, action: str) -> Iterator[None]:
    """Within the block, what the operating system refuses becomes a DiskError of one line; `action` is a participle."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DiskError(
            f"{path} cannot be {action} ({reason}): check the disk and the access rights, and try again."
        ) from error
