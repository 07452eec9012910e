"""Made-up mail: bodies as programs in many languages build them, with the expected own text, and whole archives.

Nobody's mail: every word was written for the tests.
"""

# ruff: noqa: E501  lines as programs write them

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A decoded body and the text of it that its sender wrote."""

    program: str
    language: str
    body: str
    own: str
    is_html: bool = False


@dataclass(frozen=True)
class Language:
    own: str
    second: str  # a second own paragraph, below a quote
    sign_off: str
    original: str
    gmail: str
    apple: str
    thunderbird: str
    outlook: str  # header block
    sent_from: str
    forward: str  # rule above a forwarded message


LANGUAGES = {
    "en": Language(
        own="Hi Tom,\n\nFriday works for me. I will bring the tent & the big pot.",
        second="No, the small one is broken.",
        sign_off="Best,\nAnna",
        original="Can you make it on Friday?\n\nTom",
        gmail="On Mon, 3 Mar 2025 at 10:11, Tom Berg <tom@x.org> wrote:",
        apple="On 3 Mar 2025, at 10:11, Tom Berg <tom@x.org> wrote:",
        thunderbird="On 3/3/25 10:11, Tom Berg wrote:",
        outlook="From: Tom Berg <tom@x.org>\nSent: Monday, March 3, 2025 10:11 AM\nTo: Anna Roth\nSubject: Friday",
        sent_from="Sent from my iPhone",
        forward="---------- Forwarded message ---------",
    ),
    "de": Language(
        own="Hallo Tom,\n\nFreitag passt mir gut. Ich bringe das Zelt mit.",
        second="Nein, der kleine ist kaputt.",
        sign_off="Liebe Grüße\nAnna",
        original="Kannst du am Freitag?\n\nTom",
        gmail="Am Mo., 3. März 2025 um 10:11 Uhr schrieb Tom Berg <tom@x.org>:",
        apple="Am 03.03.2025 um 10:11 schrieb Tom Berg <tom@x.org>:",
        thunderbird="Am 03.03.25 um 10:11 schrieb Tom Berg:",
        outlook="Von: Tom Berg <tom@x.org>\nGesendet: Montag, 3. März 2025 10:11\nAn: Anna Roth\nBetreff: Freitag",
        sent_from="Von meinem iPhone gesendet",
        forward="-------- Weitergeleitete Nachricht --------",
    ),
    "fr": Language(
        own="Salut Tom,\n\nvendredi me convient. J'apporte la tente.",
        second="Non, la petite est cassée.",
        sign_off="Bises\nAnna",
        original="Tu peux vendredi ?\n\nTom",
        gmail="Le lun. 3 mars 2025 à 10:11, Tom Berg <tom@x.org> a écrit :",
        apple="Le 3 mars 2025 à 10:11, Tom Berg <tom@x.org> a écrit :",
        thunderbird="Le 03/03/2025 à 10:11, Tom Berg a écrit\xa0:",
        outlook="De : Tom Berg <tom@x.org>\nEnvoyé : lundi 3 mars 2025 10:11\nÀ : Anna Roth\nObjet : vendredi",
        sent_from="Envoyé de mon iPhone",
        forward="-------- Message transféré --------",
    ),
    "es": Language(
        own="Hola Tom:\n\nel viernes me va bien. Llevo la tienda.",
        second="No, la pequeña está rota.",
        sign_off="Un abrazo,\nAnna",
        original="¿Puedes el viernes?\n\nTom",
        gmail="El lun, 3 mar 2025 a las 10:11, Tom Berg (<tom@x.org>) escribió:",
        apple="El 3 mar 2025, a las 10:11, Tom Berg <tom@x.org> escribió:",
        thunderbird="El 3/3/25 a las 10:11, Tom Berg escribió:",
        outlook="De: Tom Berg <tom@x.org>\nEnviado el: lunes, 3 de marzo de 2025 10:11\nPara: Anna Roth\nAsunto: viernes",
        sent_from="Enviado desde mi iPhone",
        forward="-------- Mensaje reenviado --------",
    ),
    "it": Language(
        own="Ciao Tom,\n\nvenerdì va bene. Porto io la tenda.",
        second="No, quella piccola è rotta.",
        sign_off="Un abbraccio\nAnna",
        original="Puoi venerdì?\n\nTom",
        gmail="Il giorno lun 3 mar 2025 alle ore 10:11 Tom Berg <tom@x.org> ha scritto:",
        apple="Il giorno 3 mar 2025, alle ore 10:11, Tom Berg <tom@x.org> ha scritto:",
        thunderbird="Il 03/03/25 10:11, Tom Berg ha scritto:",
        outlook="Da: Tom Berg <tom@x.org>\nInviato: lunedì 3 marzo 2025 10:11\nA: Anna Roth\nOggetto: venerdì",
        sent_from="Inviato da iPhone",
        forward="-------- Messaggio Inoltrato --------",
    ),
    "pt": Language(
        own="Olá Tom,\n\nsexta está ótimo. Eu levo a barraca.",
        second="Não, a pequena quebrou.",
        sign_off="Abraços,\nAnna",
        original="Você pode na sexta?\n\nTom",
        gmail="Em seg., 3 de mar. de 2025 às 10:11, Tom Berg <tom@x.org> escreveu:",
        apple="Em 3 de mar. de 2025, à(s) 10:11, Tom Berg <tom@x.org> escreveu:",
        thunderbird="Em 03/03/2025 10:11, Tom Berg escreveu:",
        outlook="De: Tom Berg <tom@x.org>\nEnviada em: segunda-feira, 3 de março de 2025 10:11\nPara: Anna\nAssunto: sexta",
        sent_from="Enviado do meu iPhone",
        forward="-------- Mensagem encaminhada --------",
    ),
    "nl": Language(
        own="Hoi Tom,\n\nvrijdag komt goed uit. Ik neem de tent mee.",
        second="Nee, de kleine is kapot.",
        sign_off="Groetjes,\nAnna",
        original="Kun je vrijdag?\n\nTom",
        gmail="Op ma 3 mrt 2025 om 10:11 schreef Tom Berg <tom@x.org>:",
        apple="Op 3 mrt 2025, om 10:11 heeft Tom Berg <tom@x.org> het volgende geschreven:",
        thunderbird="Op 03-03-2025 om 10:11 schreef Tom Berg:",
        outlook="Van: Tom Berg <tom@x.org>\nVerzonden: maandag 3 maart 2025 10:11\nAan: Anna Roth\nOnderwerp: vrijdag",
        sent_from="Verstuurd vanaf mijn iPhone",
        forward="-------- Doorgestuurd bericht --------",
    ),
    "sv": Language(
        own="Hej Tom,\n\nfredag passar bra. Jag tar med tältet.",
        second="Nej, den lilla är trasig.",
        sign_off="Kram,\nAnna",
        original="Kan du på fredag?\n\nTom",
        gmail="Den mån 3 mars 2025 kl 10:11 skrev Tom Berg <tom@x.org>:",
        apple="3 mars 2025 kl. 10:11 skrev Tom Berg <tom@x.org>:",
        thunderbird="Den 2025-03-03 kl. 10:11, skrev Tom Berg:",
        outlook="Från: Tom Berg <tom@x.org>\nSkickat: den 3 mars 2025 10:11\nTill: Anna Roth\nÄmne: fredag",
        sent_from="Skickat från min iPhone",
        forward="-------- Vidarebefordrat meddelande --------",
    ),
    "da": Language(
        own="Hej Tom,\n\nfredag passer fint. Jeg tager teltet med.",
        second="Nej, den lille er gået i stykker.",
        sign_off="Knus\nAnna",
        original="Kan du på fredag?\n\nTom",
        gmail="Den man. 3. mar. 2025 kl. 10.11 skrev Tom Berg <tom@x.org>:",
        apple="Den 3. mar. 2025 kl. 10.11 skrev Tom Berg <tom@x.org>:",
        thunderbird="Den 03-03-2025 kl. 10:11 skrev Tom Berg:",
        outlook="Fra: Tom Berg <tom@x.org>\nSendt: 3. marts 2025 10:11\nTil: Anna Roth\nEmne: fredag",
        sent_from="Sendt fra min iPhone",
        forward="-------- Videresendt meddelelse --------",
    ),
    "no": Language(
        own="Hei Tom,\n\nfredag passer bra. Jeg tar med teltet.",
        second="Nei, den lille er ødelagt.",
        sign_off="Klem\nAnna",
        original="Kan du på fredag?\n\nTom",
        gmail="man. 3. mars 2025 kl. 10:11 skrev Tom Berg <tom@x.org>:",
        apple="3. mars 2025 kl. 10:11 skrev Tom Berg <tom@x.org>:",
        thunderbird="På 03.03.2025 10:11, skrev Tom Berg:",
        outlook="Fra: Tom Berg <tom@x.org>\nSendt: mandag 3. mars 2025 10:11\nTil: Anna Roth\nEmne: fredag",
        sent_from="Sendt fra min iPhone",
        forward="-------- Videresendt melding --------",
    ),
    "pl": Language(
        own="Cześć Tom,\n\npiątek mi pasuje. Wezmę namiot.",
        second="Nie, mały jest zepsuty.",
        sign_off="Pozdrawiam\nAnna",
        original="Możesz w piątek?\n\nTom",
        gmail="pon., 3 mar 2025 o 10:11 Tom Berg <tom@x.org> napisał(a):",
        apple="Wiadomość napisana przez Tom Berg <tom@x.org> w dniu 3 mar 2025, o godz. 10:11:",
        thunderbird="W dniu 3.03.2025 o 10:11, Tom Berg pisze:",
        outlook="Od: Tom Berg <tom@x.org>\nWysłano: poniedziałek, 3 marca 2025 10:11\nDo: Anna Roth\nTemat: piątek",
        sent_from="Wysłane z iPhone'a",
        forward="-------- Treść przekazanej wiadomości --------",
    ),
    "cs": Language(
        own="Ahoj Tome,\n\npátek se mi hodí. Vezmu stan.",
        second="Ne, ten malý je rozbitý.",
        sign_off="S pozdravem\nAnna",
        original="Můžeš v pátek?\n\nTom",
        gmail="po 3. 3. 2025 v 10:11 odesílatel Tom Berg <tom@x.org> napsal:",
        apple="3. 3. 2025 v 10:11, Tom Berg <tom@x.org>:",
        thunderbird="Dne 03. 03. 25 v 10:11 Tom Berg napsal(a):",
        outlook="Od: Tom Berg <tom@x.org>\nOdesláno: pondělí 3. března 2025 10:11\nKomu: Anna Roth\nPředmět: pátek",
        sent_from="Odesláno z iPhonu",
        forward="-------- Přeposlaná zpráva --------",
    ),
    "ru": Language(
        own="Привет, Том!\n\nПятница подходит. Палатку возьму я.",
        second="Нет, маленькая сломалась.",
        sign_off="Обнимаю,\nАнна",
        original="Ты можешь в пятницу?\n\nТом",
        gmail="пн, 3 мар. 2025 г. в 10:11, Tom Berg <tom@x.org>:",
        apple="3 марта 2025 г., в 10:11, Tom Berg <tom@x.org> написал(а):",
        thunderbird="03.03.2025 10:11, Tom Berg пишет:",
        outlook="От: Tom Berg <tom@x.org>\nОтправлено: 3 марта 2025 г. 10:11\nКому: Anna Roth\nТема: пятница",
        sent_from="Отправлено с iPhone",
        forward="-------- Пересылаемое сообщение --------",
    ),
    "ja": Language(
        own="トムさん\n\n金曜日で大丈夫です。テントを持っていきます。",
        second="いいえ、小さいのは壊れています。",
        sign_off="よろしくお願いします。\nアンナ",
        original="金曜日は来られますか。\n\nトム",
        gmail="2025年3月3日(月) 10:11 Tom Berg <tom@x.org>:",
        apple="2025/03/03 10:11、Tom Berg <tom@x.org>のメール:",
        thunderbird="On 2025/03/03 10:11, Tom Berg wrote:",
        outlook="差出人: Tom Berg <tom@x.org>\n送信日時: 2025年3月3日 10:11\n宛先: Anna Roth\n件名: 金曜日",
        sent_from="iPhoneから送信",
        forward="---------- 転送メッセージ ----------",
    ),
    "zh": Language(
        own="汤姆你好,\n\n星期五可以。我带帐篷。",
        second="不行,小的坏了。",
        sign_off="祝好\n安娜",
        original="星期五你能来吗?\n\n汤姆",
        gmail="Tom Berg <tom@x.org> 于2025年3月3日周一 10:11写道:",
        apple="在 2025年3月3日,上午10:11,Tom Berg <tom@x.org> 写道:",
        thunderbird="在 2025/3/3 10:11, Tom Berg 写道:",
        outlook="发件人: Tom Berg <tom@x.org>\n发送时间: 2025年3月3日 10:11\n收件人: Anna Roth\n主题: 星期五",
        sent_from="发自我的 iPhone",
        forward="---------- 转发的邮件 ----------",
    ),
}

# What stands below a sign-off and goes, and the sign-off above it, which stays.
CONTACT_BLOCKS = (
    ("en", "Best,\nAnna", "\n\nAnna Roth\nHead of Camping\nTents Ltd\nPhone: +44 20 7946 0958\nwww.tents.example"),
    ("en", "Cheers,\nAnna Roth", "\nHead of Camping | Tents Ltd\nM +1 (555) 010-2030\nanna@tents.example"),
    ("en", "xx m", "\n\n-- \nMaria Roth\n555 0102"),
    (
        "de",
        "Viele Grüße\nAnna",
        "\n\nAnna Roth\nZelte GmbH\nHauptstr. 5\n10115 Berlin\nTel.: 030 / 123 456 78\nHRB 12345",
    ),
    ("de", "lg anna", "\n\n--\nAnna Roth\nMobil 0170 1234567"),
    ("fr", "Cordialement,\nAnna", "\n\nAnna Roth\nTentes SARL\nTél. : 01 23 45 67 89\nanna@tentes.example"),
    ("es", "Un saludo,\nAnna", "\n\nAnna Roth\nTel. +34 600 123 456\nwww.tiendas.example"),
    ("nl", "Groeten,\nAnna", "\n\nAnna Roth\nTenten B.V.\nTel: 020-1234567\ninfo@tenten.example"),
)
DISCLAIMERS = (
    (
        "en",
        "This e-mail and any attachments are confidential and intended only for the addressee. If you are not the intended "
        "recipient, please delete it and notify the sender.",
    ),
    (
        "de",
        "Diese E-Mail enthält vertrauliche Informationen. Wenn Sie nicht der richtige Adressat sind oder diese E-Mail "
        "irrtümlich erhalten haben, informieren Sie bitte den Absender und vernichten Sie diese Mail.",
    ),
    (
        "fr",
        "Ce message et ses pièces jointes sont confidentiels et destinés exclusivement à leurs destinataires. Si vous le "
        "recevez par erreur, merci de le détruire et d'en avertir l'expéditeur.",
    ),
    (
        "es",
        "Este mensaje y sus archivos adjuntos son confidenciales y se dirigen exclusivamente a su destinatario. Si lo ha "
        "recibido por error, le rogamos que lo elimine.",
    ),
    ("en", "Please consider the environment before printing this e-mail."),
)
PHONE_LINES = (
    *("Get Outlook for iOS<https://aka.ms/o0ukef>", "Sent from Yahoo Mail on Android", "Sent from Outlook for Android"),
    *("Sent with Proton Mail secure email.", "Gesendet mit der GMX iPhone App", "Sent from Mail for Windows 10"),
)


def cases() -> list[Case]:
    """All bodies of the corpus."""
    made: list[Case] = []
    for code, words in LANGUAGES.items():
        made += _of_language(code, words)
    english = LANGUAGES["en"]
    for code, sign_off, block in CONTACT_BLOCKS:
        own = f"{LANGUAGES[code].own}\n\n{sign_off}"
        made.append(Case("contact block", code, own + block + "\n", own))
    for code, disclaimer in DISCLAIMERS:
        own = f"{LANGUAGES[code].own}\n\n{LANGUAGES[code].sign_off}"
        made.append(Case("disclaimer", code, f"{own}\n\n{disclaimer}\n", own))
    own = f"{english.own}\n\n{english.sign_off}"
    for line in PHONE_LINES:
        made.append(Case("phone", "en", f"{own}\n\n{line}\n\n{english.gmail}\n\n{marked(english.original)}\n", own))
    made += _of_other_programs(own, english)
    made += _in_html()
    return made


def marked(text: str) -> str:
    """The text with quote marks, as programs write them."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _of_language(code: str, words: Language) -> list[Case]:
    own = f"{words.own}\n\n{words.sign_off}"
    quoted = marked(words.original)
    apple = words.apple if code != "pl" else words.gmail  # Apple's Polish line has its verb in the middle
    below = f"{words.gmail}\n{quoted}\n\n{words.own}\n\n{words.second}\n"
    between = f"{words.thunderbird}\n{quoted}\n\n{words.own}\n\n> 2?\n\n{words.second}\n"
    return [
        Case("Gmail", code, f"{own}\n\n{words.gmail}\n\n{quoted}\n", own),
        Case("Apple Mail", code, f"{own}\n\n{words.sent_from}\n\n{apple}\n>\n{quoted}\n", own),
        Case("Thunderbird", code, between, f"{words.own}\n\n{words.second}"),
        Case("Gmail, below", code, below, f"{words.own}\n\n{words.second}"),
        Case("Outlook", code, f"{own}\n\n{'_' * 32}\n{words.outlook}\n\n{words.original}\n", own),
        Case("Thunderbird, forward", code, f"{own}\n\n{words.forward}\n{words.outlook}\n\n{words.original}\n", own),
    ]


