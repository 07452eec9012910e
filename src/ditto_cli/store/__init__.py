"""Everything on disk: durable writes, adapters by name, their records. No torch."""

from ditto_cli.store.adapters import AdapterStore, cache_home, check_name, store_home, suggest_name
from ditto_cli.store.archive import ARCHIVE_SUFFIX, AdapterArchive, export_archive, read_archive
from ditto_cli.store.files import (
    append_line,
    fsync_tree,
    make_exclusively,
    make_private_folder,
    move,
    read_bytes,
    remove_tree,
    write_bytes,
    write_text,
)
from ditto_cli.store.records import (
    AdapterRecord,
    BaseIdentity,
    StageRecord,
    describe_mismatch,
    keyed_hash,
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
    "AdapterArchive",
    "AdapterRecord",
    "AdapterStore",
    "BaseIdentity",
    "LookState",
    "RunIdentity",
    "RunState",
    "SampleState",
    "StageRecord",
    "StepState",
    "UnfinishedRun",
    "append_line",
    "cache_home",
    "check_name",
    "describe_mismatch",
    "export_archive",
    "fsync_tree",
    "keyed_hash",
    "make_exclusively",
    "make_private_folder",
    "move",
    "read_archive",
    "read_bytes",
    "remove_tree",
    "store_home",
    "suggest_name",
    "write_bytes",
    "write_text",
]
