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


def handled(*says, texts, holds="", options=(), source=False):
    """The function below makes what gives this many texts, and of which this is said."""
    return lambda make: _enter(make, Odd(make, source, False, says, texts, holds, options))


def refused(*says, source=False, options=(), needs_rights=False):
    """The function below makes what is refused in one line with these words."""
    return lambda make: _enter(make, Odd(make, source, True, says, options=options, needs_rights=needs_rights))


def _enter(make, odd, name=None):
    name = name or make.__name__
    assert name not in ODD, name
    ODD[name] = odd
    return make


def _beside_a_letter(place, name):
    """A folder with one good text, and the path for something odd beside it."""
    return folder_of(place, {"good.txt": letter(1)}) / name


# Folders of demonstrations.


@handled("my-first-text.md", "Put your text below its comment", texts=0)
def empty_folder(place):
    return folder_of(place, {})


@handled("my-first-text.md", texts=0)
def only_hidden_files(place):
    return folder_of(place, {".DS_Store": b"\0\0\0\1Bud1", ".a.txt.swp": letter(1)})


@handled("my-first-text.md", texts=0)
def a_folder_that_is_not_there(place):
    return place / "alice"


@refused("is a file", "give a folder")
def a_file_in_the_place_of_the_folder(place):
    return file_of(place, "alice", letter(1))


@refused("holds only the template", "edit my-first-text.md")
def the_template_alone(place):
    from ditto_cli.demonstrations.folder import TEMPLATE, TEMPLATE_NAME

    return folder_of(place, {TEMPLATE_NAME: TEMPLATE.replace("\n", "\r\n")})


@refused("binary file in spite of its name")
def a_binary_file_named_txt(place):
    return folder_of(place, {"a.txt": bytes(range(256)) * 40})


@refused("binary file in spite of its name")
def nuls_in_a_text(place):
    return folder_of(place, {"a.txt": letter_bytes(1).replace(b" the ", b"\0the\0")})


@refused("a.txt is empty")
def only_whitespace(place):
    return folder_of(place, {"a.txt": " \n\t\r\n\u3000\ufeff\n"})


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
    _enter(
        lambda place, raw=_raw: folder_of(place, {"a.txt": raw}),
        Odd(lambda place, raw=_raw: folder_of(place, {"a.txt": raw}), False, False, (), 1, _holds),
        _name,
    )


def _sparse_in_a_folder(suffix, head=b""):
    return lambda place: sparse(_beside_a_letter(place, f"big{suffix}"), head).parent


def _sparse_source(suffix, head=b""):
    return lambda place: sparse(place / f"big{suffix}", head)


for _suffix, _size in (
    (".txt", "32 MiB"),
    (".md", "2 MiB"),
    (".json", "64 MiB"),
    (".html", "16 MiB"),
    (".pdf", "32 MiB"),
):
    _make = _sparse_in_a_folder(_suffix)
    _enter(_make, Odd(_make, False, True, ("is larger than", _size)), f"a_gigabyte_of_{_suffix[1:]}")
    _make = _sparse_source(_suffix)
    _enter(_make, Odd(_make, True, True, ("is larger than", _size)), f"a_gigabyte_of_{_suffix[1:]}_as_source")

_make = _sparse_source(".mbox")
_enter(_make, Odd(_make, True, True, ("not an mbox",)), "a_gigabyte_of_zeros_named_mbox")
_make = _sparse_source(".mbox", mbox([mail(letter(1))]) + b"From x Mon Jan  1 10:00:00 2024\nSubject: big\n\n")
_enter(_make, Odd(_make, True, False, ("larger than 32 MiB",), 1), "an_mbox_with_a_mail_of_a_gigabyte")
_make = _sparse_source(".zip")
_enter(_make, Odd(_make, True, True, ("big.zip", "damaged")), "a_gigabyte_of_zeros_named_zip")
_make = _sparse_source("")
_enter(_make, Odd(_make, True, True, ("is left out",)), "a_gigabyte_without_a_suffix")


@refused("a.txt is a folder, pipe, socket or device")
def a_pipe_named_txt(place):
    path = _beside_a_letter(place, "a.txt")
    os.mkfifo(path)
    return path.parent