def _of_other_programs(own: str, words: Language) -> list[Case]:
    original = words.original
    yahoo = "On Monday, March 3, 2025 at 10:11:00 AM GMT+1, Tom Berg <tom@x.org> wrote:"
    proton = "On Monday, March 3rd, 2025 at 10:11 AM, Tom Berg <tom@x.org> wrote:"
    gmx = "Gesendet: Montag, 03. März 2025 um 10:11 Uhr\nVon: Tom Berg <tom@x.org>\nAn: anna@x.org\nBetreff: Freitag"
    return [
        Case("Yahoo", "en", f"{own}\n\n    {yahoo}\n\n{original}\n", own),
        Case("Proton", "en", f"{own}\n\n{proton}\n\n{marked(original)}\n", own),
        Case("Proton, old", "en", f"{own}\n\n------- Original Message -------\n{proton}\n\n{marked(original)}\n", own),
        Case("GMX", "de", f"{own}\n\n{gmx}\n\n{original}\n", own),
        Case(
            "Zoho",
            "en",
            f"{own}\n\n---- On Mon, 03 Mar 2025 10:11:00 +0100 Tom <tom@x.org> wrote ----\n\n{original}",
            own,
        ),
        Case("mutt", "en", f"{own}\n\nTom Berg <tom@x.org> wrote on 3/3/25 10:11 AM:\n{marked(original)}\n", own),
        Case("Gnus", "en", f"Tom Berg writes:\n\n{marked(original)}\n\n{own}\n", own),
        Case("Outlook, old", "en", f"{own}\n\n-----Original Message-----\n{words.outlook}\n\n{original}\n", own),
        Case(
            "Outlook Express",
            "en",
            f"----- Original Message -----\n{words.outlook}\n\n{marked(original)}\n\n{own}\n",
            own,
        ),
        Case("Apple Mail, forward", "en", f"{own}\n\nBegin forwarded message:\n\n{words.outlook}\n\n{original}\n", own),
        Case("Mailman", "en", f"{own}\n\n{'_' * 47}\nCampers mailing list\nCampers@lists.example\n", own),
        Case("nothing quoted", "en", f"{own}\n", own),
        Case(
            "nothing quoted",
            "en",
            "On the wall somebody wrote:\n\nlove is all",
            "On the wall somebody wrote:\n\nlove is all",
        ),
    ]


