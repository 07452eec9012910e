"""Folders, files and archives as people and programs break them; each with what `ditto init` must make of it.

`ODD` holds them by name. No pytest, no torch, no person's text: every word is made up here.
"""

import gzip
import io
import json
import os
import stat
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.demonstrations.folder import TEMPLATE, TEMPLATE_NAME
from hostile_archives import Member, write_zip
from odd_documents import (
    THINGS,
    content_xml,
    document_xml,
    docx_of,
    file_of,
    folder_of,
    letter,
    letter_bytes,
    mail,
    mbox,
    odt_of,
    pdf,
    pdf_of,
    sparse,
    zipped,
)


@dataclass(frozen=True)
class Odd:
    """Something odd to give to `ditto init`.

    Attributes:
        make: makes it in an empty folder, and returns what is to be given.
        is_source: given to `--from`; else it is the folder of demonstrations itself.
        is_refused: whether the command ends with 2; else with 0.
        says: words that must stand in what is said.
        texts: how many texts come of it.
        holds: words that one of the texts has.
        options: further ones for the command.
        needs_rights: whether root, who may read everything, cannot see it.
    """

    make: Callable[[Path], Path]
    is_source: bool
    is_refused: bool
    says: tuple[str, ...] = ()
    texts: int = 0
    holds: str = ""
    options: tuple[str, ...] = ()
    needs_rights: bool = False


ODD: dict[str, Odd] = {}


def handled(*says, texts, source=False, options=()):
    """The function below makes what gives this many texts, and of which this is said."""
    return lambda make: _enter(make.__name__, Odd(make, source, False, says, texts, options=options))


def refused(*says, source=False, options=(), needs_rights=False):
    """The function below makes what is refused in one line with these words."""
    return lambda make: _enter(make.__name__, Odd(make, source, True, says, options=options, needs_rights=needs_rights))


def _enter(name, odd):
    assert name not in ODD, name
    ODD[name] = odd
    return odd.make


def _folder(files, name="alice"):
    return lambda place: folder_of(place, files, name)


def _file(name, content):
    return lambda place: file_of(place, name, content)


def _beside_a_letter(place, name):
    """A folder with one good text, and the path for something odd beside it."""
    return folder_of(place, {"good.txt": letter(1)}) / name


# Folders of demonstrations.


@handled("my-first-text.md", texts=0)
def a_folder_that_is_not_there(place):
    return place / "alice"


@refused("is a file", "give a folder")
def a_file_in_the_place_of_the_folder(place):
    return file_of(place, "alice", letter(1))


_WESTERN = "Grüße aus Zürich, naïve Señorita! " + letter(3)
_JAPANESE = "お元気ですか。昨日は本当にありがとうございました。" * 12
_CHINESE = "你好，谢谢你的来信。" * 30
_RUSSIAN = "Привет, Маша! Спасибо тебе за письмо, я очень рада. " * 12
for _name, _raw, _holds in (
    ("utf_16_with_mark", _WESTERN.encode("utf-16"), "Grüße aus Zürich"),
    ("utf_16_without_mark", _WESTERN.encode("utf-16-le"), "Grüße aus Zürich"),
    ("utf_16_big_endian_without_mark", _WESTERN.encode("utf-16-be"), "Grüße aus Zürich"),
    ("utf_32_with_mark", _WESTERN.encode("utf-32"), "Grüße aus Zürich"),
    ("utf_8_with_mark", _WESTERN.encode("utf-8-sig"), "Grüße aus Zürich"),
    ("latin_1", _WESTERN.encode("latin-1"), "Grüße aus Zürich"),
    ("windows_1252", ("\u201eGrüße\u201c \u2013 für 5 \u20ac. " + letter(3)).encode("cp1252"), "für 5 \u20ac"),
    ("shift_jis", _JAPANESE.encode("cp932"), "ありがとうございました"),
    ("koi8_r", _RUSSIAN.encode("koi8-r"), "Спасибо тебе"),
    ("old_mac_line_ends", letter_bytes(1).replace(b"\n", b"\r"), ",\n\n"),
    ("a_dos_end_mark", letter_bytes(1).replace(b"\n", b"\r\n") + b"\x1a", "Big hug"),
):
    _enter(_name, Odd(_folder({"a.txt": _raw}), False, False, (), 1, _holds))


