"""Letters: bytes with and without a label become what was written, mojibake is repaired, and what stays damaged is told."""

# ruff: noqa: E501

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.encoding import (
    UndecodableTextError,
    damaged_places,
    decode_text,
    normalise_text,
    repair_mojibake,
)
from ditto_cli.demonstrations.mail import read_email

# --- labels: what they mean in use


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("gb2312", "gb18030", "喆先生,①号"),
        ("GBK", "gb18030", "镕基 €"),
        ("Shift_JIS", "cp932", "①㈱髙﨑"),
        ("x-sjis", "cp932", "来週は①会場"),
        ("windows-31j", "cp932", "Ⅳ ㎝"),
        ("big5", "big5hkscs", "峯着 ①"),
        ("Big5", "cp950", "€ 50 ～ 瑪麗‧安"),
        ("big5-hkscs", "big5hkscs", "喺度"),
        ("euc-kr", "cp949", "뷁 똠방각하"),
        ("ks_c_5601-1987", "cp949", "펲시콜라"),
        ("ks_c_5601", "cp949", "샾"),
        ("iso-8859-8-i", "cp1255", "שלום „מיה“"),
        ("iso-8859-8-e", "iso8859-8", "שלום"),
        ("windows-874", "cp874", "สวัสดี “ครับ”"),
        ("iso-8859-11", "cp874", "ไทย"),
        ("TIS-620", "cp874", "ขอบคุณ"),
        ("iso-8859-1", "cp1252", "it’s 50 €"),
        ("latin-1", "cp1252", "“so”"),
        ("us-ascii", "cp1252", "Grüße"),
        ("iso-8859-9", "cp1254", "ığdır"),
        ("latin-9", "iso8859-15", "50 € œuf"),
        ("windows-1256", "cp1256", "مرحبا"),
        ("win-1251", "cp1251", "Привет"),
        ("cp866", "cp866", "раз"),
        ("IBM850", "cp850", "Grüße"),
        ("koi8-u", "koi8-u", "Привіт, ґанок"),
        ("koi8-r", "koi8-u", "Привіт, ґанок"),
        ("us-ascii", "gb18030", "你好，我们周末在公园见面吧，请把旧的水桶带来。"),
        ("x-mac-roman", "mac-roman", "Köln, schön"),
        ("x-mac-cyrillic", "mac-cyrillic", "Привет"),
        ("x-mac-ce", "mac-latin2", "Żółw"),
        ("utf-7", "utf-7", "Grüße"),
        ("unicode-1-1-utf-7", "utf-7", "你好"),
        ("utf8mb4", "utf-8", "🚜"),
        ('"utf-8"', "utf-8", "für"),
        ("UTF-8*de", "utf-8", "für"),
        ("charset=iso-8859-1;", "cp1252", "für"),
        ("utf-16le", "utf-16-le", "Hi Tom, grüß dich"),
        ("hz-gb-2312", "hz", "你好"),
    ],
)
def test_a_label_means_its_superset_in_use(label: str, codec: str, text: str) -> None:
    assert decode_text(text.encode(codec), label) == text


JIS = {
    "a circled number of NEC": (b"\x1b$B-!\x1b(B", "①"),
    "a company sign of NEC": (b"\x1b$B-j\x1b(B", "㈱"),
    "half-width katakana": (b"\x1b(I1\x1b(B", "ｱ"),
    "the Roman set": (b"\x1b(JA\x1b(B", "A"),
    "kanji and ASCII": (b"\x1b$B:4F#$5$s\x1b(B ok", "佐藤さん ok"),
    "a kanji of IBM's, as NEC placed it": (b"\x1b$B|b\x1b(B", "髙"),
    "Korean": ("안녕하세요".encode("iso2022_kr"), "안녕하세요"),
}


@pytest.mark.parametrize("label", [None, "us-ascii", "utf-8", "iso-2022-jp"])
@pytest.mark.parametrize("name", JIS)
def test_escapes_of_iso_2022_are_seen_whatever_the_label(name: str, label: str | None) -> None:
    raw, expected = JIS[name]
    assert decode_text(raw, label) == expected


