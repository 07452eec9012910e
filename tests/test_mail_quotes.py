"""The body of an email: own words, quoted words, signatures, in the languages and programs of the made-up corpus."""

from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.html_text import html_mail_to_text
from ditto_cli.demonstrations.quotes import OwnPart, remove_quoted, unwrap_flowed
from ditto_cli.demonstrations.sources import READERS
from mail_corpus import LANGUAGES, Case, cases, marked


def split(case: Case) -> OwnPart:
    part = remove_quoted(html_mail_to_text(case.body) if case.is_html else case.body)
    return OwnPart(normalise_text(part.text), normalise_text(part.original))


def own(body: str) -> str:
    return normalise_text(remove_quoted(body).text)


@pytest.mark.parametrize(
    "below",
    [
        "> quoted\n> more",
        "On Mon, 3 Mar 2025 at 10:11, Tom Berg <t@x.org> wrote:\n> quoted",
        "On Mon, 3 Mar 2025 at 10:11, Tom Berg\n<t@x.org> wrote:\n\n> quoted",
        "On Monday, Tom wrote:\n>quoted",
        "On 3 Mar 2025, at 10:11, Tom <t@x.org> wrote:\n\nthe original without marks",
        "Am Mo., 3. M\u00e4rz 2025 um 10:11 Uhr schrieb Tom <t@x.org>:\n> quoted",
        "Am 3.3.2025 um 10:11\nschrieb Tom Berg:\n> quoted",
        "Le lun. 3 mars 2025 \u00e0 10:11, Tom <t@x.org> a \u00e9crit\u00a0:\n> quoted",
        "El lun, 3 mar 2025 a las 10:11, Tom (<t@x.org>)\nescribi\u00f3:\n> quoted",
        "-----Original Message-----\nFrom: Tom\nthe original",
        "-----Urspr\u00fcngliche Nachricht-----\nVon: Tom\nthe original",
        "---------- Forwarded message ---------\nFrom: Tom <t@x.org>\nthe original",
        "Begin forwarded message:\n\nFrom: Tom",
        "From: Tom Berg\nSent: Monday, March 3, 2025 10:11\nTo: Anna\nSubject: Plans\n\nthe original",
        "________________________________\nFrom: Tom\nSent: Monday\nTo: Anna\nSubject: x\n\nthe original",
        "Von: Tom Berg\nGesendet: Montag, 3. M\u00e4rz 2025\nAn: Anna\nBetreff: Plan\n\nthe original",
        "De : Tom Berg\nEnvoy\u00e9 : lundi 3 mars 2025\n\u00c0 : Anna\nObjet : Plan\n\nthe original",
        "*From:* Tom\n*Date:* Monday\n*To:* Anna\n\nthe original",
        "----- Forwarded message from Tom Berg <t@x.org> -----\n\nDate: Monday\nFrom: Tom\nTo: Anna\n\nthe original",
        "----- Forwarded Message ----- From: Tom <t@x.org>To: Anna <a@x.org>Subject: Plans\nthe original",
        "\u2010\u2010\u2010 Original Message \u2010\u2010\u2010\nOn Monday, Tom <t@x.org> wrote:\n\n> quoted",
        "Zitat von t@x.org:\n\n> quoted",
        "25. 3. 3. 10:15에 Tom Berg 이(가) 쓴 글:\n> quoted",
        "-- \nAnna Berg\nPhone 1234",
        "--\nAnna Berg",
    ],
)
def test_quotes_and_signatures_are_removed(below: str) -> None:
    assert normalise_text(remove_quoted(f"Hi Tom,\n\nfine.\n\n{below}\n").text) == "Hi Tom,\n\nfine."