_KINDS_NOT_READ = ("msg", "doc", "pages", "jpg", "mp3", "xlsx", "rtf", "pst")
_TAG = "!!python/object/apply:os.system [true]"
for _name, _files, _says in (
    ("the_template_alone", {TEMPLATE_NAME: TEMPLATE.replace("\n", "\r\n")},
     ("holds only the template", "edit my-first-text.md")),
    ("a_binary_file_named_txt", {"a.txt": bytes(range(256)) * 40}, ("binary file in spite of its name",)),
    ("nuls_in_a_text", {"a.txt": letter_bytes(1).replace(b" the ", b"\0the\0")}, ("binary file in spite of its name",)),
    ("only_whitespace", {"a.txt": " \n\t\r\n\u3000\ufeff\n"}, ("a.txt is empty",)),
    ("names_that_look_the_same",
     {f"{unicodedata.normalize(form, 'é')}.txt": letter(n) for n, form in enumerate(("NFC", "NFD"))},
     ("two files whose names look the same",)),
    ("escape_sequences_in_the_name_of_an_empty_file", {"\x1b[31m\x1b]0;x\x07.txt": ""}, ("is empty",)),
    ("two_hundred_texts", {f"{n}.txt": letter(n) for n in range(200)}, ("200 texts, too many to learn from", "--from")),
    ("only_kinds_that_are_not_read", {f"a.{kind}": bytes(range(200)) for kind in (*_KINDS_NOT_READ, "xyz")},
     ("holds nothing to learn from",)),
    ("only_folders", {"mails/a.txt": letter(1), "posts/b.txt": letter(2)},
     ("holds nothing to learn from", "a folder; only the files directly")),
    ("front_matter_never_closed", {"a.md": "---\nprompt: Write to Bo.\n\n" + letter(1)}, ("a.md line 1", "never ends")),
    ("front_matter_of_brackets", {"a.md": "---\nprompt: " + "[" * 50_000 + "\n---\n" + letter(1)},
     ("a.md line 1", "longer than 20,000 characters")),
    ("front_matter_with_a_tag", {"a.md": f"---\nprompt: {_TAG}\n---\n{letter(1)}"},
     ("a.md line 1", "a prompt that is not a text")),
    ("a_comment_never_closed", {"a.md": "<!-- a note\n" + letter(1)}, ("comment (<!--) that never ends",)),
    ("comments_begun_and_begun", {"a.md": letter(1) + "<!-- " * 300_000}, ("comment (<!--) that never ends",)),
):  # fmt: skip
    _enter(_name, Odd(_folder(_files), False, True, _says))

