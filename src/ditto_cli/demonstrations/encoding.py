"""Files -> bytes -> clean characters, with line ends settled and mojibake repaired; and what is said where that fails.

Words, paragraph breaks and indentation stay as the person wrote them. Knows no file format and no folder.
"""

from __future__ import annotations

import codecs
import math
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import ftfy
import webencodings  # type: ignore[import-untyped]
from ftfy.badness import badness

from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
# Not the second byte of a damaged letter, as in "Ã\x85".
_LINE_ENDS = re.compile(r"\r{1,2}\n|[\r\v\f\u2028]|(?<![\x80-\xf4])\x85")
# With the colours of a terminal, byte-order marks and the stands for pictures of Apple's programs.
_CONTROLS = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffc]")
# Old editors leave form feeds, DOS end marks (1a) and terminal colours (1b) in texts; the other controls are binary.
_BINARY_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LOST = "\ufffd"

_CODE_PAGE = re.compile(r"(?:x-)?(?:cp|ibm|dos|ms|win|windows)-?(\d{3,4})")
_ISO_2022_ESCAPE = re.compile(rb"(\x1b(?:\([BIJ]|\$[@B]))")
_ISO_2022_SHIFT = re.compile(rb"\x1b(?:\$[@B]|\$\)C|\([IJ])")
_LETTERS_OF_CP1250 = re.compile(rb"[\x8a\x8c-\x8f\x9a\x9c-\x9f]")  # where ISO 8859-2 has none
_HIGH = bytes(byte | 0x80 if 0x21 <= byte <= 0x7E else byte for byte in range(256))
# Where Python's big5hkscs differs from what Windows writes and the WHATWG table reads.
_BIG5_AS_IN_WINDOWS = str.maketrans("•､∼¥¢£", "‧﹑～￥￠￡")  # noqa: RUF001

# Alphabets from Latin to Thai, signs, kana, Han, Hangul and emoji; two bytes of other data are rarely among them.
_USUAL_IN_WIDE = re.compile(
    "[\t-\u0fff\u1e00-\u21ff\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef\U0001f000-\U0001faff]"
)
_PLAIN_IN_WIDE = re.compile("[\t\n -~\u3000-\u30ff\uff00-\uffef]")
_RUN = re.compile(rb"([\x80-\xff])\1{2,}")
_BAD_BYTES = re.compile("[\udc80-\udcff]+")  # as "surrogateescape" leaves them
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_OTHER_MARKS = "€…‘’“”–—«»°"  # noqa: RUF001
_ALSO_LOST = re.compile(f"{_LOST}+|\u951f\u65a4\u62f7")  # U+FFFD itself, read as GBK

_META_CHARSET = re.compile(rb"<meta\s[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,30})", re.IGNORECASE)
_ONLY_AT_END = "ךםןףץς"  # of a word
_QUOTES, _SIGNS = "“”‘’–—…«»„‚\xa0", "€°§£·•ªº²³¹½¼¾©®™№µ´×÷±¶¢¥"  # noqa: RUF001

_WHOLE_ONLY = ftfy.TextFixerConfig(decode_inconsistent_utf8=False)


class UndecodableTextError(ValueError):
    """The bytes are not a text in any encoding that people write in."""