def _in_html() -> list[Case]:
    own = "Hi Tom,\n\nFriday works.\n\nAnna"
    words = "<p>Hi Tom,</p><p>Friday works.</p><p>Anna</p>"
    original = "<p>Can you make it?</p><p>Tom</p>"
    strange = "Lundi, Tomek kirjutas"  # in no table: only the element tells
    gmail = f'<div class="gmail_attr">{strange}:<br></div><blockquote class="gmail_quote">{original}</blockquote>'
    outlook = f'<hr tabindex="-1"><div id="divRplyFwdMsg"><b>Saatja:</b> Tom</div><div>{original}</div>'
    rule = '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"><p>Saatja: Tom</p></div>'
    bodies = {
        "Gmail": f'{words}<div class="gmail_quote">{gmail}</div>',
        "Gmail, forward": f'{words}<div class="gmail_quote"><div class="gmail_attr">{strange}</div>{original}</div>',
        "Gmail, signature": f'{words}<div class="gmail_signature">Anna Roth<br>555 0102</div>',
        "Apple Mail": f'{words}<blockquote type="cite">{strange}<br>{original}</blockquote>',
        "Thunderbird": f'{words}<div class="moz-cite-prefix">{strange}:<br></div><blockquote type="cite">{original}</blockquote>',
        "Outlook on the web": words + outlook,
        "Outlook": words + rule + original,
        "Proton": f'{words}<div class="protonmail_quote">{strange}<blockquote>{original}</blockquote></div>',
        "Yahoo": f'{words}<div class="yahoo_quoted"><div>{strange}</div><div>{original}</div></div>',
        "Gmail, indented": (
            '<p>Hi Tom,</p><blockquote style="margin:0 0 0 40px;border:none;padding:0px">Friday works.</blockquote><p>Anna</p>'
        ),
    }
    return [
        Case(f"{name}, HTML", "en", f"<html><body>{body}</body></html>", own, True) for name, body in bodies.items()
    ]


