"""A log of changes -> the states in which a disk may be after the power went, as POSIX allows them.

A file's bytes are sure once it was flushed, a name (made, moved, removed) once its folder was. What is not sure may be
there or not, each on its own, and a file's bytes none, half or all.
"""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0


@dataclass
class _Change:
    """A change of names, an addition to a file, or a flush; `sure_after` is the place of the flush that it needed."""

    kind: str
    inode: int
    place: tuple = ()  # (folder's inode, name) that gets the inode, or loses it
    source: tuple = ()
    data: bytes = b""
    sure_after: int | None = None


@dataclass
class Log:
    """Listens to `disk_gate` below one folder, which is empty at first; `mark` names what was finished when."""

    root: Path
    changes: list = field(default_factory=list)
    marks: list = field(default_factory=list)
    _paths: dict = field(default_factory=dict)
    _next: int = 1

    def __post_init__(self):
        self._paths[self.root] = ROOT

    def mark(self, state):
        self.marks.append((len(self.changes), state))

    def __call__(self, operation):
        path, now = operation.path, len(self.changes)
        if operation.kind in ("create", "mkdir"):
            self._paths[path] = self._next
            self.changes.append(_Change(operation.kind, self._next, self._place(path)))
            self._next += 1
        elif operation.kind == "write":
            self.changes.append(_Change("write", self._paths[path], data=operation.data))
        elif operation.kind == "sync":
            self._be_sure(now, lambda change: change.kind == "write" and change.inode == self._paths[path])
            self.changes.append(_Change("sync", -1))
        elif operation.kind == "sync_folder":
            folder = self._paths.get(path)  # the home's own parent is not our matter
            self._be_sure(now, lambda change: bool(change.place) and change.place[0] == folder)
            self.changes.append(_Change("sync", -1))
        elif operation.kind == "link":
            self._paths[operation.target] = self._paths[path]
            self.changes.append(_Change("link", self._paths[path], self._place(operation.target)))
        elif operation.kind == "rename":
            inode = self._paths[path]
            self.changes.append(_Change("rename", inode, self._place(operation.target), self._place(path)))
            moved = {known: number for known, number in self._paths.items() if known.is_relative_to(path)}
            for known, number in moved.items():
                del self._paths[known]
                self._paths[operation.target / known.relative_to(path)] = number
        elif path in self._paths and _can_go(path):  # a lock file is made past the gate
            self.changes.append(_Change("remove", self._paths.pop(path), self._place(path)))

    def _place(self, path):
        return self._paths[path.parent], path.name

    def _be_sure(self, now, concerns):
        for change in self.changes:
            if change.sure_after is None and concerns(change):
                change.sure_after = now


def _can_go(path):
    """Whether a removal that is about to be tried will succeed: some are tried and may fail."""
    return path.is_file() or (path.is_dir() and not any(path.iterdir()))


def states(log, *, per_moment, seed=0):
    """(moment, {path: bytes or None for a folder}) of possible states, several for every moment."""
    generator = random.Random(seed)
    for moment in range(len(log.changes) + 1):
        happened = log.changes[:moment]
        unsure = [i for i, change in enumerate(happened) if change.sure_after is None or change.sure_after >= moment]
        choices = [set(), set(unsure)]
        while len(choices) < per_moment:
            choices.append({i for i in unsure if generator.random() < 0.5})
        for chosen in choices:
            yield moment, _build(happened, set(unsure), chosen, generator)


def _build(happened, unsure, chosen, generator):
    folders, contents = {ROOT: {}}, {}
    for i, change in enumerate(happened):
        if change.kind == "sync":
            continue
        if change.kind == "write":
            data = change.data
            if i in unsure:
                data = data if i in chosen else data[: generator.choice((0, len(data) // 2))]
            contents[change.inode] = contents.get(change.inode, b"") + data
            continue
        if change.kind == "mkdir":
            folders[change.inode] = {}
        elif change.kind == "create":
            contents.setdefault(change.inode, b"")
        if i in unsure and i not in chosen:
            continue
        folder, name = change.place
        if change.kind == "remove":
            folders[folder].pop(name, None)
            continue
        if change.kind == "rename":
            folders[change.source[0]].pop(change.source[1], None)
        folders[folder][name] = change.inode
    tree = {}
    _walk(ROOT, "", folders, contents, tree)
    return tree


def _walk(inode, path, folders, contents, tree):
    for name, child in folders[inode].items():
        below = f"{path}{name}"
        if child in folders:
            tree[below] = None
            _walk(child, below + "/", folders, contents, tree)
        else:
            tree[below] = contents[child]


def lay_out(tree, folder):
    """Write a state into an empty folder."""
    folder.mkdir(parents=True)
    for path, data in tree.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
            os.utime(folder / path, (0, 0))  # the machine was off for a while
