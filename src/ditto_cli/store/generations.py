"""Finished stages of a run -> the next generation of an adapter, in one step that either happens or does not.

    <adapter>/generations/000002/record.json      what it is
    <adapter>/generations/000002/<stage>/         adapter_config.json, adapter_model.safetensors: PEFT's own names
    <adapter>/generations/.staging-<random>/      one in the making, or what a killed process left

A generation gets its number only when it is complete, and is never changed afterwards: the newest number is the one in
use. An earlier ditto also wrote that number into <adapter>/current.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ditto_cli.errors import DiskError
from ditto_cli.store import files
from ditto_cli.store.records import AdapterRecord, FileDigest, damaged, missing_file, seal

RECORD_FILE = "record.json"
GENERATIONS_FOLDER = "generations"
STAGE_FILES = ("adapter_config.json", "adapter_model.safetensors")
STAGING_PREFIX = ".staging-"
REMOVED_PREFIX = ".removed-"
NUM_KEPT_GENERATIONS = 2  # the one before may still be read by a command that started earlier


class StagedGeneration:
    """A generation in the making.

    Attributes:
        digests: stage -> file name -> digest, of the stages that are safely on the disk, in the order of their coming.
    """

    def __init__(self, adapter: Path, folder: Path) -> None:
        self._adapter = adapter
        self._folder = folder
        self.digests: dict[str, dict[str, FileDigest]] = {}

    def stage_folder(self, stage: str) -> Path:
        """Where a stage lies until all of it is published."""
        return self._folder / stage

    def add_stage(self, stage: str, contents: Mapping[str, bytes]) -> None:
        """Write one finished stage, durably: PEFT's file names and what is in them.

        Raises:
            DiskError: the disk refused; the stages before this one are kept.
        """
        assert stage not in self.digests, f"stage {stage} was added before"
        assert set(STAGE_FILES) <= set(contents), f"stage {stage} needs {STAGE_FILES}"
        files.write_folder(self._folder / stage, contents)
        self.digests[stage] = {name: FileDigest.of(data) for name, data in contents.items()}

    def adopt(self, digests: Mapping[str, Mapping[str, FileDigest]]) -> None:
        """Take over the stages that an earlier process wrote here, and remove what else is here.

        Raises:
            DiskError: one of them is missing or damaged; nothing is taken over.
        """
        self._check(digests)
        for name in files.list_folder(self._folder):
            if name not in digests:
                files.remove_tree(self._folder / name)
        self.digests = {stage: dict(contents) for stage, contents in digests.items()}

    def publish(self, record: AdapterRecord) -> AdapterRecord:
        """Make this the adapter's current generation, and remove those older than the one before.

        Returns:
            The record as it is stored, with the digests of all files.

        Raises:
            DiskError: the disk refused. The adapter is what it was, unless only the last flush failed, when it is
                already the new one.
        """
        assert set(record.stage_names) == set(self.digests), "the record must list the stages that were added"
        self._check(self.digests)  # what a disk or another process did to them since is found here
        stages = [stage.model_copy(update={"files": self.digests[stage.stage]}) for stage in record.stages]
        stored = record.model_copy(update={"stages": stages})
        files.write_bytes(self._folder / RECORD_FILE, seal(stored))
        generations = self._adapter / GENERATIONS_FOLDER
        files.make_private_folder(generations)
        before = files.list_numbered(generations)
        files.move(self._folder, files.next_numbered(generations))
        # The new generation is published; what cannot be removed now goes after the next one.
        with suppress(DiskError):
            files.remove_tree(self._adapter / "current.json")  # else an earlier ditto would go on with the one before
            for old in before[: 1 - NUM_KEPT_GENERATIONS]:
                files.remove_tree(old)
        return stored

    def _check(self, digests: Mapping[str, Mapping[str, FileDigest]]) -> None:
        for stage, contents in digests.items():
            for name, digest in contents.items():
                check_file(self._folder / stage / name, digest)


def current_generation(adapter: Path) -> Path | None:
    """Folder of the generation in use; None when there is none."""
    generations = files.list_numbered(adapter / GENERATIONS_FOLDER)
    return generations[-1] if generations else None


def check_file(path: Path, digest: FileDigest) -> None:
    """Accept a file whose content is what its record says.

    Raises:
        DiskError: it is missing, or was changed since.
    """
    if path.name not in files.list_folder(path.parent):
        raise missing_file(path)
    if FileDigest.of(files.read_bytes(path)) != digest:
        raise damaged(path, "its content is not what was written")