@refused("a.txt is a folder, pipe, socket or device")
def a_socket_named_txt(place):
    path = _beside_a_letter(place, "a.txt")
    os.mknod(path, stat.S_IFSOCK | 0o600)
    return path.parent


@refused("a.txt is a folder, pipe, socket or device")
def a_link_to_endless_zeros(place):
    path = _beside_a_letter(place, "a.txt")
    path.symlink_to("/dev/zero")
    return path.parent


@refused("a.txt cannot be read", "where it links to")
def links_in_a_circle(place):
    path = _beside_a_letter(place, "a.txt")
    path.symlink_to("b.txt")
    path.with_name("b.txt").symlink_to("a.txt")
    return path.parent


@refused("a.txt does not exist, or is a link to what does not")
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


@handled("b.md is left out: same text as a.txt", texts=1)
def the_same_text_twice(place):
    return folder_of(place, {"a.txt": letter(1), "b.md": letter(1) + "\n\n"})


@refused("two files whose names look the same")
def names_that_look_the_same(place):
    return folder_of(
        place, {f"{unicodedata.normalize(form, 'é')}.txt": letter(n) for n, form in enumerate(("NFC", "NFD"))}
    )


@handled(texts=1)
def a_line_end_in_a_name(place):
    return folder_of(place, {"a\nerror: b.txt": letter(1)})


@refused("is empty")
def escape_sequences_in_the_name_of_an_empty_file(place):
    return folder_of(place, {"\x1b[31m\x1b]0;x\x07.txt": ""})


@handled(texts=1)
def escape_sequences_in_the_name_of_the_folder(place):
    return folder_of(place, {"a.txt": letter(1)}, name="al\x1b[31mice\x9b2J")


@handled(texts=1)
def a_folder_with_a_name_like_markup(place):
    return folder_of(place, {"[b].txt": letter(1)}, name="[/b]")


@handled(texts=1)
def a_name_of_255_bytes(place):
    return folder_of(place, {"x" * 251 + ".txt": letter(1)})


@handled(texts=1)
def a_name_that_is_not_utf_8(place):
    return folder_of(place, {b"caf\xe9.txt": letter(1)})


@handled(texts=2)
def names_like_options(place):
    return folder_of(place, {"--help.txt": letter(1), "-.md": letter(2)})


@refused("200 texts, too many to learn from", "--from")
def two_hundred_texts(place):
    return folder_of(place, {f"{number}.txt": letter(number) for number in range(200)})


@handled("too long", "--split cuts it at paragraphs", texts=1)
def forty_pages(place):
    return folder_of(place, {"a.txt": "\n".join(letter(number) for number in range(270))})


@refused("holds nothing to learn from")
def only_kinds_that_are_not_read(place):
    kinds = ("msg", "doc", "pages", "jpg", "mp3", "xlsx", "pst", "xyz")
    return folder_of(place, {f"a.{kind}": bytes(range(200)) for kind in kinds})


@handled("a.jpg is left out", "README.txt is left out", "sub is left out", texts=1)
def a_text_among_other_things(place):
    return folder_of(place, {"a.txt": letter(1), "a.jpg": b"\xff\xd8\xff", "README.txt": "no", "sub/b.txt": letter(2)})


@refused("holds nothing to learn from", "a folder; only the files directly")
def only_folders(place):
    return folder_of(place, {"mails/a.txt": letter(1), "posts/b.txt": letter(2)})


for _suffix in ("msg", "doc", "pages", "jpg", "mp3", "xlsx", "rtf", "pst"):
    _make = lambda place, suffix=_suffix: file_of(place, f"a.{suffix}", bytes(range(200)))  # noqa: E731
    _enter(_make, Odd(_make, True, True, (f"a.{_suffix}", "left out")), f"a_{_suffix}_file_as_source")


# Front matter and ditto.yaml.


@refused("a.md line 1", "never ends")
def front_matter_never_closed(place):
    return folder_of(place, {"a.md": "---\nprompt: Write to Bo.\n\n" + letter(1)})