# --- archives

ANNA = "anna@home.example"
_PEOPLE = ("tom@x.example", "bo@y.example", "cara@z.example", "dan@w.example")
_WORDS = [
    "the",
    "tent",
    "is",
    "in",
    "the",
    "cellar",
    "and",
    "the",
    "pot",
    "has",
    "a",
    "crack",
    "so",
    "we",
    "should",
    "buy",
    "another",
    "before",
    "we",
    "leave",
    "on",
    "Friday",
    "because",
    "shops",
    "close",
    "early",
    "there",
    "please",
    "ask",
    "your",
    "sister",
    "whether",
    "she",
    "comes",
    "along",
    "with",
    "us",
    "or",
    "takes",
    "a",
    "train",
    "later",
    "in",
    "that",
    "week",
]


def write_mbox(path: Path, num: int, seed: int) -> None:
    """Write an archive of `num` messages that Anna keeps, about two thirds of them sent by her.

    Of usual size: 1-4 KB, a fifth in HTML only, some with both, half of them replies, a twentieth with an attachment
    of 100 KB, a twentieth automatic.
    """
    draw = random.Random(seed)
    attachment = base64.encodebytes(draw.randbytes(75_000)).decode()
    begin = datetime(2020, 1, 1, 8, tzinfo=UTC)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(num):
            when = begin + timedelta(hours=3 * number)
            file.write(f"From MAILER {when:%a %b %d %H:%M:%S %Y}\n")
            file.write(_message(draw, number, when, attachment))
            file.write("\n\n")


