"""Everything on disk: durable writes, adapters by name, their records. No torch."""

from ditto_cli.store.adapter_store import AdapterStore, cache_home, check_name, store_home, suggest_name
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
from ditto_cli.store.generations import (
    RunIdentity,
    RunState,
    SampleState,
    StepState,
    UnfinishedRun,
)
from ditto_cli.store.records import (
    AdapterRecord,
    BaseIdentity,
    StageRecord,
    check_base,
    describe_mismatch,
    keyed_hash,
    learnt_hashes,
)