@pytest.mark.parametrize(
    ("raw", "label", "expected"),
    [
        ("Grüße aus Köln".encode(), "iso-8859-1", "Grüße aus Köln"),
        ("Привет".encode(), "windows-1251", "Привет"),
        ("你好，米娅".encode(), "gb2312", "你好，米娅"),
        ("Grüße aus Köln".encode("cp1252"), "utf-8", "Grüße aus Köln"),
        ("Schöne Grüße".encode("cp1252"), "no-such-charset", "Schöne Grüße"),
        ("Schöne Grüße".encode("cp1252"), "hex", "Schöne Grüße"),
        (b"plain", "utf-16", "plain"),
        ("谢谢".encode("gb18030"), "gb2312", "谢谢"),  # valid UTF-8 by chance
        ("Cześć, półka wisi, źle by wyszło".encode("cp1250"), "iso-8859-2", "Cześć, półka wisi, źle by wyszło"),
        ("caf\u00e9".encode("utf-8-sig"), "iso-8859-1", "caf\u00e9"),
        # One bad byte does not send the rest to a guess.
        ("שלום מיה, מה שלומך היום?".encode("cp1255") + b"\xd9", "windows-1255", "שלום מיה, מה שלומך היום?\ufffd"),
        ("今日は十分遅れます".encode("cp932") + b"\xff", "shift_jis", "今日は十分遅れます\ufffd"),
        ("schön, Bücher, Café ".encode() + b"Gr\xfc\xdfe", "utf-8", "schön, Bücher, Café Grüße"),
        # It fits, and makes words of no language.
        *[
            (text.encode(codec), label, text)
            for label in ("iso-8859-1", "windows-1252", "iso-8859-15")
            for codec, text in [
                ("cp1251", "Привет, Миша! Приезжай в пятницу."),
                ("cp1250", "Przyjedź w piątek z książkami, które wzięłaś."),
                ("iso8859-2", "Přijeď v pátek s knihami, budu doma po šesté."),
                ("cp1253", "Έλα την Παρασκευή με τα βιβλία"),
                ("cp1254", "Geçen hafta aldığın kitapları getir, altıdan sonra evde olacağım, kapı açık."),
                ("cp1255", "תבואי ביום שישי עם הספרים"),
                ("cp1257", "Atvažiuok penktadienį su knygomis, būsiu namuose po šešių"),
                ("cp932", "来週の会議ですが、場所を変更しました。"),
                ("gb18030", "会议改到周五下午三点，请把上周借的书带来。"),
                ("big5", "會議改到週五下午三點，請把上週借的書帶來。"),
                ("cp949", "지난주에 빌려 간 책을 금요일에 가져오세요."),
            ]
        ],
        # In languages that are not among the alphabets, or in several at once.
        *[
            (text.encode("cp1252"), "iso-8859-1", text)
            for text in [
                "I don´t know, it´s fine, we´ll see",
                "The tank holds 5 m³, note¹ says 3 × 4 for 50¢",
                "Salut Zoé,\n\nà bientôt\n\n····························",
                "Mirë se vini, çfarë bëni? Është ditë e bukur për të gjithë",
                "Bon dia, què tal? És així, això és tot, gràcies. Països, raïm, cançó",
                "Tere, õhtul tuleb külla ämm, palun too õlut",
                "Grüße an François und señora Peña, København war schön, naïve Idee",
                "Hei, eg kjem fríggjadagin við bókunum, tað verður stuttligt, øll eru vælkomin",
            ]
        ],
    ],
)
def test_a_label_that_does_not_fit_is_not_believed_and_one_that_nearly_fits_is(
    raw: bytes, label: str, expected: str
) -> None:
    assert decode_text(raw, label) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("schön, Bücher, Café ".encode() + b"Gr\xfc\xdfe", "schön, Bücher, Café Grüße"),
        ("Ça va, c’est bien. ".encode() + b"don\x92t, 5 \x80", "Ça va, c’est bien. don’t, 5 €"),
        ("Привет, Мия! Как дел".encode() + b"\xd0 \xd0\xbe\xd0\xba", "Привет, Мия! Как дел\ufffd ок"),
        ("schön für dich ".encode() + b"\xe2\x80 ja", "schön für dich \ufffd ja"),  # cut in the middle of a dash
        ("Äpfel, Öl, Gr".encode() + b"\xc3e", "Äpfel, Öl, Gr\ufffde"),
        ("你好，米娅！".encode() + b"\xff", "你好，米娅！\ufffd"),
        (b"\xef\xbb\xbf" + "für".encode() + b" f\xfcr", "für für"),
    ],
)
def test_of_text_that_is_nearly_all_utf_8_only_bad_bytes_suffer(raw: bytes, expected: str) -> None:
    assert decode_text(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        *[
            (text.encode(order), text)
            for order in ("utf-16-le", "utf-16-be")
            for text in [
                "Hi Tom,\r\ngrüß dich",
                "Привет, Миша!",
                "来週の会議ですが、場所を変更しました。\n",
                "会议改到周五下午三点，请把上周借的书带来。\n",
                "지난주에 빌려 간 책을 가져오세요.",
                "soon 🎉🎉",
            ]
        ],
        (b"the shelf is up" + bytes(500), "the shelf is up"),  # a crash while it was written
    ],
)
def test_nuls_are_of_utf_16_or_of_a_crash(raw: bytes, expected: str) -> None:
    assert decode_text(raw) == expected