@refused("a.md line 1", "longer than 20,000 characters")
def front_matter_of_brackets(place):
    return folder_of(place, {"a.md": "---\nprompt: " + "[" * 50_000 + "\n---\n" + letter(1)})


@refused("a.md line 1", "a prompt that is not a text")
def front_matter_with_a_tag(place):
    return folder_of(place, {"a.md": "---\nprompt: !!python/object/apply:os.system [true]\n---\n" + letter(1)})


@refused("comment (<!--) that never ends")
def a_comment_never_closed(place):
    return folder_of(place, {"a.md": "<!-- a note\n" + letter(1)})


@refused("comment (<!--) that never ends")
def comments_begun_and_begun(place):
    return folder_of(place, {"a.md": letter(1) + "<!-- " * 300_000})


def _with_folder_file(content):
    return lambda place: folder_of(place, {"a.txt": letter(1), "ditto.yaml": content})


for _name, _content, _says in (
    ("ditto_yaml_broken", "name: [alice\nseed: {", ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_of_an_unknown_setting", "schema_version: 1\ntemperture: 2\n", ("unknown setting temperture",)),
    ("ditto_yaml_of_a_list", "- alice\n- bob\n", ("ditto.yaml", "key: value")),
    ("ditto_yaml_binary", bytes(range(256)), ("ditto.yaml", "cannot be read")),
    ("ditto_yaml_of_brackets", "name: " + "[" * 100_000, ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_with_a_tag", "name: !!python/object/apply:os.system [true]\n", ("ditto.yaml", "not valid YAML")),
    ("ditto_yaml_of_another_time", "schema_version: 99\n", ("schema_version",)),
):
    _make = _with_folder_file(_content)
    _enter(_make, Odd(_make, False, True, _says), _name)


@refused("ditto.yaml")
def ditto_yaml_of_many_aliases(place):
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return folder_of(place, {"a.txt": letter(1), "ditto.yaml": "\n".join([*lines, "name: *a11", ""])})


@refused("ditto.yaml")
def ditto_yaml_is_a_folder(place):
    folder = folder_of(place, {"a.txt": letter(1)})
    (folder / "ditto.yaml").mkdir()
    return folder


@refused("ditto.yaml")
def ditto_yaml_of_a_gigabyte(place):
    return sparse(_beside_a_letter(place, "ditto.yaml")).parent


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


def _with_mail(raw):
    return lambda place: folder_of(place, {"a.eml": raw() if callable(raw) else raw})


def _multipart(parts, boundary="b1", closing=True):
    pieces = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return pieces + (f"--{boundary}--\n" if closing else "")


def _nested_multiparts():
    head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(10_000))
    return b"From: maya@example.com\nSubject: deep\nMIME-Version: 1.0\n" + head.encode() + b"\n" + letter_bytes(1)


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
    ("a_mail_of_nested_multiparts", _nested_multiparts, _NO_MAIL),
    ("a_mail_of_broken_base64", mail("SGVsb*8gQm8\n=\n!!!A", Content_Transfer_Encoding="base64"), _NOTHING_OWN),
    (
        "a_mail_that_is_encrypted",
        mail(_PICTURE, content="application/pkcs7-mime; name=smime.p7m"),
        ("is left out (encrypted)",),
    ),
    ("a_mail_of_a_quote_alone", mail("> Hi Maya\n> come over\n", subject="Re: tea"), _NOTHING_OWN),
):
    _make = _with_mail(_raw)
    _enter(_make, Odd(_make, False, True, _says), _name)

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
    _make = _with_mail(_raw)
    _enter(_make, Odd(_make, False, False, (), 1, _holds), _name)


# Documents.


def _with_file(name, raw):
    return lambda place: folder_of(place, {name: raw() if callable(raw) else raw})


def _pages_in_a_circle():
    return pdf_of(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 2 >>",
            "<< /Type /Pages /Parent 2 0 R /Kids [2 0 R 3 0 R] /Count 2 >>",
        ]
    )


def _laughs(entity="&x9;"):
    entities = '<!ENTITY x0 "ha">' + "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10))
    return entity, f"<!DOCTYPE d [{entities}]>"