def decode_text(raw: bytes, declared: str | None = None) -> str:
    """The characters of a text, in whichever encoding it was saved.

    A byte-order mark decides; then UTF-8, where that fits; then the likeliest letters, and the label is most of what
    makes them likely. Of a text that fits but for a few bytes only these are lost. `declared` is the label as it was
    found: a charset of a mail or a page.

    Raises:
        UndecodableTextError: the bytes are binary.
    """
    for encoding, marks in _BYTE_ORDER_MARKS.items():
        if raw.startswith(marks):
            return _check_text(raw.decode(encoding, "replace"))
    if raw.startswith(codecs.BOM_UTF8):
        raw, declared = raw.removeprefix(codecs.BOM_UTF8), "utf-8"
    codec = _codec_of(declared) if declared else None
    if codec == "iso8859-2" and _LETTERS_OF_CP1250.search(raw):
        codec = "cp1250"
    if b"\0" in raw:
        bare = raw.rstrip(b"\0")
        is_padded = bool(bare) and len(raw) - len(bare) > 2 and b"\0" not in bare  # by a crash while it was written
        return decode_text(bare, declared) if is_padded else _decode_wide(raw)
    if raw.isascii():
        is_shifted = _ISO_2022_SHIFT.search(raw) is not None
        return _decode(raw, "iso-2022" if is_shifted else codec if codec in ("utf-7", "hz") else "ascii")
    text = raw.decode("utf-8", "surrogateescape")
    num_bad = sum(map(len, _BAD_BYTES.findall(text)))
    num_good = len(raw.translate(None, bytes(range(128)))) - num_bad
    # By chance, bytes in another encoding make letters of alphabets that nobody mixes.
    alphabets = {ord(letter) >> 7 for letter in _BEYOND_ASCII.findall(text) if letter < "\u0800" and letter.isalpha()}
    is_utf8 = num_good > 10 * num_bad or (num_good > num_bad and len(alphabets) <= 2)
    # Of a few letters all may be valid by chance, and then their label is believed.
    if is_utf8 and (codec in (None, "utf-8", "cp1252") or len(raw) - len(text) >= 4):
        return _BAD_BYTES.sub(_mend, text)
    if codec is not None and not codec.startswith("utf") and codec not in _alphabets():
        labelled = _decode(raw, codec)
        if labelled.count(_LOST) <= max(1, len(_BEYOND_ASCII.findall(labelled)) // 10):
            return labelled
    return _check_text(_decode(raw, _likeliest_codec(raw, codec)))


def charset_of_page(raw: bytes) -> str | None:
    """The charset that a page of HTML names itself; None if it names none."""
    named = _META_CHARSET.search(raw[:4096])
    # A page that says so in ASCII is not in UTF-16.
    return named[1].decode("ascii") if named and b"utf-16" not in named[1].lower() else None


def normalise_text(text: str) -> str:
    r"""The text as a model should learn it; a second time changes nothing.

    Mojibake is repaired. Line ends become \n, trailing whitespace and outer blank lines go, and several blank lines
    become one, so paragraph breaks stay. Control characters except \n and \t and byte-order marks go. Characters are
    composed (NFC). Half a character, which JSON can spell, becomes U+FFFD.
    """
    text = _SURROGATES.sub(_LOST, text)
    before = None
    while before != text:  # what is taken out may bring together what belongs together
        before = text
        # Line ends around it make letters more or less likely.
        text = repair_mojibake(unify_line_ends(text).strip("\n"))
        text = _CONTROLS.sub("", text.replace("\u2029", "\n\n"))
        text = "\n".join(line.rstrip() for line in unicodedata.normalize("NFC", text).split("\n"))
        text = re.sub(r"\n{3,}", "\n\n", text).strip("\n")
    return text


def repair_mojibake(text: str) -> str:
    """UTF-8 that a program read as another encoding becomes what it was; a clean text stays as it is.

    The whole text must have been read wrongly, or whole lines.
    """
    if text.isascii() or not badness(text):
        return text
    repaired = ftfy.fix_encoding(text, _WHOLE_ONLY)
    if repaired == text:
        repaired = "\n".join(ftfy.fix_encoding(line, _WHOLE_ONLY) for line in text.split("\n"))
    return repaired


def damaged_places(text: str) -> int:
    """In how many places letters were lost, or stand there as mojibake."""
    return len(_ALSO_LOST.findall(text)) + (0 if text.isascii() else badness(text.replace(_LOST, "")))


def unify_line_ends(text: str) -> str:
    r"""Every kind of line end as \n."""
    return _LINE_ENDS.sub("\n", text)


def readable_name(name: str) -> str:
    """A file's name as one printable line, the same on every system: it goes into messages and ditto.yaml."""
    composed = unicodedata.normalize("NFC", name)  # macOS stores names decomposed
    return composed if composed.isprintable() else repr(composed)[1:-1]


@cache
def _codec_of(label: str) -> str | None:
    """The codec that a charset label means in use; None for an unknown label."""
    found = re.search(r"[a-z0-9][a-z0-9_.:+-]*", label.lower().rpartition("=")[2])
    name = found[0].rstrip(":.") if found else ""
    if name in ("us-ascii", "ascii"):  # says nothing of other bytes
        return None
    supersets = {alias: codec for codec, labels in words("charsets")["labels"].items() for alias in labels}
    for spelling in (name, name.replace("_", "-"), re.sub("^latin[-_]", "latin", name)):
        if spelling in supersets:
            return str(supersets[spelling])
        if encoding := webencodings.lookup(spelling):
            codec: str = supersets.get(encoding.name, encoding.codec_info.name)
            return None if codec in ("replacement", "x-user-defined") else codec
    if page := _CODE_PAGE.fullmatch(name.replace("_", "-")):
        with suppress(LookupError):  # pages of mainframes do not hold ASCII
            return f"cp{page[1]}" if "Az 09".encode(f"cp{page[1]}") == b"Az 09" else None
    return None


def _decode(raw: bytes, codec: str) -> str:
    """The characters, with U+FFFD for what the codec does not know."""
    if codec == "iso-2022" and b"\x1b$)C" in raw:
        codec = "iso2022_kr"
    elif codec == "iso-2022":  # -JP as Microsoft writes it: escapes say in which set of characters the next bytes are
        pieces: list[str] = []
        charset = b"(B"
        for piece in _ISO_2022_ESCAPE.split(raw):
            if piece.startswith(b"\x1b"):
                charset = piece[1:]
            else:
                is_kanji = charset.startswith(b"$")
                shifted = piece if charset in (b"(B", b"(J") else piece.translate(_HIGH)
                pieces.append(_decode(shifted, "euc-jp" if is_kanji else "cp932"))
        return "".join(pieces)
    elif codec == "euc-jp":
        raw = re.sub(
            rb"\x8e(?=[\xa1-\xdf])|[\xa1-\xfe]{2}",
            lambda match: _shift_jis(match[0]) if len(match[0]) == 2 else b"",
            raw,
        )
        codec = "cp932"
    elif codec == "big5":
        text = raw.decode("big5hkscs", "replace").translate(_BIG5_AS_IN_WINDOWS)
        # Only Windows' own has the sign of the euro.
        return raw.decode("cp950", "replace") if _LOST in text and b"\xa3\xe1" in raw else text
    text = raw.decode(codec, "replace")
    # Python puts bytes that mean nothing where everybody may put their own signs.
    return re.sub("[\uf8f0-\uf8f3]", _LOST, text) if codec == "cp932" else text


def _shift_jis(pair: bytes) -> bytes:
    """A character of EUC-JP in Shift_JIS, which is Python's only table with all that Windows writes."""
    row, cell = pair[0] - 0xA1, pair[1] - 0x80
    cell += 0x7E if row % 2 else 0x1F + (cell >= 0x60)
    return bytes(((row // 2 + (0x81 if row < 62 else 0xC1)) & 0xFF, cell & 0xFF))


def _decode_wide(raw: bytes) -> str:
    """UTF-16 without a byte-order mark."""
    narrow = raw.replace(b"\0", b"").decode("utf-8", "replace")
    # Letters of UTF-16 are no UTF-8, or full of controls.
    if 4 * raw.count(0) < len(raw) and _LOST not in narrow and not _BINARY_CONTROLS.search(narrow):
        raise UndecodableTextError("NUL bytes")
    # Line ends, spaces and stops tell the byte order.
    samples = {order: raw[:20_000].decode(order, "replace") for order in ("utf-16-le", "utf-16-be")}
    order = max(samples, key=lambda order: len(_PLAIN_IN_WIDE.findall(samples[order])))
    if len(_USUAL_IN_WIDE.findall(samples[order])) < 0.9 * len(samples[order]):
        raise UndecodableTextError("NUL bytes")
    return _check_text(raw.decode(order, "replace"))


def _mend(bad: re.Match[str]) -> str:
    """What bytes amid UTF-8 were: letters of an older text that was pasted there, or nothing that can be known."""
    raw = bad[0].encode("utf-8", "surrogateescape")
    letters = raw.decode("cp1252", "replace")
    before, after = bad.string[max(0, bad.start() - 1) : bad.start()], bad.string[bad.end() : bad.end() + 1]
    is_cut = len(raw) > 1 and raw[0] >= 0xC2 and all(0x80 <= byte <= 0xBF for byte in raw[1:])
    is_among_latin = all(ord(one) < 0x250 or not one.isalpha() for one in before + after)
    fits = all(one in _OTHER_MARKS or (one.isalpha() and one not in "ÂÃÿ") for one in letters)
    is_in_place = not (letters[0].isupper() and before.islower())
    return letters if fits and is_among_latin and is_in_place and not is_cut else _LOST


@cache
def _alphabets() -> dict[str, list[tuple[bool, dict[str, float], float]]]:
    """By codec: whether an alphabet is Latin, log-probability of each character, and that of codec and alphabet."""
    models: dict[str, list[tuple[bool, dict[str, float], float]]] = {}
    for number, alphabet in enumerate(words("charsets")["alphabets"]):
        letters = alphabet["letters"]
        total = sum(1 / (rank + 6) for rank in range(len(letters)))
        chances = dict.fromkeys(_SIGNS, -6) | dict.fromkeys(_QUOTES, -4.5) | {_LOST: -14}
        chances |= {letter: -math.log((rank + 6) * total) for rank, letter in enumerate(letters)}
        chances |= {one.upper(): chances[one] for one in letters if len(one.upper()) == 1}
        for place, codec in enumerate(alphabet["codecs"]):
            models.setdefault(codec, []).append((letters < "\u0370", chances, -0.17 * number - 2 * place))
    return models


def _likeliest_codec(raw: bytes, labelled: str | None) -> str:
    """The codec whose text is the likeliest by its letters, by how they stand together, and by the label."""
    sample = b"\n".join(line for line in raw.splitlines() if not line.isascii())[:4000]
    if labelled is not None:  # a row of dots says no more of the letters than a dot
        sample = _RUN.sub(lambda run: run[1] * (2 - len(run[0]) % 2), sample)
    num_high = len(sample.translate(None, bytes(range(128))))
    frequent = words("charsets")["frequent"]

    def score(codec: str) -> float:
        counts, penalty, latin, other = _traits(_decode(sample, codec))
        found: list[float] = []
        for is_latin, chances, chance in _alphabets()[codec]:
            letters = (count * (chances.get(one) or _chance_of_other(one, codec)) for one, count in counts.items())
            around = 0.0 if codec in frequent else latin if is_latin else other
            found.append(chance - penalty - around + sum(letters))
        return max(found)

    # Nearly all labels are right, and looking at all codecs takes a while.
    if labelled is not None and labelled in _alphabets() and score(labelled) > -3.5 * num_high:
        return labelled
    of_label = (25 if labelled in frequent else 10) + 0.7 * num_high
    return max(_alphabets(), key=lambda codec: score(codec) + (of_label if codec == labelled else 0.0))


def _traits(text: str) -> tuple[Counter[str], float, float, float]:
    """The characters beyond ASCII, and penalties for how they stand: in all, in Latin and in other alphabets."""
    counts: Counter[str] = Counter()
    penalty = latin = other = 0.0
    for before, here, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if here.isascii():
            continue
        counts[here] += 1
        if here.isalpha():
            penalty += 3 * (before.isdigit() or after.isdigit()) + 2 * (not before.isalpha() and not after.isalpha())
            if here.isupper():
                penalty += 5 if before.islower() else 0.2 if before.isupper() or after.isupper() else 1.5
            penalty += 4 * (here in _ONLY_AT_END and after.isalpha())
            latin += 3 * (before > "\x7f" and before.isalpha() and after > "\x7f" and after.isalpha())
            other += 5 * ((before.isascii() and before.isalpha()) + (after.isascii() and after.isalpha()))
        elif here in _SIGNS or here in "–‚":  # noqa: RUF001
            is_odd_before = after.isalpha() and here not in "°©µ‚´"  # noqa: RUF001
            is_odd_behind = before.isalpha() and here not in "²³¹®™´"  # noqa: RUF001
            penalty += 6 * (is_odd_before or is_odd_behind)
    return counts, penalty, latin, other


def _chance_of_other(letter: str, codec: str) -> float:
    """The log-probability of a character that is not in the alphabet."""
    frequent = words("charsets")["frequent"].get(codec)
    if frequent is None:
        return -20 if "\x7f" < letter < "\xa0" else -10
    if codec in ("cp932", "euc-jp") and "\u3041" <= letter <= "\u30fe":
        return -6.5
    stored = letter.encode("big5hkscs" if codec == "big5" else codec, "replace")
    return -8.8 if len(stored) == 2 and frequent[0] <= stored[0] <= frequent[1] else -11


def _check_text(text: str) -> str:
    if _BINARY_CONTROLS.search(text) or (text and not text.strip(_LOST)):
        raise UndecodableTextError("control characters")
    return text


# --- files, and what is said of them

BY_OTHERS = "written by somebody else"


@contextmanager
def open_file(path: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading."""
    try:
        # Before opening: a FIFO would block here for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is a folder, pipe, socket or device, not a file: take it out of the folder.")
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, or is a link to what does not: check the path.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from None
    with file:
        try:
            yield file
        except OSError as error:
            raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> InputError:
    why = f"{name} cannot be read ({type(error).__name__})"
    return InputError(f"{why}: check its rights and where it links to, or take it away.")


def read_whole(path: Path, name: str, max_bytes: int) -> bytes:
    """A regular file's bytes."""
    with open_file(path, name) as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise InputError(
            f"{name} is larger than {max_bytes // 2**20} MiB, more than a person's text: "
            "save the text itself, without pictures and attachments."
        )
    return raw


def decode_file(name: str, raw: bytes, declared: str | None = None) -> str:
    """The characters of a text file; `declared` is the charset that it names itself."""
    try:
        return decode_text(raw, declared)
    except UndecodableTextError:
        raise InputError(
            f"{name} is a binary file in spite of its name, so there is no text to read: save the text itself as .txt."
        ) from None


def usable(name: str, text: str) -> str:
    """The text as a model should learn it."""
    if not (normal := normalise_text(text)):
        raise InputError(empty(name))
    return normal


def empty(name: str) -> str:
    """What is said of a file without text."""
    return f"{name} is empty, so there is nothing to learn from it: put your text into it, or delete it."


def damaged(name: str) -> str:
    """What is said of a file on which its reader fails."""
    return (
        f"{name} is damaged, or not a {PurePosixPath(name).suffix.lower()} file in spite of its name, or protected "
        "with a password: open it in the program that wrote it, and save the text as .txt."
    )