# --- no label at all


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1255", "שלום"),
        ("cp1255", "היי דנה, אני אאחר בעשר דקות, תתחילו בלעדיי"),
        ("cp1255", "Hi Mia,\n\nהקובץ report.pdf מצורף. אשמח להערות עד יום ראשון."),
        ("iso8859-8", "תודה רבה!"),
        ("cp1256", "مرحبا"),
        ("cp1256", "صباح الخير، سأصل متأخرا اليوم"),
        ("iso8859-6", "السلم عاد إلى المخزن خلف الدراجات"),
        ("cp874", "สวัสดีครับ คุณสบายดีไหม"),
        ("cp874", "วันนี้ผมจะไปสายหน่อยนะครับ"),
        ("cp1253", "Καλημέρα"),
        ("cp1253", "Θα αργήσω δέκα λεπτά σήμερα"),
        ("iso8859-7", "Γεια σου Μία, τι κάνεις;"),
        ("cp1251", "Привет"),
        ("cp1251", "ВНИМАНИЕ: ВСЕМ ЯВИТЬСЯ"),
        ("koi8-r", "Доброе утро, я сегодня опоздаю минут на десять"),
        ("cp866", "Спасибо, всё получилось!"),
        ("mac-cyrillic", "Лестница снова в сарае, за велосипедами"),
        ("cp1251", "Привіт, Міє! Як справи?"),
        ("koi8-u", "Добрий ранок, я сьогодні запізнюся хвилин на десять"),
        ("cp1251", "Здравей, Мия! Как си?"),
        ("cp1250", "Cześć Mia, dziękuję za książkę!"),
        ("iso8859-2", "Spóźnię się dziś dziesięć minut. Pozdrawiam, Łukasz"),
        ("cp1250", "Ahoj Mio, děkuji za knížku!"),
        ("cp1250", "A létra megint a fészerben van, őszintén várom."),
        ("cp1250", "Zakasnit ću danas deset minuta, počnite bez mene. Željko"),
        ("cp1254", "Teşekkürler"),
        ("cp1254", "Merdiven yine kulübede, ama üçüncü basamağa dikkat et, gıcırdıyor."),
        ("cp1257", "Kopėčios vėl sandėliuke, už dviračių."),
        ("cp1252", "Grüße"),
        ("cp1252", "Die Leiter ist wieder im Schuppen, für heute schöne Grüße"),
        ("cp1252", "„Größe“ heißt das – nicht ‚Grösse‘"),
        ("cp1252", "café"),
        ("cp1252", "L'échelle est là, derrière les vélos. À jeudi, Noël"),
        ("cp1252", "mañana"),
        ("cp1252", "¿Qué tal? Llegaré diez minutos tarde, Íñigo"),
        ("cp1252", "Amanhã está ótimo, não há pressa"),
        ("cp1252", "smörgås på lördag"),
        ("cp1252", "Ég þurrkaði af honum, það brakar í henni."),
        ("cp1252", "“Well,” she said… and left—it’s fine"),
        ("cp1252", "£20 each"),
        ("cp1252", "20° and 5½ miles"),
        ("mac-roman", "Schöne Grüße aus Köln"),
        ("cp850", "Grüße aus Köln, schön dass du kommst"),
        ("cp932", "ありがとう"),
        ("cp932", "今日は十分ほど遅れます。先に始めてください。"),
        ("euc_jp", "こんにちは、お元気ですか。"),
        ("cp949", "안녕하세요 미아 씨"),
        ("gb18030", "我今天会晚到十分钟，你们先开始吧。"),
        ("big5hkscs", "我今天會晚到十分鐘，你們先開始吧。"),
    ],
)
def test_text_without_a_label_is_read_in_the_encoding_of_its_language(codec: str, text: str) -> None:
    assert decode_text(text.encode(codec)) == text
    assert decode_text((text + "\r\n").encode(codec) * 300) == (text + "\r\n") * 300