def _spy():
    return "&spy;", '<!DOCTYPE d [<!ENTITY spy SYSTEM "file:///etc/passwd">]>'


_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
_PAGE_OF_A_PICTURE = pdf("").replace(b"BT /F1", b"q  % F1")
_ENCRYPTED_PDF = pdf(
    letter(1),
    f"/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >>",
)
_IN_SPITE = ("in spite of its name",)
for _name, _file, _raw, _says in (
    ("a_docx_that_is_a_zip_of_nothing", "a.docx", zipped({}), ("a.docx",)),
    ("a_docx_that_is_a_text", "a.docx", letter_bytes(1), _IN_SPITE),
    ("a_docx_of_entities", "a.docx", lambda: docx_of(document_xml(*_laughs())), ("a.docx",)),
    ("a_docx_that_reads_other_files", "a.docx", lambda: docx_of(document_xml(*_spy())), ("a.docx",)),
    ("a_docx_of_broken_xml", "a.docx", lambda: docx_of(document_xml(letter(1))[:-40]), ("a.docx", "damaged")),
    ("a_docx_without_a_text", "a.docx", lambda: docx_of(document_xml("")), ("a.docx is empty",)),
    ("an_old_doc_renamed_docx", "a.docx", _OLE + "WordDocument".encode("utf-16-le"), _IN_SPITE),
    ("a_docx_with_a_password", "a.docx", _OLE + "EncryptedPackage".encode("utf-16-le"), ("protected with a password",)),
    ("a_docx_cut_off", "a.docx", lambda: docx_of(document_xml(letter(1)))[:-300], ("a.docx", "damaged")),
    ("a_docx_nested_deep", "a.docx",
     lambda: docx_of(document_xml(letter(1)).replace("<w:p>", "<w:p>" + "<w:r>" * 20_000, 1)), ("a.docx",)),
    ("an_odt_of_broken_xml", "a.odt", lambda: odt_of(content_xml(letter(1))[:-60]), ("a.odt", "damaged")),
    ("an_odt_of_entities", "a.odt", lambda: odt_of(content_xml(*_laughs())), ("a.odt",)),
    ("an_odt_that_is_a_spreadsheet", "a.odt",
     lambda: zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet",
                     "content.xml": content_xml("x").replace("office:text", "office:spreadsheet")}),
     _IN_SPITE),
    ("a_pdf_without_text", "a.pdf", _PAGE_OF_A_PICTURE, ("holds no text that can be read", "OCR")),
    ("a_pdf_that_is_encrypted", "a.pdf", _ENCRYPTED_PDF, ("protected with a password",)),
    ("a_pdf_that_is_a_text", "a.pdf", letter_bytes(1), _IN_SPITE),
    ("a_pdf_cut_off", "a.pdf", pdf(letter(1))[:150], ("a.pdf",)),
    ("a_pdf_of_pages_in_a_circle", "a.pdf", _pages_in_a_circle, ("a.pdf",)),
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
    _make = _with_file(_file, _raw)
    _enter(_make, Odd(_make, False, True, _says), _name)