@pytest.mark.parametrize(
    "head",
    [
        "From:\tAnna Berg\nSent:\tMonday, March 3, 2025 10:15 AM\nTo:\tTom\nSubject:\tPlans",  # Outlook
        "Von:\tAnna Berg\nGesendet:\tMontag, 3. März 2025 10:15\nAn:\tTom\nBetreff:\tPlan",
        "From: Anna Berg <a@x.org>\nSubject: Plans\nDate: 3 March 2025 at 10:15:00 CET\nTo: Tom <t@x.org>",  # Apple
        "Betreff: Plan\nVon: Anna Berg <a@x.org>\nDatum: 03.03.2025, 10:15\nAn: Tom <t@x.org>",  # Thunderbird
    ],
)
def test_a_mail_saved_as_text_is_what_its_sender_wrote(head: str) -> None:
    saved = f"{head}\n\nHi Tom,\n\nfine.\n\n> quoted\n"
    (text,) = READERS[".txt"]("a.txt", saved.encode()).texts
    assert text.text == "Hi Tom,\n\nfine."
    answer = f"{head}\n\nThanks!\n\nFrom: Bo <bo@x.org>\nSent: Sunday\nTo: Anna\nSubject: x\n\nWill you come?\n"
    assert READERS[".txt"]("a.txt", answer.encode()).texts[0].text == "Thanks!"
    memo = re.sub("\t| <.*>", " ", saved)  # as people write it themselves
    assert READERS[".txt"]("a.txt", memo.encode()).texts[0].text == normalise_text(memo)


# As Gmail, Apple Mail, Thunderbird and others write them; most of these languages have no word in the lists.
ATTRIBUTIONS = {
    "ar": "في الثلاثاء، 4 مارس 2025 في 9:05 م تمت كتابة ما يلي بواسطة "
    "\u202aTom Berg\u202c\u200f <\u202at@x.example\u202c\u200f>:\u202c",
    "ar, digits": "في ٤ مارس ٢٠٢٥، الساعة ٩:٠٥، كتب Tom Berg <t@x.example>:",
    "bg": "На вт, 4.03.2025 г. в 9:05 Tom Berg <t@x.example> написа:",
    "ca": "Missatge de Tom Berg <t@x.example> del dia dt., 4 de març 2025 a les 9:05:",
    "cs": "út 4. 3. 2025 v 9:05 odesílatel Tom Berg <t@x.example> napsal:",
    "el": "Στις Τρί 4 Μαρ 2025 στις 9:05 π.μ., ο χρήστης Tom Berg <t@x.example> έγραψε:",
    "et": "Tom Berg (t@x.example) kirjutas kuupäeval T, 4. märts 2025 kell 9:05:",
    "eu": "Tom Berg erabiltzaileak (<t@x.example>) hau idatzi du (2025(e)ko martxoaren 4(a) 9:05):",
    "fa": "در تاریخ سه‌شنبه ۴ مارس ۲۰۲۵ ساعت ۹:۰۵ Tom Berg <t@x.example> نوشت:",
    "fi": "ti 4. maalisk. 2025 klo 9.05 Tom Berg (t@x.example) kirjoitti:",
    "he": "\u202bבתאריך יום ג׳, 4 במרץ 2025 ב-9:05 מאת "
    "\u202aTom Berg\u202c\u200f <\u202at@x.example\u202c\u200f>:\u202c",
    "hi": "मंगल, 4 मार्च 2025 को 9:05 am बजे को Tom Berg <t@x.example> ने लिखा:",
    "hr": "uto, 4. ožu 2025. u 9:05 Tom Berg <t@x.example> napisao je:",
    "hu": "Tom Berg <t@x.example> ezt írta (időpont: 2025. márc. 4., K, 9:05):",
    "hy": "Երք, 4 մրտ, 2025 թ., 9:05 Tom Berg <t@x.example> գրել է․\u0589",
    "id": "Pada tanggal Sel, 4 Mar 2025 pukul 09.05 Tom Berg <t@x.example> menulis:",
    "is": "þri., 4. mar. 2025 kl. 09:05 skrifaði Tom Berg <t@x.example>:",
    "ko": "2025년 3월 4일 (화) 오전 9:05, Tom Berg <t@x.example>님이 작성:",
    "lt": "2025-03-04, an, 09:05 Tom Berg <t@x.example> rašė:",
    "lv": "otrd., 2025. g. 4. marts, plkst. 09:05 — lietotājs Tom Berg (<t@x.example>) rakstīja:",
    "ms": "Pada Sel, 4 Mac 2025 pada 9:05 PG Tom Berg <t@x.example> menulis:",
    "ro": "În mar., 4 mar. 2025 la 09:05, Tom Berg <t@x.example> a scris:",
    "sk": "ut 4. 3. 2025 o 9:05 Tom Berg <t@x.example> napísal(a):",
    "sl": "V V tor., 4. mar. 2025 ob 09:05 je oseba Tom Berg <t@x.example> napisala:",
    "sr": "уто, 4. мар 2025. у 09:05 Tom Berg <t@x.example> је написао/ла:",
    "sw": "Mnamo Jumanne, 4 Machi 2025, 9:05 Tom Berg <t@x.example> aliandika:",
    "th": "ในวันที่ อ. 4 มี.ค. 2568 เวลา 09:05 Tom Berg <t@x.example> เขียนว่า:",
    "tr": "Tom Berg <t@x.example>, 4 Mar 2025 Sal, 09:05 tarihinde şunu yazdı:",
    "uk": "вт, 4 бер. 2025 р. о 09:05 Tom Berg <t@x.example> пише:",
    "vi": "Vào Th 3, 4 thg 3, 2025 vào lúc 09:05 Tom Berg <t@x.example> đã viết:",
    "zh-TW": "Tom Berg <t@x.example> 於 2025年3月4日 週二 上午9:05寫道：",
}


