"""What is fuzzed: each parser, with valid documents to start from, words of its format, and what must hold afterwards.

A target's `read` takes any bytes. It says whether they were refused, and fails where something else than texts or a
refusal of one line came of them.
"""

import io
import json
import shutil
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.config import FOLDER_FILE, PROMPT_FILE, read_folder_file
from ditto_cli.demonstrations.authorship import own_texts
from ditto_cli.demonstrations.choice import audit
from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.demonstrations.folder import take_in, text_file
from ditto_cli.demonstrations.html_text import html_mail_to_text, html_to_text
from ditto_cli.demonstrations.language import language_of, split_long, split_note
from ditto_cli.demonstrations.mail import is_mbox, link_originals, read_maildir
from ditto_cli.demonstrations.prompts import lines_to_add, read_prompts, render_prompts
from ditto_cli.demonstrations.quotes import remove_quoted
from ditto_cli.demonstrations.redaction import Redactor, find_personal_data, text_hash
from ditto_cli.demonstrations.sources import READERS, STREAM_READERS
from ditto_cli.errors import InputError
from ditto_cli.types import Skipped, SourceText
from documents import (
    BETWEEN_TEXTS,
    FOLDER_FILES,
    FRONT_MATTER,
    HTML_MAIL,
    HTML_WORDS,
    JSON_WORDS,
    JSONS,
    LETTERS,
    LINES,
    MAIL_WORDS,
    MAILS,
    MBOXES,
    NOTES,
    ODT_XML,
    PAGES,
    PDF_WORDS,
    PDFS,
    PERSONAL,
    PROMPT_FILES,
    REPLY,
    SETS_OF_TEXTS,
    SETTING_WORDS,
    TABLE_WORDS,
    TABLES,
    TEXT_WORDS,
    WORD_XML,
    XML_WORDS,
    YAML_WORDS,
    ZIP_WORDS,
    ZIPS,
)
from odd_documents import MARKER, docx_of, letter, odt_of

MAX_WORDS = 20  # for split_long, so that a letter is long


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        read: gives it bytes; True if it refused them.
        documents: valid ones.
        tokens: words that mean something to it.
        num: how many inputs it gets.
        max_bytes: of an input.
        joint: what stands between the parts of a document; most cuts are made there, and most words put there.
    """

    read: Callable[[bytes], bool]
    documents: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    num: int = 4000
    max_bytes: int = 100_000
    joint: bytes = b""


def check_refusal(error, name):
    """A refusal is one line that names the file and holds none of its text."""
    check_named(error, name)
    message = str(error)
    assert message.isprintable(), "one line, and nothing that a terminal obeys"
    assert MARKER not in message, "a message holds text of the person"


def check_named(error, name):
    """A refusal says which file it is about."""
    assert name in str(error), str(error)


def check_texts(items, name):
    """Each text is as a model should learn it, and is written to a file that reads back as the same."""
    for item in items:
        if isinstance(item, Skipped):
            assert item.reason.isprintable()
            assert MARKER not in item.reason
            continue
        assert item.id.startswith(name)
        assert item.text
        assert normalise_text(item.text) == item.text
        assert item.prompt is None or item.prompt.strip()
        text_file("01-x", item.text, item.prompt)
        item.id.encode()


def _reader(suffix):
    name = f"input{suffix}"

    def read(raw):
        try:
            reading = READERS[suffix](name, raw)
        except InputError as error:
            check_refusal(error, name)
            return True
        except Exception as error:
            # What a library runs into is told by the process in which it reads; our own code runs into nothing.
            if "ditto_cli" in traceback.extract_tb(error.__traceback__)[-1].filename:
                raise
            return True
        assert reading.texts, "what has no text is refused"
        check_texts((*reading.texts, *reading.skipped), name)
        return False

    return read


def _stream_reader(suffix):
    name = f"input{suffix}"

    def read(raw):
        is_mbox(raw[:1024])
        try:
            items = list(STREAM_READERS[suffix](name, io.BytesIO(raw)))
        except InputError as error:
            check_refusal(error, name)
            return True
        check_texts(items, name)
        return _is_nobodys_mail(items)

    return read


def _is_nobodys_mail(items):
    texts = link_originals([item for item in items if isinstance(item, SourceText)])
    check_texts(texts, "")
    try:
        own_texts(texts, ())
    except InputError as error:
        check_refusal(error, "--me ")
        return True
    return not texts


def _inside(pack, read):
    """For formats that are packed: the bytes are what is inside, and the package around them is sound."""
    return lambda raw: read(pack(raw))


def _maildir(raw):
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir()
        (folder / "cur" / "1:2,S").write_bytes(raw)
        items = list(read_maildir("Mail", folder))
    finally:
        shutil.rmtree(folder)
    assert len(items) == 1
    check_texts(items, "Mail")
    return isinstance(items[0], Skipped)


def _folder_file(raw):
    """What is added to a ditto.yaml is read, and all else stays as it was."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / FOLDER_FILE
    try:
        path.write_bytes(raw)
        before = read_folder_file(folder)
        existing = path.read_text(encoding="utf-8-sig")
        wanted = {"redact": True} if "redact" not in before.model_fields_set else {}
        new = lines_to_add(existing, before, wanted)
        path.write_text("\n".join([existing, *new, ""]), encoding="utf-8")
        after = read_folder_file(folder)
        assert {key: getattr(after, key) for key in wanted} == wanted
        # A block that has no line end before it is written has one after that.
        prompts = [{key: prompt.strip() for key, prompt in each.prompts.items()} for each in (before, after)]
        assert prompts[0] == prompts[1]
    except InputError as error:
        check_named(error, FOLDER_FILE)  # an unknown setting's name may be odd; the command line makes it visible
        return True
    finally:
        shutil.rmtree(folder)
    return False


