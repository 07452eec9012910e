"""The words by which mail programs introduce what they quote, in the languages in which people write.

Facts about languages and mail programs only; what is done with them is the business of `quotes` and `signatures`.
"""

# ruff: noqa: RUF001  words of other alphabets look like Latin ones

from __future__ import annotations

# Verbs of an attribution ("On Monday Anna wrote:"), in lower case.
WROTE = (
    *("wrote", "writes", "schrieb", "schrieben", "geschrieben", "a écrit", "écrit", "ont écrit"),
    *("escribió", "escribio", "ha scritto", "scrive", "escreveu", "escreve", "schreef", "schreven", "geschreven"),
    *("skrev", "skriver", "kirjoitti", "napisał", "napisała", "napisał(a)", "napisano", "pisze", "nadesłał"),
    *("napsal", "napsala", "napsal(a)", "píše", "napísal", "napísala", "написал", "написала", "написал(а)", "пишет"),
    *("написав", "написала", "пише", "írta", "yazdı", "a scris", "έγραψε", "viết"),
)
# Written without spaces around them.
WROTE_UNSPACED = ("写道", "寫道", "のメール", "のメッセージ", "書きました", "さんは書きました", "님이 작성", "님이 씀")
# With which an attribution begins; a weekday or a date does as well.
ATTRIBUTION_STARTS = (
    *(
        "On",
        "Am",
        "Le",
        "El",
        "Il",
        "Em",
        "Op",
        "Den",
        "Dnia",
        "W dniu",
        "Dne",
        "No dia",
        "A",
        "Pe",
        "Vào",
        "Στις",
        "På",
    ),
)
# Between two rules: "-----Original Message-----".
MESSAGE_RULES = (
    *(
        "original message",
        "forwarded message",
        "original mail",
        "forwarded mail",
        "original email",
        "original appointment",
    ),
    *("ursprüngliche nachricht", "ursprüngliche mail", "original-nachricht", "originalnachricht", "original-mail"),
    *("weitergeleitete nachricht", "weitergeleitete mail", "message d'origine", "message original", "mail original"),
    *("message transféré", "courriel original", "message initial", "mensaje original", "mensaje reenviado"),
    *("messaggio originale", "messaggio inoltrato", "messaggio originario", "mensagem original"),
    *("mensagem encaminhada", "mensagem reencaminhada", "oorspronkelijk bericht", "doorgestuurd bericht"),
    *("origineel bericht", "ursprungligt meddelande", "originalmeddelande", "vidarebefordrat meddelande"),
    *("vidarebefordrat mejl", "oprindelig meddelelse", "original meddelelse", "videresendt meddelelse"),
    *("opprinnelig melding", "videresendt melding", "alkuperäinen viesti", "välitetty viesti"),
    *("wiadomość oryginalna", "oryginalna wiadomość", "wiadomość przekazana", "przekazana wiadomość"),
    *("treść przekazanej wiadomości", "původní zpráva", "původní e-mail", "přeposlaná zpráva", "pôvodná správa"),
    *("исходное сообщение", "пересылаемое сообщение", "пересланное сообщение", "исходное письмо"),
    *("перенаправленное сообщение", "конец пересылаемого сообщения", "eredeti üzenet", "továbbított üzenet"),
    *("orijinal mesaj", "iletilen mesaj", "mesaj original", "mesaj redirecționat", "αρχικό μήνυμα"),
    *("元のメッセージ", "転送メッセージ", "転送されたメッセージ", "原始邮件", "原始郵件", "转发邮件", "轉寄郵件"),
    *("转发的邮件", "轉寄的郵件", "已转发邮件", "原始信息", "原邮件", "원본 메시지", "전달된 메시지"),
)
# Apple Mail's line above a forwarded message; without the colon.
FORWARD_LINES = (
    *("begin forwarded message", "anfang der weitergeleiteten nachricht", "anfang der weitergeleiteten e-mail"),
    *("début du message transféré", "début du message réexpédié", "inicio del mensaje reenviado"),
    *("inizio messaggio inoltrato", "início da mensagem encaminhada", "início da mensagem reencaminhada"),
    *("begin doorgestuurd bericht", "vidarebefordrat brev", "start på videresendt besked", "videresendt melding"),
    *("videresendt meddelelse", "początek przekazywanej wiadomości", "začátek přeposlané zprávy"),
    *(
        "начало переадресованного сообщения",
        "начало пересылаемого сообщения",
        "転送されたメッセージ",
        "转发的邮件",
        "轉寄的郵件",
    ),
)
# The first field of a header block that was copied into the text.
SENDER_FIELDS = (
    *("from", "von", "de", "da", "van", "från", "fra", "od", "lähettäjä", "от", "от кого", "від", "expéditeur"),
    *("remitente", "mittente", "afzender", "nadawca", "odesílatel", "avsändare", "feladó", "kimden", "gönderen"),
    *("差出人", "送信者", "发件人", "發件人", "寄件者", "寄件人", "보낸 사람", "보낸사람"),
)
OTHER_FIELDS = (
    *("sent", "date", "to", "cc", "bcc", "subject", "reply-to", "organization", "importance", "attachments", "when"),
    *("gesendet", "datum", "an", "betreff", "kopie", "antwort an", "wichtigkeit", "anlagen"),
    *("envoyé", "envoyé le", "date", "à", "objet", "copie", "sujet", "destinataire"),
    *("enviado", "enviado el", "enviado em", "enviada em", "enviada", "fecha", "para", "asunto", "assunto", "data"),
    *("inviato", "inviata", "a", "oggetto", "verzonden", "aan", "onderwerp", "skickat", "till", "ämne", "kopia"),
    *("sendt", "til", "emne", "dato", "kopi", "lähetetty", "vastaanottaja", "aihe", "wysłano", "wysłane", "do"),
    *("temat", "dw", "odesláno", "komu", "předmět", "odoslané", "predmet", "отправлено", "дата", "кому", "тема"),
    *("копия", "надіслано", "küldve", "címzett", "tárgy", "gönderildi", "kime", "konu", "tarih"),
    *("送信日時", "日時", "日付", "宛先", "件名", "发送时间", "收件人", "主题", "抄送", "日期", "时间", "寄件日期"),
    *("收件者", "主旨", "副本", "傳送時間", "發送時間", "主題", "보낸 날짜", "받는 사람", "제목", "참조"),
)
# "Re:" and "Fwd:", as programs in these languages write them before a subject.
REPLY_PREFIXES = (
    *("re", "aw", "sv", "antw", "antwort", "odp", "rif", "res", "ref", "vá", "ynt", "atb", "απ", "отв", "ha"),
    *("回复", "回覆", "答复", "答覆", "返信", "회신"),
)
FORWARD_PREFIXES = (
    *("fw", "fwd", "wg", "tr", "rv", "enc", "vb", "vs", "pd", "i", "doorst", "továbbítás", "ilt", "vl", "пересл"),
    *("转发", "轉寄", "转寄", "転送", "전달"),
)
# What a phone or a program adds below a text: such a line holds one of the first and one of the second.
SENT_WITH = (
    *("sent from", "sent with", "sent via", "sent using", "get outlook", "get bluemail", "download outlook"),
    *("gesendet von", "gesendet mit", "gesendet aus", "gesendet über", "gesendet", "verschickt mit", "outlook für"),
    *("envoyé de", "envoyé depuis", "envoyé avec", "envoyé à partir", "télécharger", "obtenir", "enviado desde"),
    *("enviado con", "obtener", "enviado do", "enviado de", "enviado a partir", "enviado pelo", "enviado via"),
    *(
        "enviado com",
        "obter",
        "obtenha",
        "inviato da",
        "inviato dal",
        "inviata da",
        "inviato con",
        "ottieni",
        "scarica",
    ),
    *("verstuurd vanaf", "verzonden vanaf", "verzonden met", "verzonden via", "downloaden", "skickat från"),
    *("skickat med", "hämta", "sendt fra", "sendt med", "hent", "få outlook", "wysłane z", "wysłano z", "pobierz"),
    *("odesláno z", "odesláno ze", "odoslané z", "získejte", "stáhnout", "отправлено с", "отправлено из"),
    *(
        "скачать",
        "lähetetty",
        "から送信",
        "を入手",
        "发自",
        "發自",
        "来自",
        "從我的",
        "从我的",
        "发送自",
        "获取",
        "取得",
        "에서 보냄",
    ),
)
# The same where the verb comes last.
SENT_WITH_AT_END = ("から送信", "에서 보냄", "を入手", "gesendet", "gesendet.", "傳送", "发送")
PROGRAMS = (
    *("iphon", "ipad", "ipod", "android", "galaxy", "samsung", "blackberry", "huawei", "xiaomi", "redmi", "oneplus"),
    *("pixel", "nokia", "motorola", "windows", "outlook", "yahoo", "proton", "k-9", "gmx", "web.de", "spark", "aol"),
    *(
        "bluemail",
        "mail app",
        "mail-app",
        "mobile",
        "mobil",
        "smartphone",
        "handy",
        "téléphone",
        "cellulare",
        "mail.ru",
    ),
    *(
        "telefon",
        "телефон",
        "apple mail",
        "mail for",
        "gmail",
        "tutanota",
        "fastmail",
        "edison",
        "samsung",
        "thunderbird",
    ),
    *(
        "яндекс",
        "qq邮箱",
        "网易",
        "手机",
        "スマートフォン",
        "mailbird",
        "posteo",
        "freenet",
        "t-online",
        "orange",
        "superhuman",
    ),
)
# With which a letter ends, after at most two other words ("Viele liebe Grüße"); patterns, in lower case.
SIGN_OFFS = (
    *("best", "regards", "warm", "warmly", "cheers", "thanks", "thank you", "thx", "sincerely", "yours", "love"),
    *("take care", "see you", "talk soon", r"xx?\b", "gr[uü](?:ß|ss)", r"lg\b", r"vg\b", r"mfg\b", "ciao", r"danke?\b"),
    *(
        r"bis (?:bald|dann|morgen)",
        "freundlichen",
        "cordialement",
        "bien à",
        "amitiés",
        "bises",
        "merci",
        "salutations",
    ),
    *("à bientôt", "saludos?", "abrazos?", "gracias", "atentamente", "cordiali", "cordialmente", "saluti", "grazie"),
    *("a presto", "baci", "abbracci", "abraços?", "obrigad[oa]", "atenciosamente", r"att\b", "cumprimentos", "beijos"),
    *("groet", "bedankt", "hälsning", r"mvh\b", r"tack\b", "kram", "hilsen", "hilsner", r"takk?\b", "knus", "klem"),
    *("pozdrawiam", "pozdrowienia", "dzięki", "poważaniem", "pozdrav", "zdraví", "díky", "děkuji", "уважением"),
    *("спасибо", "обнимаю", "よろしく", "敬具", "ありがとう", "此致", "祝", "谢谢", "謝謝", "敬礼", "敬上"),
)
# Before a number in a contact block.
PHONE_LABELS = (
    *(
        "t",
        "m",
        "f",
        "p",
        "tel",
        "tél",
        "tel[eé]fono?",
        "telefone?",
        "telephone",
        "téléphone",
        "phone",
        "ph",
        "mobile?",
    ),
    *(
        "mob",
        "mobiel",
        "mobil",
        "móvil",
        "cell(?:ulare|phone)?",
        "celular",
        "handy",
        "fax",
        "telefax",
        "office",
        "direct",
    ),
    *(
        "direkt",
        "durchwahl",
        "festnetz",
        "büro",
        "tlf",
        "tfn",
        "puh",
        "gsm",
        "kom",
        "whatsapp",
        "тел",
        "телефон",
        "моб",
    ),
    *("факс", "電話", "携帯", "电话", "電話番号", "手机", "传真"),
)
