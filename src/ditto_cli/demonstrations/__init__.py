"""A folder of a person's texts -> `SourceText`s -> `Demonstration`s, and the ditto.yaml beside them.

Also what makes such a folder of mail archives and documents, and the audit of what is in it. Files and words only: no
model, no torch. Everything that cannot be used is said, by name and with the reason.
"""

from ditto_cli.config import HELD_OUT_FOLDER
from ditto_cli.demonstrations.audit import AuditRow, audit
from ditto_cli.demonstrations.choice import Limits, pick
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder import (
    MANY_TEXTS,
    MAX_TEXTS,
    NothingUsableError,
    read_folder,
    read_held_out,
)
from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain
from ditto_cli.demonstrations.intake import Intake, kept_back, take_in
from ditto_cli.demonstrations.personal_data import personal_data
from ditto_cli.demonstrations.prompts import (
    attach_prompts,
    stale_prompts,
)
from ditto_cli.demonstrations.sources import file_names, gather
from ditto_cli.demonstrations.template import TEMPLATE_NAME, is_unedited_template, template_text
from ditto_cli.types import Reading, Skipped

__all__ = [
    "HELD_OUT_FOLDER",
    "MANY_TEXTS",
    "MAX_TEXTS",
    "TEMPLATE_NAME",
    "AuditRow",
    "Intake",
    "Limits",
    "NothingUsableError",
    "Reading",
    "Skipped",
    "attach_prompts",
    "audit",
    "file_names",
    "gather",
    "is_unedited_template",
    "kept_back",
    "normalise_text",
    "personal_data",
    "pick",
    "read_folder",
    "read_held_out",
    "read_markdown",
    "read_plain",
    "stale_prompts",
    "take_in",
    "template_text",
]