def _prompt_file(raw):
    """What is added to a prompts.yaml is read, and all else stays as it was."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / PROMPT_FILE
    text = SourceText("a\nb.md", "hi", None)
    try:
        path.write_bytes(raw)
        before = read_prompts(folder)
        existing = path.read_text(encoding="utf-8-sig")
        path.write_text(render_prompts(existing, [(text, ' a "b"\n#c: d ')]), encoding="utf-8")
        assert read_prompts(folder) == {**before, text_hash("hi"): 'a "b"\n#c: d'}
    except InputError as error:
        check_named(error, PROMPT_FILE)
        return True
    finally:
        shutil.rmtree(folder)
    return False


def _of_text(check):
    """For functions that take characters: normal ones, as all texts are when they come there."""

    def read(raw):
        check(normalise_text(raw.decode("utf-8", "replace")))
        return False

    return read


def _encoding(raw):
    try:
        text = decode_text(raw)
    except UndecodableTextError:
        return True
    normal = normalise_text(text)
    assert normalise_text(normal) == normal
    return False


def _html_mail(raw):
    try:
        html_mail_to_text(raw.decode("utf-8", "replace"))
    except ValueError:
        return True
    return False


def _split_note(text):
    parts = split_note(text)
    assert parts
    assert len(parts) == 1 or all(part in text for part in parts)


def _split_long(text):
    parts = split_long(text, MAX_WORDS)
    assert "".join("".join(parts).split()) == "".join(text.split()), "a part was lost"


def _remove_quoted(text):
    own = remove_quoted(text)
    assert len(own.text) <= len(text) + 2
    assert isinstance(own.original, str)


def _redact(text):
    once = Redactor().redact(text)
    assert Redactor().redact(once) == once
    assert not find_personal_data(once)


def _audit(text):
    pieces = text.split(BETWEEN_TEXTS)
    texts = [SourceText(f"{number}.md", piece, None) for number, piece in enumerate(pieces)]
    rows = audit(texts, {})
    assert [row.id for row in rows] == [source.id for source in texts]
    said = json.dumps([row.as_json()["warnings"] for row in rows])
    assert MARKER not in said


def _language(text):
    assert language_of(text) is None or len(language_of(text)) == 2


def _take_in(text):
    pieces = (normalise_text(piece) for piece in text.split(BETWEEN_TEXTS))
    texts = [SourceText(f"{number}.md", piece, None) for number, piece in enumerate(pieces) if piece]
    if not texts:
        return
    try:
        intake = take_in(texts, [], [], num=3)
    except InputError as error:
        check_refusal(error, "")
        return
    assert intake.new
    assert len({new.name for new in intake.new}) == len(intake.new)
    assert MARKER not in "".join(new.reason for new in intake.new)


TARGETS: dict[str, Target] = {
    "encodings": Target(_encoding, (*LETTERS, letter(0).encode("utf-16"), "Grüße €".encode("cp1252")), TEXT_WORDS),
    ".txt": Target(_reader(".txt"), (*LETTERS, *FRONT_MATTER), TEXT_WORDS),
    ".md": Target(_reader(".md"), (*LETTERS, *FRONT_MATTER), TEXT_WORDS),
    "front matter": Target(_reader(".md"), FRONT_MATTER, YAML_WORDS, 6000),
    "ditto.yaml": Target(_folder_file, FOLDER_FILES, YAML_WORDS + SETTING_WORDS, 6000, 10_000),
    "prompts.yaml": Target(_prompt_file, PROMPT_FILES, YAML_WORDS, 3000, 10_000),
    ".eml": Target(_reader(".eml"), MAILS, MAIL_WORDS, 8000),
    ".mbox": Target(_stream_reader(".mbox"), MBOXES, MAIL_WORDS, 6000),
    "Maildir": Target(_maildir, MAILS, MAIL_WORDS),
    "quoted mail": Target(_of_text(_remove_quoted), (REPLY, LETTERS[0]), MAIL_WORDS, 6000),
    "quoted HTML mail": Target(_html_mail, (HTML_MAIL, *PAGES), HTML_WORDS),
    "HTML to text": Target(_of_text(html_to_text), PAGES, HTML_WORDS),
    ".html": Target(_reader(".html"), PAGES, HTML_WORDS, 6000),
    ".csv": Target(_reader(".csv"), TABLES, TABLE_WORDS, 6000, joint=b"\n"),
    ".json": Target(_reader(".json"), JSONS, JSON_WORDS, 6000, joint=b", "),
    ".jsonl": Target(_reader(".jsonl"), (LINES, JSONS[3]), JSON_WORDS),
    ".docx": Target(_reader(".docx"), tuple(docx_of(xml) for xml in WORD_XML), ZIP_WORDS),
    ".docx, inside": Target(_inside(docx_of, _reader(".docx")), WORD_XML, XML_WORDS, joint=b"</w:p>"),
    ".odt": Target(_reader(".odt"), tuple(odt_of(xml) for xml in ODT_XML), ZIP_WORDS),
    ".odt, inside": Target(_inside(odt_of, _reader(".odt")), ODT_XML, XML_WORDS, joint=b"</text:p>"),
    ".pdf": Target(_reader(".pdf"), PDFS, PDF_WORDS, 6000, joint=b" "),
    ".zip": Target(_stream_reader(".zip"), ZIPS, ZIP_WORDS, 6000),
    "split_note": Target(_of_text(_split_note), NOTES, TEXT_WORDS, 3000),
    "split_long": Target(_of_text(_split_long), NOTES, TEXT_WORDS, 3000),
    "redact": Target(_of_text(_redact), (PERSONAL, *LETTERS), TEXT_WORDS),
    "audit": Target(_of_text(_audit), (*SETS_OF_TEXTS, PERSONAL, *NOTES), TEXT_WORDS, 3000),
    "language_of": Target(_of_text(_language), LETTERS, TEXT_WORDS, 2000),
    "take_in": Target(_of_text(_take_in), SETS_OF_TEXTS, TEXT_WORDS, 2000),
}
