"""Everything on disk: durable writes, adapters by name, their records. No torch."""

from ditto_cli.store.adapters import AdapterEntry, AdapterStore
from ditto_cli.store.archive import ARCHIVE_SUFFIX, AdapterArchive, export_archive, read_archive
from ditto_cli.store.files import (
    append_line,
    fsync_folder,
    fsync_tree,
    make_exclusively,
    make_private_folder,
    move,
    read_bytes,
    remove_tree,
    write_bytes,
    write_text,
)
from ditto_cli.store.generations import STAGE_FILES, StagedGeneration
from ditto_cli.store.home import cache_home, store_home
from ditto_cli.store.names import check_name, suggest_name
from ditto_cli.store.records import (
    AdapterRecord,
    BaseIdentity,
    StageRecord,
    describe_mismatch,
    keyed_hash,
    store_key,
)
from ditto_cli.store.runs import (
    LookState,
    RunIdentity,
    RunState,
    SampleState,
    StepState,
    UnfinishedRun,
)

__all__ = [
    "ARCHIVE_SUFFIX",
    "STAGE_FILES",
    "AdapterArchive",
    "AdapterEntry",
    "AdapterRecord",
    "AdapterStore",
    "BaseIdentity",
    "LookState",
    "RunIdentity",
    "RunState",
    "SampleState",
    "StageRecord",
    "StagedGeneration",
    "StepState",
    "UnfinishedRun",
    "append_line",
    "cache_home",
    "check_name",
    "describe_mismatch",
    "export_archive",
    "fsync_folder",
    "fsync_tree",
    "keyed_hash",
    "make_exclusively",
    "make_private_folder",
    "move",
    "read_archive",
    "read_bytes",
    "remove_tree",
    "store_home",
    "store_key",
    "suggest_name",
    "write_bytes",
    "write_text",
]
