"""The first file of an empty demonstrations folder: says what belongs there, and holds no text that could be learnt."""

from __future__ import annotations

from ditto_cli.demonstrations.encoding import normalise_text

TEMPLATE_NAME = "my-first-text.md"

# The prompt is a comment on purpose: one that is left as it was would be a wrong one.
_TEMPLATE = """\
---
# What is your text the answer to? Say it in one line and remove the "# ". Left as it is, a line will be proposed.
# prompt: Write an email to my sister about our summer holiday
---
<!--
Put one of your own texts below this comment, just as you sent it: an email, a post, a letter.

- One text a file. Name the next one as you like: second.md, third.txt. Emails saved as .eml work as they are.
- Four to seven good ones suffice; stay below ten. Choose those that sound most like you.
- Take texts that you wrote yourself, not what a model or somebody else wrote for you.
- They stay on this computer.

This comment may stay; it is not learnt.
-->
"""


def template_text() -> str:
    """What `TEMPLATE_NAME` holds before it is edited."""
    return _TEMPLATE


def is_unedited_template(text: str) -> bool:
    """Whether `text` is the template as it was written, line ends aside."""
    return normalise_text(text) == normalise_text(_TEMPLATE)