for _name, _file, _raw, _texts, _says in (
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
    _make = _with_file(_file, _raw)
    _enter(_make, Odd(_make, False, False, _says, _texts), _name)


# Archives, given to --from.


def _mails(num, **fields):
    return [
        mail(letter(n), subject=f"About {THINGS[n % 12]}", Message_ID=f"<{n}@example.com>", **fields)
        for n in range(num)
    ]


def _source(name, raw):
    return lambda place: file_of(place, name, raw() if callable(raw) else raw)


def _zip_bomb():
    return zipped({"a.txt": zipped({"b.txt": bytes(10 * 2**20)}), "b.txt": bytes(60 * 2**20)})


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


def _encrypted_zip():
    flags = {"flags": 1}
    return write_zip([Member(b"a.txt", letter_bytes(1), flags, flags)])


def _thirty_thousand_members():
    return zipped({f"{n}.txt": b"" for n in range(30_000)}, zipfile.ZIP_STORED)


_WAYS_OUT = (
    b"../up.txt",
    b"/etc/top.txt",
    b"..\\up2.txt",
    b"C:\\drive.txt",
    b"a/../../up3.txt",
    b"nul\0.txt",
    b"\x1b[2J.txt",
)
for _name, _file, _raw, _says in (
    ("a_zip_in_a_zip", "a.zip", lambda: zipped({"b.zip": zipped({"c.zip": zipped({"a.txt": letter(1)})})}), ("a.zip",)),
    ("a_zip_bomb", "a.zip", _zip_bomb, ("a.zip",)),
    ("a_zip_that_lies_about_sizes", "a.zip", _zip_that_lies, ("a.zip",)),
    ("a_zip_with_a_password", "a.zip", _encrypted_zip, ("a.zip",)),
    ("a_zip_cut_off", "a.zip", zipped({"a.txt": letter(1)})[:-30], ("a.zip",)),
    ("a_zip_of_nothing", "a.zip", zipped({}), ("a.zip",)),
    ("a_zip_that_is_a_text", "a.zip", letter_bytes(1), ("a.zip",)),
    ("a_zip_of_thirty_thousand_members", "a.zip", _thirty_thousand_members, ("a.zip holds more than 20000 files",)),
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
    _make = _source(_file, _raw)
    _enter(_make, Odd(_make, True, True, _says), _name)

for _name, _file, _raw, _texts, _says in (
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
    _make = _source(_file, _raw)
    _enter(_make, Odd(_make, True, False, _says, _texts), _name)


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


@refused("no text of yours in it", source=True)
def a_source_without_a_text(place):
    return folder_of(place, {"a.jpg": b"\xff\xd8", "sub/b.xyz": b"?"}, name="texts")


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


@handled(texts=1, source=True)
def a_folder_in_a_folder_a_hundred_times(place):
    return folder_of(place, {"/".join(["d"] * 100) + "/a.txt": letter(1)}, name="texts")


@handled(texts=2, source=True)
def odd_names_in_a_source(place):
    return folder_of(place, {b"caf\xe9\x1b[2J.txt": letter(1), "a\nb/c\rd.txt": letter(2)}, name="texts")


@handled(texts=7, source=True)
def a_source_of_two_hundred_texts(place):
    return folder_of(place, {f"{number}.txt": letter(number) for number in range(200)}, name="texts")


@handled("longer than 600 words", texts=7, source=True, options=("--pick", "7"))
def a_long_text_among_others(place):
    texts = {f"{number}.txt": letter(number) for number in range(12)}
    return folder_of(place, {**texts, "long.txt": "\n".join(letter(n) for n in range(100))}, name="texts")


@handled(texts=4, source=True, options=("--split",))
def a_long_text_divided(place):
    return file_of(place, "long.txt", "\n".join(letter(n) for n in range(20)))


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


@handled("shorter than 40 words", texts=1, holds="ok", source=True, options=("--pick", "3"))
def only_a_word_to_pick(place):
    return file_of(place, "a.txt", "ok\n")


@handled(texts=3, source=True)
def a_folder_that_apple_mail_exports(place):
    return folder_of(place, {"mbox": mbox(_mails(3)), "table_of_contents": bytes(range(256))}, name="Sent.mbox")


@refused("--me", source=True, options=("--me", "nobody@example.com"))
def an_address_that_sent_nothing(place):
    return file_of(place, "Sent.mbox", mbox(_mails(3)))


@handled("received, not sent", texts=3, source=True, options=("--me", "MAYA@example.com"))
def sent_and_received_mails(place):
    received = [mail(letter(n), sender="bo@example.com", to="maya@example.com") for n in range(5, 10)]
    return file_of(place, "All.mbox", mbox([*_mails(3), *received]))


@handled(texts=1, source=True, options=("--redact",))
def personal_data_in_a_text(place):
    return file_of(place, "a.txt", letter(1) + "\nCall +44 20 7946 0958 or write to maya@mail.example.org.\n")


@refused("--hold-out 5 leaves nothing to train on", source=True, options=("--hold-out", "5"))
def more_kept_back_than_there_is(place):
    return folder_of(place, {f"{number}.txt": letter(number) for number in range(4)}, name="texts")
