"""A folder of a person's texts -> `SourceText`s -> `Demonstration`s, and the ditto.yaml beside them.

Files and words only: no model, no torch. Everything that cannot be used is said, by name and with the reason.
"""

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.demonstrations.folder import MANY_TEXTS, read_folder
from ditto_cli.demonstrations.folder_file import render_folder_file
from ditto_cli.demonstrations.formats import READERS, Reading, Skipped
from ditto_cli.demonstrations.personal_data import personal_data
from ditto_cli.demonstrations.prompts import (
    attach_prompts,
    clean_instruction,
    is_about,
    plain_instruction,
    reverse_instruction_request,
    stale_prompts,
)
from ditto_cli.demonstrations.template import TEMPLATE_NAME, is_unedited_template, template_text

__all__ = [
    "MANY_TEXTS",
    "READERS",
    "TEMPLATE_NAME",
    "Reading",
    "Skipped",
    "UndecodableTextError",
    "attach_prompts",
    "clean_instruction",
    "decode_text",
    "is_about",
    "is_unedited_template",
    "normalise_text",
    "personal_data",
    "plain_instruction",
    "read_folder",
    "render_folder_file",
    "reverse_instruction_request",
    "stale_prompts",
    "template_text",
]