# --- mojibake


def wrong(text: str, codec: str = "latin-1") -> str:
    return text.encode().decode(codec)


@pytest.mark.parametrize(
    "text",
    [
        "Heute früh um sechs, der Boden noch gefroren 🚜",
        "Schön war’s – für alle",
        "Rendez-vous à midi",
        "à la carte",
        "Привет, как дела?",
        "你好，世界",
        "שלום",
        "ąę świętować",
        "12 °C",
    ],
)
@pytest.mark.parametrize("codec", ["latin-1", "sloppy-windows-1252"])
def test_utf_8_that_was_read_as_another_encoding_is_repaired(text: str, codec: str) -> None:
    assert normalise_text(wrong(text, codec)) == text
    assert normalise_text(wrong(wrong(text, codec), codec)) == text


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (wrong("Привет, как дела?", "cp1251"), "Привет, как дела?"),
        (f"{wrong('für dich')}\nfür mich", "für dich\nfür mich"),  # a file that two programs wrote
        ("don\x92t \x96 he said", "don’t – he said"),
        (wrong("Å is a letter of Å"), "Å is a letter of Å"),  # with U+0085, a line end elsewhere
    ],
)
def test_other_damage_of_exporters_is_repaired(damaged: str, text: str) -> None:
    assert normalise_text(damaged) == text


@pytest.mark.parametrize(
    "text",
    [
        "aus für wird fÃ¼r",
        "MANHÃ…",
        "„MENÜ“ und CAFÉ»",
        "“Quotes”, ligatures ﬁ, wide ＡＢＣ and :-) stay",
        "x² + ½ · 5 µm ± 3 §§",
        "Ελληνικά, עברית, ไทย, 日本語",
    ],
)
def test_clean_text_is_not_repaired(text: str) -> None:
    assert repair_mojibake(text) == text
    assert normalise_text(text) == text


@pytest.mark.parametrize(
    ("text", "num"),
    [
        ("Grüße", 0),
        ("日本語 Ελληνικά", 0),
        ("Gr\ufffd\ufffde", 1),
        ("При\ufffdет, Ми\ufffd", 2),
        ("こん\ufffdちは", 1),
        ("ü fÃ¼r schÃ¶n", 2),
        ("锟斤拷", 1),
    ],
)
def test_what_stays_damaged_is_counted(text: str, num: int) -> None:
    assert damaged_places(normalise_text(text)) == num


# --- everything in a mail goes this way


def mail(head: str | bytes, body: bytes = b"Hi") -> bytes:
    return b"From: a@b.org\n" + (head if isinstance(head, bytes) else head.encode()) + b"\n\n" + body


def word(raw: bytes, charset: str) -> str:
    return f"=?{charset}?b?{base64.b64encode(raw).decode()}?="