_ALIASES = [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
for _name, _content, _says in (
    ("ditto_yaml_broken", "name: [alice\nseed: {", ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_of_an_unknown_setting", "schema_version: 1\ntemperture: 2\n", ("unknown setting temperture",)),
    ("ditto_yaml_of_a_list", "- alice\n- bob\n", ("ditto.yaml", "key: value")),
    ("ditto_yaml_binary", bytes(range(256)), ("ditto.yaml", "cannot be read")),
    ("ditto_yaml_of_brackets", "name: " + "[" * 100_000, ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_with_a_tag", f"name: {_TAG}\n", ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_of_another_time", "schema_version: 99\n", ("schema_version",)),
    ("ditto_yaml_of_many_aliases",
     "\n".join(["a: &a0 [x, x, x, x, x, x, x, x, x]", *_ALIASES, "name: *a11", ""]), ("ditto.yaml",)),
):  # fmt: skip
    _enter(_name, Odd(_folder({"a.txt": letter(1), "ditto.yaml": _content}), False, True, _says))

for _name, _files, _texts, _says in (
    ("empty_folder", {}, 0, ("my-first-text.md", "Put your text below its comment")),
    ("only_hidden_files", {".DS_Store": b"\0\0\0\1Bud1", ".a.txt.swp": letter(1)}, 0, ("my-first-text.md",)),
    ("the_same_text_twice", {"a.txt": letter(1), "b.md": letter(1) + "\n\n"}, 1,
     ("b.md is left out: same text as a.txt",)),
    ("a_line_end_in_a_name", {"a\nerror: b.txt": letter(1)}, 1, ()),
    ("a_name_of_255_bytes", {"x" * 251 + ".txt": letter(1)}, 1, ()),
    ("a_name_that_is_not_utf_8", {b"caf\xe9.txt": letter(1)}, 1, ()),
    ("names_like_options", {"--help.txt": letter(1), "-.md": letter(2)}, 2, ()),
    ("forty_pages", {"a.txt": "\n".join(letter(n) for n in range(270))}, 1,
     ("too long", "--split cuts it at paragraphs")),
    ("a_text_among_other_things",
     {"a.txt": letter(1), "a.jpg": b"\xff\xd8\xff", "README.txt": "no", "sub/b.txt": letter(2)}, 1,
     ("a.jpg is left out", "README.txt is left out", "sub is left out")),
):  # fmt: skip
    _enter(_name, Odd(_folder(_files), False, False, _says, _texts))

for _name, _file_name, _folder_name in (
    ("escape_sequences_in_the_name_of_the_folder", "a.txt", "al\x1b[31mice\x9b2J"),
    ("a_folder_with_a_name_like_markup", "[b].txt", "[/b]"),
):
    _enter(_name, Odd(_folder({_file_name: letter(1)}, _folder_name), False, False, (), 1))

for _suffix in _KINDS_NOT_READ:
    _make = _file(f"a.{_suffix}", bytes(range(200)))
    _enter(f"a_{_suffix}_file_as_source", Odd(_make, True, True, (f"a.{_suffix}", "left out")))


# Files of a gigabyte.


def _sparse_in_a_folder(suffix):
    return lambda place: sparse(_beside_a_letter(place, f"big{suffix}")).parent


def _sparse_source(suffix, head=b""):
    return lambda place: sparse(place / f"big{suffix}", head)


for _suffix, _size in (
    (".txt", "32 MiB"),
    (".md", "2 MiB"),
    (".json", "64 MiB"),
    (".html", "16 MiB"),
    (".pdf", "32 MiB"),
):
    _says = ("is larger than", _size)
    _enter(f"a_gigabyte_of_{_suffix[1:]}", Odd(_sparse_in_a_folder(_suffix), False, True, _says))
    _enter(f"a_gigabyte_of_{_suffix[1:]}_as_source", Odd(_sparse_source(_suffix), True, True, _says))

for _name, _suffix, _says in (
    ("a_gigabyte_of_zeros_named_mbox", ".mbox", ("not an mbox",)),
    ("a_gigabyte_of_zeros_named_zip", ".zip", ("big.zip", "damaged")),
    ("a_gigabyte_without_a_suffix", "", ("is left out",)),
):
    _enter(_name, Odd(_sparse_source(_suffix), True, True, _says))

_BIG_MAIL = mbox([mail(letter(1))]) + b"From x Mon Jan  1 10:00:00 2024\nSubject: big\n\n"
_enter(
    "an_mbox_with_a_mail_of_a_gigabyte",
    Odd(_sparse_source(".mbox", _BIG_MAIL), True, False, ("larger than 32 MiB",), 1),
)


# Links, pipes, and what may not be read.


@refused("error: a.txt is a folder, pipe, socket or device")
def a_pipe_named_txt(place):
    path = _beside_a_letter(place, "a.txt")
    os.mkfifo(path)
    return path.parent


@refused("error: a.txt is a folder, pipe, socket or device")
def a_socket_named_txt(place):
    path = _beside_a_letter(place, "a.txt")
    os.mknod(path, stat.S_IFSOCK | 0o600)
    return path.parent


@refused("error: a.txt is a folder, pipe, socket or device")
def a_link_to_endless_zeros(place):
    path = _beside_a_letter(place, "a.txt")
    path.symlink_to("/dev/zero")
    return path.parent


@refused("error: a.txt cannot be read (OSError)", "where it links to")
def links_in_a_circle(place):
    path = _beside_a_letter(place, "a.txt")
    path.symlink_to("b.txt")
    path.with_name("b.txt").symlink_to("a.txt")
    return path.parent


@refused("error: a.txt does not exist, or is a link to what does not")
def a_link_to_nothing(place):
    path = _beside_a_letter(place, "a.txt")
    path.symlink_to("gone.txt")
    return path.parent


@handled("above is left out: a folder", texts=1)
def a_link_to_the_folder_above(place):
    path = _beside_a_letter(place, "above")
    path.symlink_to("..")
    return path.parent


@refused("a.txt cannot be read (PermissionError)", needs_rights=True)
def a_file_without_rights(place):
    path = _beside_a_letter(place, "a.txt")
    path.write_bytes(letter_bytes(2))
    path.chmod(0)
    return path.parent


@refused("is not a folder that can be read", needs_rights=True)
def a_folder_without_rights(place):
    folder = folder_of(place, {"a.txt": letter(2)})
    folder.chmod(0)
    return folder


@refused("ditto.yaml")
def ditto_yaml_is_a_folder(place):
    folder = folder_of(place, {"a.txt": letter(1)})
    (folder / "ditto.yaml").mkdir()
    return folder


@refused("ditto.yaml")
def ditto_yaml_is_a_pipe(place):
    path = _beside_a_letter(place, "ditto.yaml")
    os.mkfifo(path)
    return path.parent


@refused("ditto.yaml")
def ditto_yaml_is_endless(place):
    path = _beside_a_letter(place, "ditto.yaml")
    path.symlink_to("/dev/zero")
    return path.parent


# Mails, one a file.


def _multipart(parts, boundary="b1", closing=True):
    pieces = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return pieces + (f"--{boundary}--\n" if closing else "")


_NESTED = b"From: maya@example.com\nSubject: deep\nMIME-Version: 1.0\n" + b"".join(
    b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(10_000)
)
_PICTURE = "Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\n" + "iVBORw0KGgoAAAA=\n" * 30
_EVENT = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:Tea\nEND:VEVENT\nEND:VCALENDAR\n"
_NOTHING_OWN = ("a.eml is left out (nothing in it was written by its sender)",)
_NO_MAIL = ("a.eml is left out (not a mail that can be read)",)
for _name, _raw, _says in (
    ("a_mail_that_is_binary", bytes(range(256)) * 9, _NO_MAIL),
    ("a_mail_that_is_a_text", letter_bytes(1), _NO_MAIL),
    ("a_mail_that_is_empty", b"", _NO_MAIL),
    (
        "a_mail_of_an_attachment_alone",
        mail(_multipart([_PICTURE]), content="multipart/mixed; boundary=b1"),
        _NOTHING_OWN,
    ),
    ("a_mail_without_its_boundary", mail(_multipart([letter(1)]), content="multipart/mixed"), _NOTHING_OWN),
    ("a_mail_of_an_invitation_alone", mail(_EVENT, content="text/calendar; method=REQUEST"), _NOTHING_OWN),
    ("a_mail_of_nested_multiparts", _NESTED + b"\n" + letter_bytes(1), _NO_MAIL),
    ("a_mail_of_broken_base64", mail("SGVsb*8gQm8\n=\n!!!A", Content_Transfer_Encoding="base64"), _NOTHING_OWN),
    (
        "a_mail_that_is_encrypted",
        mail(_PICTURE, content="application/pkcs7-mime; name=smime.p7m"),
        ("is left out (encrypted)",),
    ),
    ("a_mail_of_a_quote_alone", mail("> Hi Maya\n> come over\n", subject="Re: tea"), _NOTHING_OWN),
):
    _enter(_name, Odd(_folder({"a.eml": _raw}), False, True, _says))

_HTML_MAIL = (
    "<html><body><p>" + letter(1).strip().replace("\n\n", "</p><p>").replace("\n", "<br>") + "</p></body></html>"
)
for _name, _raw, _holds in (
    ("a_mail_of_a_long_header", mail(letter(1), X_Filler="x" * 2**20), "Big hug"),
    ("a_mail_of_html_alone", mail(_HTML_MAIL, content="text/html; charset=utf-8"), "Big hug"),
    ("a_mail_of_tags_without_ends", mail(_HTML_MAIL + "<a href='" * 40_000, content="text/html"), "Big hug"),
    ("a_mail_in_koi8_r", mail(_RUSSIAN.encode("koi8-r"), content="text/plain; charset=koi8-r"), "Спасибо тебе"),
    ("a_mail_in_gb2312", mail(_CHINESE.encode("gb2312"), content="text/plain; charset=gb2312"), "谢谢"),
    ("a_mail_in_an_unknown_charset", mail(_WESTERN, content="text/plain; charset=x-klingon"), "Grüße aus Zürich"),
    ("a_mail_in_a_charset_that_is_none", mail(_WESTERN, content="text/plain; charset=hex"), "Grüße aus Zürich"),
    (
        "a_mail_of_broken_quoted_printable",
        mail("Gr=C3=BC=C3=9Fe =ZZ a=\n b =4\n\n" + letter(1), content="text/plain; charset=utf-8",
             Content_Transfer_Encoding="quoted-printable"),
        "Grüße",
    ),
    ("a_mail_with_its_end_missing",
     mail(_multipart([f"Content-Type: text/plain\n\n{letter(1)}", _PICTURE], closing=False),
          content="multipart/mixed; boundary=b1"), "Big hug"),
    ("a_mail_with_a_header_line_that_is_none", mail(letter(1)).replace(b"\nTo:", b"\nno colon\n:\nTo:"), "Big hug"),
    ("a_mail_with_two_of_each_header", mail(letter(1)).replace(b"\nTo:", b"\nSubject: 2\nFrom: x@b.example\nTo:"), ""),
    ("a_mail_with_a_broken_subject", mail(letter(1), subject="=?utf-8?q?broken=?= =?x-no?b?!!?= =?utf-8?"), "Big hug"),
):  # fmt: skip
    _enter(_name, Odd(_folder({"a.eml": _raw}), False, False, (), 1, _holds))


# Documents.


_ENTITIES = '<!ENTITY x0 "ha">' + "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10))
_LAUGHS = ("&x9;", f"<!DOCTYPE d [{_ENTITIES}]>")
_SPY = ("&spy;", '<!DOCTYPE d [<!ENTITY spy SYSTEM "file:///etc/passwd">]>')
_PAGES_IN_A_CIRCLE = pdf_of(
    [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 2 >>",
        "<< /Type /Pages /Parent 2 0 R /Kids [2 0 R 3 0 R] /Count 2 >>",
    ]
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
_PAGE_OF_A_PICTURE = pdf("").replace(b"BT /F1", b"q  % F1")
_ENCRYPTED_PDF = pdf(
    letter(1),
    f"/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >>",
)
_IN_SPITE = ("in spite of its name",)
for _name, _file_name, _raw, _says in (
    ("a_docx_that_is_a_zip_of_nothing", "a.docx", zipped({}), ("a.docx",)),
    ("a_docx_that_is_a_text", "a.docx", letter_bytes(1), _IN_SPITE),
    ("a_docx_of_entities", "a.docx", lambda: docx_of(document_xml(*_LAUGHS)), ("a.docx",)),
    ("a_docx_that_reads_other_files", "a.docx", lambda: docx_of(document_xml(*_SPY)), ("a.docx",)),
    ("a_docx_of_broken_xml", "a.docx", lambda: docx_of(document_xml(letter(1))[:-40]), ("a.docx", "damaged")),
    ("a_docx_without_a_text", "a.docx", lambda: docx_of(document_xml("")), ("a.docx is empty",)),
    ("an_old_doc_renamed_docx", "a.docx", _OLE + "WordDocument".encode("utf-16-le"), _IN_SPITE),
    ("a_docx_with_a_password", "a.docx", _OLE + "EncryptedPackage".encode("utf-16-le"), ("protected with a password",)),
    ("a_docx_cut_off", "a.docx", lambda: docx_of(document_xml(letter(1)))[:-300], ("a.docx", "damaged")),
    ("a_docx_nested_deep", "a.docx",
     lambda: docx_of(document_xml(letter(1)).replace("<w:p>", "<w:p>" + "<w:r>" * 20_000, 1)), ("a.docx",)),
    ("an_odt_of_broken_xml", "a.odt", lambda: odt_of(content_xml(letter(1))[:-60]), ("a.odt", "damaged")),
    ("an_odt_of_entities", "a.odt", lambda: odt_of(content_xml(*_LAUGHS)), ("a.odt",)),
    ("an_odt_that_is_a_spreadsheet", "a.odt",
     lambda: zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet",
                     "content.xml": content_xml("x").replace("office:text", "office:spreadsheet")}),
     _IN_SPITE),
    ("a_pdf_without_text", "a.pdf", _PAGE_OF_A_PICTURE, ("holds no text that can be read", "OCR")),
    ("a_pdf_that_is_encrypted", "a.pdf", _ENCRYPTED_PDF, ("protected with a password",)),
    ("a_pdf_that_is_a_text", "a.pdf", letter_bytes(1), _IN_SPITE),
    ("a_pdf_cut_off", "a.pdf", pdf(letter(1))[:150], ("a.pdf",)),
    ("a_pdf_of_pages_in_a_circle", "a.pdf", _PAGES_IN_A_CIRCLE, ("a.pdf",)),
    ("a_pdf_of_nothing", "a.pdf", b"%PDF-1.7\n%%EOF\n", ("a.pdf",)),
    ("html_of_scripts_alone", "a.html", "<script>var a;</script><style>p {}</style>", ("no text of its own",)),
    ("html_that_is_binary", "a.html", bytes(range(256)) * 9, ("binary file in spite of its name",)),
    ("csv_without_a_header", "a.csv", f'"{letter(1)}","{letter(2)}"\n', ("has no column of texts", '"completion"')),
    ("csv_with_nuls", "a.csv", b"text,date\nhello\0there,1\n", ("binary file in spite of its name",)),
    ("csv_with_a_field_of_5_mb", "a.csv", lambda: f'text\n"{"and so on. " * 500_000}"\n', ("2,097,152 characters",)),
    ("csv_with_a_quote_never_closed", "a.csv", 'text\n"' + letter(1), ("a.csv", "quote")),
    ("csv_of_two_thousand_columns", "a.csv", ",".join(f"c{n}" for n in range(2000)) + ",text\n", ("a.csv",)),
    ("json_of_brackets", "a.json", "[" * 100_000, ("a.json",)),
    ("json_of_closed_brackets", "a.json", "[" * 100_000 + "]" * 100_000, ("a.json",)),
    ("json_without_a_text", "a.json", '[{"id": 1, "likes": 2}]', ("a.json has no column of texts",)),
    ("json_of_a_long_number", "a.json", '{"text": ' + "9" * 100_000 + "}", ("a.json",)),
    ("jsonl_with_a_bad_line", "a.jsonl", json.dumps({"completion": letter(1)}) + '\n{"completion": \n', ("line 2",)),
):  # fmt: skip
    _enter(_name, Odd(_folder({_file_name: _raw}), False, True, _says))

for _name, _file_name, _raw, _texts, _says in (
    ("html_without_an_end", "a.html", "<html><body><div><p>" + letter(1) + "<ul><li>a<b><i", 1, ()),
    ("html_of_nested_divs", "a.html", "<div>" * 100_000 + letter(1), 1, ()),
    ("html_of_tags_without_ends", "a.html", f"<p>{letter(1)}" + "<p" * 200_000, 1, ()),
    ("html_of_articles_in_articles", "a.html", "<article>" * 10_000 + letter(1), 1, ()),
    ("html_of_a_wrong_charset", "a.html", b"<meta charset=utf-7><p>" + letter_bytes(1), 1, ()),
    ("csv_with_ragged_rows", "a.csv", f'date,text\n1\n2,"{letter(1)}"\n3,a,b,c\n\n,\n', 1, ("left out",)),
    ("json_with_one_good_entry", "a.json", json.dumps([{"text": ""}, 7, None, {"text": letter(1)}]), 1, ("left out",)),
    ("json_of_half_characters", "a.json", json.dumps([{"text": "caf\ud83d " + letter(1)}]), 1, ()),
    ("json_with_a_key_twice", "a.json", json.dumps([{"text": letter(1)}]).replace("{", '{"text": "one", '), 1, ()),
    ("jsonl_with_unknown_keys", "a.jsonl", json.dumps({"completion": letter(1), "score": 1}), 1, ()),
    ("csv_with_two_columns_of_texts", "a.csv", f'body,text\nno,"{letter(1)}"\n', 1, ()),
    (
        "a_docx_of_a_large_picture",
        "a.docx",
        lambda: docx_of(document_xml(letter(1)), **{"word/media/x.png": bytes(50 * 2**20)}),
        1,
        (),
    ),
    ("a_docx_that_is_an_odt", "a.docx", lambda: odt_of(content_xml(letter(1))), 1, ()),
    ("an_odt_that_is_a_docx", "a.odt", lambda: docx_of(document_xml(letter(1))), 1, ()),
    ("a_pdf_with_a_wrong_table", "a.pdf", pdf(letter(1)).replace(b"startxref\n", b"startxref\n9"), 1, ()),
    ("a_pdf_with_rubbish_before_it", "a.pdf", b"\n\n HTTP/1.1 200 OK\n\n" + pdf(letter(1)), 1, ()),
):
    _enter(_name, Odd(_folder({_file_name: _raw}), False, False, _says, _texts))


# Archives, given to --from.


def _mails(num, **fields):
    return [
        mail(letter(n), subject=f"About {THINGS[n % 12]}", Message_ID=f"<{n}@example.com>", **fields)
        for n in range(num)
    ]


def _zip_that_lies():
    """It says that a member has ten bytes; a hundred megabytes come out of it."""
    raw = zipped({"a.txt": bytes(100 * 2**20)})
    return raw.replace((100 * 2**20).to_bytes(4, "little"), (10).to_bytes(4, "little"))


def _overlapping_zip():
    """Many names for one member of ten megabytes."""
    packed = zipped({"a.txt": bytes(10 * 2**20)})
    with zipfile.ZipFile(io.BytesIO(packed)) as package:
        info = package.infolist()[0]
    data = packed[30 + len(info.filename) :][: info.compress_size]
    truth = {"method": 8, "crc": info.CRC, "size": info.file_size, "packed": info.compress_size}
    members = [Member(b"a0.txt", data, truth, truth)]
    members += [Member(b"a%d.txt" % n, b"", {**truth, "offset": 0}, truth) for n in range(1, 500)]
    return write_zip(members)


_ENCRYPTED = {"flags": 1}
_WAYS_OUT = (
    b"../up.txt",
    b"/etc/top.txt",
    b"..\\up2.txt",
    b"C:\\drive.txt",
    b"a/../../up3.txt",
    b"nul\0.txt",
    b"\x1b[2J.txt",
)
for _name, _file_name, _raw, _says in (
    ("a_zip_in_a_zip", "a.zip", lambda: zipped({"b.zip": zipped({"c.zip": zipped({"a.txt": letter(1)})})}), ("a.zip",)),
    ("a_zip_bomb", "a.zip",
     lambda: zipped({"a.txt": zipped({"b.txt": bytes(10 * 2**20)}), "b.txt": bytes(60 * 2**20)}), ("a.zip",)),
    ("a_zip_that_lies_about_sizes", "a.zip", _zip_that_lies, ("a.zip",)),
    ("a_zip_with_a_password", "a.zip", write_zip([Member(b"a.txt", letter_bytes(1), _ENCRYPTED, _ENCRYPTED)]),
     ("a.zip",)),
    ("a_zip_cut_off", "a.zip", zipped({"a.txt": letter(1)})[:-30], ("a.zip",)),
    ("a_zip_of_nothing", "a.zip", zipped({}), ("a.zip",)),
    ("a_zip_that_is_a_text", "a.zip", letter_bytes(1), ("a.zip",)),
    ("a_zip_of_thirty_thousand_members", "a.zip",
     lambda: zipped({f"{n}.txt": b"" for n in range(30_000)}, zipfile.ZIP_STORED),
     ("a.zip holds more than 20000 files",)),
    ("a_zip_of_one_member_many_times", "a.zip", _overlapping_zip, ("a.zip",)),
    ("a_gzip_named_zip", "a.zip", lambda: gzip.compress(letter_bytes(1)), ("a.zip",)),
    ("an_mbox_that_is_empty", "Sent.mbox", b"", ("Sent.mbox holds no mail",)),
    ("an_mbox_that_is_a_text", "Sent.mbox", "From now on it is tea.\n\n" + letter(1), ("so it is not an mbox",)),
    ("an_mbox_of_automatic_mails", "Sent.mbox",
     lambda: mbox(_mails(3, sender="noreply@example.com", Auto_Submitted="auto-generated")), ("an automatic mail",)),
    ("an_mbox_of_many_people", "All.mbox",
     lambda: mbox([mail(letter(n), sender=f"p{n}@example.com", to=f"q{n}@example.org") for n in range(12)]),
     ("say which is you: --me NAME or ADDRESS",)),
    ("an_mbox_of_drafts", "x.mbox", lambda: mbox(_mails(3, X_Gmail_Labels="Drafts")), ("a draft",)),
):  # fmt: skip
    _enter(_name, Odd(_file(_file_name, _raw), True, True, _says))

for _name, _file_name, _raw, _texts, _says in (
    ("a_zip_that_leads_out", "a.zip",
     lambda: write_zip([*(Member(name, letter_bytes(9)) for name in _WAYS_OUT), Member(b"a.txt", letter_bytes(1))]),
     2, ("left out",)),
    ("a_zip_with_what_a_mac_adds", "a.zip",
     lambda: zipped({"__MACOSX/._a.txt": b"\0\5\x16\7", ".DS_Store": b"\0", "x/a.txt": letter(1)}), 1, ()),
    ("a_zip_with_a_damaged_member", "a.zip",
     lambda: zipped({"a.txt": letter(1), "b.txt": letter(2)}, zipfile.ZIP_STORED).replace(b"Hi ", b"Ho ", 1),
     1, ("left out",)),
    ("a_zip_of_one_of_each_kind", "a.zip",
     lambda: zipped({"a.txt": letter(1), "b.eml": mail(letter(2)), "c.docx": docx_of(document_xml(letter(3))),
                     "d.html": f"<p>{letter(4)}", "e.pdf": pdf(letter(5)), "f.xyz": b"?", "g.txt": b"\0\1\2",
                     "h.odt": odt_of(content_xml(letter(6)))}), 6, ("left out",)),
    ("a_zip_with_an_mbox_in_it", "takeout.zip", lambda: zipped({"Takeout/Mail/Sent.mbox": mbox(_mails(3))}), 3, ()),
    ("an_mbox_without_a_last_line_end", "Sent.mbox", mbox([mail(letter(1))]).rstrip(b"\n"), 1, ()),
    ("an_mbox_of_windows", "Sent.mbox", lambda: mbox(_mails(4), b"\r\n"), 4, ()),
    ("an_mbox_without_a_suffix", "Sent", lambda: mbox(_mails(4)), 4, ()),
    ("an_mbox_named_txt", "mails.mbx", lambda: mbox(_mails(4)), 4, ()),
    ("an_mbox_that_says_from_in_a_text", "Sent.mbox",
     lambda: mbox([mail(letter(1) + "\nFrom now on it is tea.\n\nFrom Monday, that is.\n")]), 1, ()),
    ("an_mbox_with_rubbish_before_it", "Sent.mbox", lambda: b"# made by hand\n\n" + mbox(_mails(3)), 3, ()),
    ("an_mbox_with_a_broken_mail", "Sent.mbox",
     lambda: mbox([*_mails(3), mail("!", Content_Transfer_Encoding="base64"), b"Subject: x\n\n" + bytes(range(256))]),
     4, ("left out",)),
    ("the_same_mail_three_times", "Sent.mbox", lambda: mbox(_mails(1) * 3), 1, ()),
    ("a_note_with_three_replies", "notes.txt", "\n---\n".join(letter(n) for n in range(3)), 3, ()),
):  # fmt: skip
    _enter(_name, Odd(_file(_file_name, _raw), True, False, _says, _texts))

for _name, _file_name, _raw, _options, _texts, _says in (
    ("a_long_text_divided", "long.txt", "\n".join(letter(n) for n in range(20)), ("--split",), 4, ()),
    ("sent_and_received_mails", "All.mbox",
     mbox([*_mails(3), *(mail(letter(n), sender="bo@example.com", to="maya@example.com") for n in range(5, 10))]),
     ("--me", "MAYA@example.com"), 3, ("received, not sent",)),
    ("personal_data_in_a_text", "a.txt",
     letter(1) + "\nCall +44 20 7946 0958 or write to maya@mail.example.org.\n", ("--redact",), 1, ()),
):  # fmt: skip
    _enter(_name, Odd(_file(_file_name, _raw), True, False, _says, _texts, options=_options))

_enter(
    "only_a_word_to_pick",
    Odd(_file("a.txt", "ok\n"), True, False, ("shorter than 40 words",), 1, "ok", ("--pick", "3")),
)
_enter(
    "an_address_that_sent_nothing",
    Odd(_file("Sent.mbox", mbox(_mails(3))), True, True, ("--me",), options=("--me", "nobody@example.com")),
)

for _name, _files, _texts, _says, _options in (
    ("a_folder_in_a_folder_a_hundred_times", {"/".join(["d"] * 100) + "/a.txt": letter(1)}, 1, (), ()),
    ("odd_names_in_a_source", {b"caf\xe9\x1b[2J.txt": letter(1), "a\nb/c\rd.txt": letter(2)}, 2, (), ()),
    ("a_source_of_two_hundred_texts", {f"{n}.txt": letter(n) for n in range(200)}, 7, (), ()),
    ("a_long_text_among_others",
     {**{f"{n}.txt": letter(n) for n in range(12)}, "long.txt": "\n".join(letter(n) for n in range(100))}, 7,
     ("longer than 600 words",), ("--pick", "7")),
):  # fmt: skip
    _enter(_name, Odd(_folder(_files, "texts"), True, False, _says, _texts, options=_options))

for _name, _files, _says, _options in (
    ("a_source_without_a_text", {"a.jpg": b"\xff\xd8", "sub/b.xyz": b"?"}, ("no text of yours in it",), ()),
    ("more_kept_back_than_there_is", {f"{n}.txt": letter(n) for n in range(4)},
     ("--hold-out 5 leaves nothing to train on",), ("--hold-out", "5")),
):  # fmt: skip
    _enter(_name, Odd(_folder(_files, "texts"), True, True, _says, options=_options))


@refused("does not exist", source=True)
def a_source_that_is_not_there(place):
    return place / "gone.mbox"


@refused("is a folder, pipe, socket or device", source=True)
def a_pipe_as_source(place):
    os.mkfifo(place / "a.mbox")
    return place / "a.mbox"


@refused("is a folder, pipe, socket or device", source=True)
def an_endless_source(place):
    (place / "a.mbox").symlink_to("/dev/zero")
    return place / "a.mbox"


@handled(texts=2, source=True)
def a_source_with_a_link_above(place):
    folder = folder_of(place, {"a.txt": letter(1), "sub/b.txt": letter(2)}, name="texts")
    (folder / "sub" / "up").symlink_to(folder)
    return folder


@handled("left out", texts=2, source=True)
def a_source_with_a_pipe_in_it(place):
    folder = folder_of(place, {"a.txt": letter(1), "sub/b.txt": letter(2)}, name="texts")
    os.mkfifo(folder / "c.txt")
    (folder / "d.txt").symlink_to("/dev/zero")
    (folder / "e.txt").symlink_to("gone")
    (folder / "f.txt").symlink_to("f.txt")
    os.mknod(folder / "g.txt", stat.S_IFSOCK | 0o600)
    return folder


def _maildir(place, files, name="Maildir"):
    folder = folder_of(place, files, name)
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(exist_ok=True)
    return folder


@refused("no text of yours in it", source=True)
def a_maildir_that_is_empty(place):
    return _maildir(place, {})


@handled("a draft", "in the trash", texts=2, source=True)
def a_maildir_with_drafts(place):
    first, second, third, fourth = _mails(4)
    return _maildir(
        place, {"cur/1:2,S": first, "cur/2:2,DS": second, "cur/3:2,ST": third, "new/4": fourth, "tmp/5": b"half"}
    )


@handled("left out", texts=1, source=True)
def a_maildir_with_links_and_pipes(place):
    folder = _maildir(place, {"cur/1:2,S": _mails(1)[0]})
    (folder / "cur" / "2:2,S").symlink_to("/dev/zero")
    os.mkfifo(folder / "new" / "3")
    (folder / "new" / "4").mkdir()
    return folder


@handled(texts=3, source=True)
def a_folder_that_apple_mail_exports(place):
    return folder_of(place, {"mbox": mbox(_mails(3)), "table_of_contents": bytes(range(256))}, name="Sent.mbox")