@pytest.mark.parametrize("language", ATTRIBUTIONS)
@pytest.mark.parametrize("form", ["quoted", "right above", "not marked", "wrapped", "in HTML"])
def test_attributions_in_any_language(language: str, form: str) -> None:
    line = ATTRIBUTIONS[language]
    middle = line.rfind(" ", 0, max(len(line) * 2 // 3, line.find("<") - 1, line.find("(t@")))
    wrapped = f"{line[:middle]}\n{line[middle + 1 :]}"
    below = {
        "quoted": f"{line}\n\n> Can you?\n> Tom",
        "right above": f"{line}\n> Can you?\n> Tom",
        "not marked": f"{line}\n\nCan you?\nTom",
        "wrapped": f"{wrapped}\n> Can you?\n> Tom",
        "in HTML": f"<p>{html.escape(line)}</p><blockquote class=of-no-client>Can you?<br>Tom</blockquote>",
    }[form]
    if form == "in HTML":
        part = remove_quoted(html_mail_to_text(f"<p>Hi Tom,</p><p>on Friday.</p>{below}"))
    else:
        part = remove_quoted(f"Hi Tom,\n\non Friday.\n\n{below}\n")
    assert normalise_text(part.text) == "Hi Tom,\n\non Friday."
    assert normalise_text(part.original) == "Can you?\nTom"


@pytest.mark.parametrize(
    "above",
    [
        "Tom Berg <t@x.example>:",  # no date, and a quote below
        "Tom Berg <t@x.example> 4.3.2025 9:05",  # no colon
        "4.3.2025 9:05 Tom Berg kirjutas:",  # no address
        "Tom Berg <\nt@x.example> kirjutas kell 9:05:",
        "T, 4. märts 2025 kell 9:05 kirjutas\nTom Johannes van der Berg\n<t@x.example>:",
    ],
)
def test_attributions_above_a_quote_need_less(above: str) -> None:
    assert own(f"Yes.\n\n{above}\n> Can you?\n") == "Yes."
    assert own(f"See you at 9:05.\n{above}\n> Can you?\n") == "See you at 9:05."


@pytest.mark.parametrize(
    "headers",
    [
        "Šalje: Tom Berg <t@x.example>\nPoslano: utorak, 4. ožujka 2025. 9:05\nPrima: Anna\nPredmet: šator",
        "Sendandi: Tom Berg <t@x.example>\nSent: þriðjudagur, 4. mars 2025 09:05\nTil: Anna\nEfni: tjald",
        "Kutoka: Tom Berg <t@x.example>\nTarehe: 4 Machi 2025 9:05\nKwa: Anna <a@x.example>\nMada: hema",
        "מאת: Tom Berg <t@x.example>\nנשלח: 4.3.2025 9:05\nאל: Anna\nנושא: אוהל",
    ],
)
def test_copied_headers_in_any_language(headers: str) -> None:
    part = remove_quoted(f"Hi Tom,\n\nyes.\n\n{headers}\n\nCan you?\n")
    assert (normalise_text(part.text), part.original) == ("Hi Tom,\n\nyes.", "Can you?")


def test_delsp_joins_without_the_space() -> None:
    assert unwrap_flowed("\u4f60 \n\u597d\n", delete_space=True) == "\u4f60\u597d\n"


def test_the_corpus_is_large_enough() -> None:
    made = cases()
    assert len(made) >= 80
    assert len({case.language for case in made}) >= 14
    assert len({case.program.split(",")[0] for case in made}) >= 8


def test_at_least_95_percent_of_the_corpus_comes_out_exactly() -> None:
    made = cases()
    wrong = [f"{case.program} ({case.language})" for case in made if split(case).text != normalise_text(case.own)]
    assert len(wrong) <= 0.05 * len(made), wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_original_is_given_back_without_headers_and_marks(language: str) -> None:
    words = LANGUAGES[language]
    for case in cases():
        if case.language == language and case.program in ("Gmail", "Apple Mail", "Outlook", "Thunderbird, forward"):
            assert split(case).original == words.original


def test_the_original_of_html_comes_from_its_element() -> None:
    originals = {case.program: split(case).original for case in cases() if case.is_html}
    for program in ("Gmail", "Thunderbird", "Proton"):
        assert originals[f"{program}, HTML"] == "Can you make it?\n\nTom"
    assert originals["Outlook, HTML"].endswith("Can you make it?\n\nTom")


def test_a_quote_in_an_element_of_quotes_ends_where_it_ends() -> None:
    quotes = '<div>Bo wrote:</div><div style="border-left:1px solid">come over</div><blockquote>now</blockquote>'
    html = f'<p>Yes.</p><div class="yahoo_quoted">{quotes}</div><p>And bring tea.</p>'
    assert " ".join(html_mail_to_text(html).split()) == "Yes. > come over > now And bring tea."


def test_the_quotes_of_an_original_are_no_part_of_it() -> None:
    quoted = "Now?\n\nOn Sun, 2 Mar 2025, Anna wrote:\n> Later.\n\n-- \nTom"
    body = f"Yes.\n\nOn Mon, 3 Mar 2025, Tom wrote:\n{marked(quoted)}\n"
    assert remove_quoted(body).original == "Now?"
    assert own(body) == "Yes."


@pytest.mark.parametrize(
    "body",
    [
        # Sentences that end with a colon, which are no attributions.
        "On 4 March 2025 at 9:05 please write to Bo Roth <bo@x.example> and bring:\n\n- the tent\n- the pot",
        "Those who come on 4.3.2025 at 9:05 are Bo <bo@x.example> and Mia <mia@x.example>:\n\nBo brings the tent.",
        "What we need by 4.3.2025, 9:05:\n\n1. a tent\n2. a pot",
        "At 9:05 the plan was:\n\nfirst the tent, then the pot.",
        "My address since 2025:\n\nMain Street 5",
        "Write to bo@x.example:\n\nhe knows.",
        "Note: the tent is here\nPot: there\nDate: 4.3.2025",
        # Lines that are no quotes.
        "On the wall somebody wrote:\n\nlove is all",
        "On Monday I saw him.\nHe said what Tom wrote: nothing.",
        "Le chat dort.\nAm Abend schrieb ich.\nEl perro.",
        "From: here to there it is far.\nThat is all.",
        "I like -- really -- dashes\n---\nand rules",
        "a > b\n  > indented",
        # Ends of a mail, and lines like those of a signature.
        "Best,\nAnna",
        "See you.\n\nxx m",
        "Liebe Gr\u00fc\u00dfe\nAnna Roth",
        "My new number:\n0170 1234567\n\nAnna",
        "The address is:\n\nMain Street 5\n10115 Berlin",
        "Please bring:\n\n- a tent\n- water\n- your phone, or call +49 170 1234567",
        "Look at this\nhttps://x.example/article",
        "I will be there at 10.\n\nWhere are you?",
        "This mail is confidential, so please tell nobody.",
        "Sent from my desk in Rome, as ever.\n\nAnna",
        "Prices rose by 3 %.\nAcme Ltd was the first.",
        "Mix:\n200 g flour\n100 g butter\n2 eggs",
        "____\nfour lines",
        "She told me what you wrote:\n\nnothing at all.",
        "To: the left\nFrom: there on\nthe wall",
        "Am 3. Mai schrieb ich dir.\n\nSeitdem nichts.",
        # What stands around the sign-off.
        "Hi Bo,\n\nGesendet habe ich dir das Handy gestern per Post.\n\nIch komme Freitag.\n\nBis dann,\n\nAnna",
        "Hi Bo,\n\nPlease keep this message confidential and delete it once you have read it, Mum knows nothing of "
        "this yet and the recipient of the surprise is her, so no email to anybody.\n\nLove,\nAnna",
        "Hi Bo,\n\nthe trains:\n\nFrom: Berlin Hbf\nTo: Praha hl.n.\nDate: Friday, 7 March, 8:12\n\nBest,\nAnna",
        "Hi Bo,\n\nsee you.\n\nBest,\nAnna\n\nPS: bring the iPad",
        "Hi Bo,\n\nsee you.\n\nBest,\nAnna\n\nOh, and bring the iPad!",
        "Hej Bo,\n\nHämta min mobil hos Tom om du går förbi.\n\nAnna",
        "Ciao Bo,\n\nScarica la foto sul telefono e dimmi che ne pensi.\n\nAnna",
        "Hi Bo,\n\none thing\n--\nanother thing\n\nBest,\nAnna",
    ],
)
def test_what_the_person_wrote_stays(body: str) -> None:
    assert remove_quoted(body) == OwnPart(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("On Monday, Tom wrote:\n> first?\n\nYes.\n\n> second?\n\nNo.\n", "Yes.\n\nNo."),
        ("See you.\n\nAnna Roth\nAcme Ltd\nTel: +49 30 1234567", "See you.\n\nAnna Roth"),
        ("See you.\n\nAnna\n0170 1234567", "See you.\n\nAnna"),
        ("See you.\n\nBest,\nAnna\n\nSent from my Galaxy", "See you.\n\nBest,\nAnna"),
        ("Yes.\n-- \nAnna Roth\n\nOn Mon, 3 Mar 2025, Tom wrote:\n> Now?", "Yes."),
        ("Yes.\n\nVirus-free. www.scanner.example", "Yes."),
        ("Yes.\n\nEste mensaje fue revisado por Avast en busca de virus.", "Yes."),
        ("Yes.\n\nBest,\nAnna\n\nOutlook für Android herunterladen", "Yes.\n\nBest,\nAnna"),
        ("Taip.\n\nAnna\n\nIšsiųsta iš mano iPhone", "Taip.\n\nAnna"),
        ("Да.\n\nАнна\n\nПростите за краткость, создано в K-9 Mail.", "Да.\n\nАнна"),
        (
            "Yes.\n\nAnna Roth\nAcme GmbH | Sitz der Gesellschaft: Köln | HRB 12345\nwww.acme.example",
            "Yes.\n\nAnna Roth",
        ),
        ("Yes.\n\n>>> Tom Bo <t@x.org> 03.03.2025 10:11 >>>\nNow?", "Yes."),
        ("Yes.\n\n##- Please type your reply above this line -##\nTicket 5", "Yes."),
        ("Yes.\n\n---- 回复的原邮件 ----\n| 发件人 | Tom |\n| 主题 | Now? |\n\nNow?", "Yes."),
        ("Yes.\n\nOn Mon, 3 Mar 2025 at 10:11, Tom < t@x.org > wrote:\nNow?", "Yes."),
    ],
)
def test_what_others_wrote_and_programs_add_goes(body: str, expected: str) -> None:
    assert own(body) == expected


LINES = {
    "attributions without end": "On Mon wrote " * 80_000,
    "attribution starts": "On 3 Mar 2025 at 10:11\n" * 45_000,
    "attributions": "On Mon, 3 Mar 2025, Tom wrote:\n\n> a\n" * 25_000,
    "verbs and blank lines": "Tom wrote:\n" + "\n" * 1_000_000,
    "blank lines between": "Tom wrote:\n\n\n\n\n\n\n\n" * 60_000,
    "fields": "From: a\n" * 130_000,
    "colons": ":" * 1_000_000,
    "dashes": "-" * 1_000_000,
    "dash lines": ("-" * 100 + " a\n") * 10_000,
    "rules": "-----Original Message-----\n" * 37_000,
    "rules and blank lines": ("-----Original Message-----" + "\n" * 200) * 4_500,
    "quotes": ">" * 1_000_000,
    "phones": "+1 " * 330_000,
    "phone lines": "tel. " * 16 + "\n" + ("+1 () 12 - " * 8 + "\n") * 11_000,
    "addresses": "a@" * 500_000,
    "address lines": ("a." * 30 + "@" + "b." * 14 + "\n") * 11_000,
    "spaces": " " * 1_000_000,
    "one paragraph": "mail confidential " * 55_000,
    "paragraphs": "Mail, confidential, recipient\n\n" * 33_000,
    "names": "Anna Roth\n" * 100_000,
    "marks above a closing": "--\n" * 300_000 + "Best,\nAnna",
    "closings": "Best,\n" * 150_000,
    "soft breaks": "a \n" * 330_000,
}


@pytest.mark.parametrize("name", LINES)
def test_no_megabyte_takes_long(name: str) -> None:
    begin = time.process_time()
    remove_quoted(LINES[name])
    unwrap_flowed(LINES[name], delete_space=False)
    assert time.process_time() - begin < 5  # below 2 s on an idle machine


SNIPPETS = st.sampled_from(
    [
        *("On ", "wrote:", "> ", "\n", "\n\n", "From: a", "Sent: b", "To: c", "-- \n", "3 Mar 2025 10:11", "<a@b.org>"),
        *("Best,\n", "Anna", "-----Original Message-----", "Tel: +49 30 1234567", "\u5199\u9053:", "_" * 32),
        "Sent from my iPhone",
        "Sent with Shortwave",
        "Отправлено из мобильной Почты Mail",
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(SNIPPETS | st.text(max_size=20)).map("".join))
def test_own_and_quoted_part_are_made_of_the_lines_of_the_body(body: str) -> None:
    part = remove_quoted(body)
    assert set(part.text.split("\n")) <= set(body.split("\n")) | {""}
    assert len(part.text) + len(part.original) <= len(body) + 1


HEAD = '<div class="gmail_attr">---------- Forwarded message ---------<br>From: <b>Bo</b><br></div>'
OLDER = '<div class="gmail_attr">On Mon, Ada wrote:<br></div><blockquote class="gmail_quote">Older.</blockquote>'


@pytest.mark.parametrize(
    "forwarded",
    [
        f"{HEAD}<div>A reply by Bo.</div>{OLDER}",  # what the thread quotes
        '<div class="gmail_attr">Weitergeleitet<br>From: Bo</div>Of Bo.<!--[if mso]><blockquote><![endif]-->',
    ],
)
def test_nothing_of_a_forwarded_mail_is_the_senders(forwarded: str) -> None:
    lines = html_mail_to_text(f'<div>See below.<div class="gmail_quote">{forwarded}</div></div>').split("\n")
    assert [line for line in lines if line and not line.startswith(">")] == ["See below."]