@pytest.mark.parametrize(
    ("head", "subject"),
    [
        (f"Subject: {word('①会場'.encode('cp932'), 'Shift_JIS')}", "①会場"),
        (f"Subject: {word('喆'.encode('gb18030'), 'GB2312')}", "喆"),
        ("Subject: " + word(b"\x1b$B-!\x1b(B", "ISO-2022-JP"), "①"),
        (f"Subject: {word('שלום'.encode('cp1255'), 'iso-8859-8-i')}", "שלום"),
        # Cut in the middle of a character.
        (f"Subject: {word('Grü'.encode()[:-1], 'utf-8')} {word('üße'.encode()[1:], 'utf-8')}", "Grüße"),
        (f"Subject: {word('你好'.encode()[:4], 'UTF-8')}\n {word('你好'.encode()[4:], 'utf-8')}", "你好"),
        ("Subject: =?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?iso-8859-1?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?utf-8?q?Gr=FC=DFe?=", "Grüße"),
        ("Subject: =?x-unknown?q?Gr=FC=DFe?=", "Grüße"),
        ("Subject: Grüße 🚜", "Grüße 🚜"),
        # Bare UTF-8 above a body in another charset.
        ("Content-Type: text/plain; charset=iso-2022-jp\nSubject: 件", "件"),
        ("Content-Type: text/plain; charset=windows-1251\nSubject: é", "é"),
        (b"Subject: Gr\xfc\xdfe aus K\xf6ln", "Grüße aus Köln"),
        (b"Content-Type: text/plain; charset=koi8-r\nSubject: " + "да".encode("koi8-r"), "да"),
        ("Subject: =?utf-8?q?Gr=C3=83=C2=BC=C3=83=C2=9Fe?=", "Grüße"),  # mojibake
    ],
)
def test_subjects_are_decoded_as_bodies_are(head: str | bytes, subject: str) -> None:
    (found,) = read_email("a.eml", mail(head)).texts
    assert found.mail is not None
    assert found.mail.subject == subject


@pytest.mark.parametrize(
    ("sender", "authors"),
    [
        (b"Ada Reed <ada@x.example>", ("Ada Reed", "ada@x.example")),
        (b'"Reed, Ada" <Ada@X.example>', ("Reed, Ada", "ada@x.example")),
        (b"ada@x.example", ("ada@x.example",)),
        (b"<ada@x.example>", ("ada@x.example",)),
        (b"ada@x.example (Ada Reed)", ("Ada Reed", "ada@x.example")),
        (word("佐藤①".encode("cp932"), "shift_jis").encode() + b" <s@x.example>", ("佐藤①", "s@x.example")),
        (b"J\xf6rg <j@x.example>", ("Jörg", "j@x.example")),
        ("Jörg <j@x.example>".encode(), ("Jörg", "j@x.example")),
        (b"Ada Reed", ("Ada Reed",)),
    ],
)
def test_the_sender_is_known_by_name_and_address(sender: bytes, authors: tuple[str, ...]) -> None:
    (found,) = read_email("a.eml", b"From: " + sender + b"\nSubject: x\n\nHi").texts
    assert found.authors == authors


def test_html_without_a_label_is_read_by_its_own() -> None:
    page = b'<html><head><meta charset="windows-1251"></head><body>\xcf\xf0\xe8\xe2\xe5\xf2</body></html>'
    (found,) = read_email("a.eml", mail("Content-Type: text/html", page)).texts
    assert found.text == "Привет"


# --- what must always hold


@settings(deadline=None)
@given(st.text())
def test_a_repaired_text_is_not_repaired_again(text: str) -> None:
    once = normalise_text(text)
    assert repair_mojibake(once) == once


@settings(deadline=None)
@given(
    st.binary(), st.sampled_from([None, "utf-8", "iso-2022-jp", "big5", "euc-jp", "utf-7", "utf-16", "hz", "utf-32"])
)
def test_any_bytes_with_any_label_are_decoded_or_refused(raw: bytes, label: str | None) -> None:
    try:
        assert isinstance(decode_text(raw, label), str)
    except UndecodableTextError:
        return


@pytest.mark.parametrize("piece", [b"\xc3", b"\xc3\xbc \xfc ", b"\x1b$B-!\x1b(B", 'fÃ¼r "Ã¼" '.encode(), b"\xe9\xe8 "])
def test_no_text_takes_long(piece: bytes) -> None:
    begin = time.process_time()
    normalise_text(decode_text(piece * (2**20 // len(piece))))
    assert time.process_time() - begin < 5
