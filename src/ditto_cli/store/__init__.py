"""Everything on disk: durable writes, adapters by name, their records. No torch."""

from ditto_cli.store.adapters import AdapterEntry, AdapterStore
from ditto_cli.store.files import (
    append_line,
    fsync_folder,
    make_private_folder,
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

__all__ = [
    "STAGE_FILES",
    "AdapterEntry",
    "AdapterRecord",
    "AdapterStore",
    "BaseIdentity",
    "StageRecord",
    "StagedGeneration",
    "append_line",
    "cache_home",
    "check_name",
    "describe_mismatch",
    "fsync_folder",
    "keyed_hash",
    "make_private_folder",
    "read_bytes",
    "remove_tree",
    "store_home",
    "store_key",
    "suggest_name",
    "write_bytes",
    "write_text",
]