def _message(draw: random.Random, number: int, when: datetime, attachment: str) -> str:
    is_own = draw.random() < 0.67
    other = draw.choice(_PEOPLE)
    sender, to = (ANNA, other) if is_own else (other, ANNA)
    is_reply = number > 0 and draw.random() < 0.5
    head = [
        f"From: {sender.split('@')[0].title()} Roth <{sender}>",
        f"To: {to.split('@')[0].title()} Berg <{to}>",
        f"Subject: {'Re: ' if is_reply else ''}=?utf-8?q?Zelt_und_K=C3=BCche?= {number}",
        f"Date: {when:%a, %d %b %Y %H:%M:%S} +0000",
        f"Message-ID: <{number}@home.example>",
        *(
            f"Received: from mx{hop}.example by relay{hop}.example with ESMTPS id {number}x{hop};\n {when:%c}"
            for hop in range(4)
        ),
        "MIME-Version: 1.0",
    ]
    if is_reply:
        head.append(f"In-Reply-To: <{number - 1}@home.example>")
    if draw.random() < 0.05:
        head.append("Auto-Submitted: auto-generated")
    own = [_paragraph(draw) for _ in range(draw.randint(1, 5))]
    quoted = [_paragraph(draw) for _ in range(draw.randint(1, 4))] if is_reply else []
    name = sender.split("@")[0].title()
    plain = "\n\n".join([f"Hi {to.split('@')[0].title()},", *own, f"Best,\n{name}"])
    html = "".join(f"<div>{paragraph}</div><div><br></div>" for paragraph in [*own, name])
    if is_reply:
        attribution = f"On {when:%a, %d %b %Y at %H:%M}, {to} <{to}> wrote:"
        plain += f"\n\n{attribution}\n" + "\n".join(f"> {paragraph}" for paragraph in quoted)
        html += f'<div class="gmail_quote"><div class="gmail_attr">{attribution}</div><blockquote class="gmail_quote">'
        html += "".join(f"<div>{paragraph}</div>" for paragraph in quoted) + "</blockquote></div>"
    kind = draw.random()
    plain_part = f'Content-Type: text/plain; charset="UTF-8"\n\n{plain}\n'
    html_part = f'Content-Type: text/html; charset="UTF-8"\n\n<html><body>{html}</body></html>\n'
    content = html_part if kind < 0.2 else plain_part
    if 0.2 <= kind < 0.5:
        content = _multipart("alternative", f"alt{number}", [plain_part, html_part])
    if draw.random() < 0.05:
        file = f'Content-Type: application/pdf; name="a.pdf"\nContent-Transfer-Encoding: base64\n\n{attachment}'
        content = _multipart("mixed", f"mix{number}", [content, file])
    return "\n".join(head) + "\n" + content


def _multipart(kind: str, boundary: str, parts: list[str]) -> str:
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n{body}--{boundary}--\n'


def _paragraph(draw: random.Random) -> str:
    words = draw.choices(_WORDS, k=draw.randint(20, 80))
    return " ".join(words).capitalize() + "."
