"""How many bodies of the made-up mail corpus come out exactly: ours, and mail-parser-reply where it is installed.

    python benchmarks/quotes.py

A body comes out exactly if what is left is the expected own text, blank lines aside. The other library is told the
language of each body and is credited if either of its readings fits, with or without what it takes for a signature; it
reads plain text only, so the HTML bodies are given to ours alone. The corpus was written together with our rules:
its figure says that nothing known is broken, not how many strangers' mails would come out.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.html_text import html_mail_to_text
from ditto_cli.demonstrations.quotes import remove_quoted

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from mail_corpus import Case, cases


def is_exact_with_ours(case: Case) -> bool:
    """Whether our rules leave the expected text."""
    body = html_mail_to_text(case.body) if case.is_html else case.body
    return normalise_text(remove_quoted(body).text) == normalise_text(case.own)


def exact_with_library(made: Sequence[Case]) -> int | None:
    """How many the library leaves as expected; None where it is not installed."""
    try:
        library = importlib.import_module("mailparser_reply")
    except ImportError:
        return None
    num_exact = 0
    for case in made:
        reply = library.EmailReplyParser(languages=[case.language]).read(case.body).replies[0]
        num_exact += normalise_text(case.own) in (normalise_text(reply.content), normalise_text(reply.body))
    return num_exact


def main() -> None:
    """Print both figures, and what ours gets wrong."""
    made = cases()
    plain = [case for case in made if not case.is_html]
    wrong = [case for case in made if not is_exact_with_ours(case)]
    languages = len({case.language for case in made})
    print(f"{len(made)} bodies in {languages} languages, {len(plain)} of them plain text")
    print(f"ours: {len(made) - len(wrong)} of {len(made)} exactly")
    num_exact = exact_with_library(plain)
    shown = "not installed" if num_exact is None else f"{num_exact} of {len(plain)} plain ones exactly"
    print(f"mail-parser-reply: {shown}")
    for case in wrong:
        print(f"wrong: {case.program} ({case.language})")


if __name__ == "__main__":
    main()
