"""A text -> the language that it is written in, and how many words it has. The model is inside the package py3langid.

The first question loads it (0.6 s, 100 MB); nothing is written and nothing is fetched.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]

MIN_WORDS = 4  # below, names and greetings decide, not a language
MIN_PARAGRAPH_WORDS = 12
_MIN_SHARE = 0.7  # of the probability, for a text
_MIN_PARAGRAPH_SHARE = 0.9  # a paragraph in another language is a reproach, so it must be certain
_MAX_CHARACTERS = 300  # more change no answer and cost time
# Languages that a few lines do not tell apart count as one.
_CLOSE = ({"no", "nn", "da"}, {"hr", "bs", "sr"}, {"id", "ms"}, {"gl", "pt"}, {"af", "nl"})
_NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "bs": "Bosnian",
    "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "fy": "Frisian", "ga": "Irish", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "ko": "Korean", "la": "Latin", "lb": "Luxembourgish", "lt": "Lithuanian",
    "lv": "Latvian", "mk": "Macedonian", "mr": "Marathi", "ms": "Malay", "mt": "Maltese", "nl": "Dutch",
    "nn": "Norwegian", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
# Words that say little about a topic; written for ditto.
_FUNCTION_WORDS = {
    "en": """
        a an the this that these those such another other others each every either neither both all any some no none
        many much more most few fewer fewest little less least several enough own same i me my mine myself we us our
        ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they
        them their theirs themselves one ones oneself who whom whose which what whoever whatever whichever someone
        somebody something anyone anybody anything everyone everybody everything nobody nothing noone am is are was
        were be been being isn't aren't wasn't weren't ain't i'm you're we're they're he's she's it's that's there's
        here's what's who's let's have has had having haven't hasn't hadn't i've you've we've they've i'd you'd he'd
        she'd we'd they'd do does did doing done don't doesn't didn't will would shall should can could may might must
        ought won't wouldn't shan't shouldn't can't cannot couldn't mustn't needn't i'll you'll he'll she'll we'll
        they'll it'll dont doesnt didnt cant wont isnt wasnt im ive ill id youre theyre thats whats couldnt wouldnt
        shouldnt havent and or but nor so yet for because cos cause since although though while whilst whereas if
        unless until till whether as than when whenever where wherever why how however therefore thus hence moreover
        furthermore nevertheless nonetheless otherwise instead besides meanwhile of to in on at by with without within
        from into onto upon about above across after against along alongside amid among amongst around before behind
        below beneath beside between beyond despite down during except inside like near off opposite out outside over
        past per through throughout toward towards under underneath unlike up via versus not never ever always often
        sometimes usually rarely seldom once twice again already still just only even also too very quite rather
        really actually basically simply perhaps maybe probably possibly certainly definitely surely indeed almost
        nearly hardly barely merely mostly mainly especially particularly generally finally eventually suddenly soon
        later now then today tomorrow yesterday tonight here there everywhere anywhere somewhere nowhere away back
        together apart else anyway well far long ago yes yeah yep nope ok okay oh ah hey hi hello dear thanks thank
        please sorry bye cheers regards sincerely best love go goes going gone went come comes coming came get gets
        getting got gotten make makes making made take takes taking took taken give gives giving gave given put puts
        putting let lets keep keeps kept say says saying said tell tells told ask asks asked know knows knew known
        think thinks thinking thought feel feels feeling felt believe believes see sees seen saw look looks looking
        looked seem seems seemed mean means meant want wants wanted need needs needed likes liked try tries trying
        tried use uses used using help helps find found show shows start started thing things stuff way ways lot lots
        kind sort bit time times day days week year years people person man men woman women good better bad worse
        worst great nice big small old new first second last next right wrong sure able different important two three
        four five six seven eight nine ten hundred thousand million billion half according added including mr mrs ms
        dr etc""",
    "de": """
        aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis bist bitte da
        dabei dafür damit dann danke daran darauf das dass dein deine deinen deiner dem den denn der des deshalb dich
        die dies diese diesem diesen dieser dieses dir doch dort du durch eben ein eine einem einen einer eines
        einfach einmal er erst es etwas euch euer eure für ganz gar gegen gern gerne gibt gut habe haben hallo hast
        hat hatte hatten hier hin ich ihm ihn ihnen ihr ihre ihrem ihren im immer in ins ist ja jede jeder jedes
        jedoch jetzt kann kannst kein keine keinen können könnte lieber liebe machen mal man mehr mein meine meinem
        meinen meiner mich mir mit muss müssen nach natürlich ne nein nicht nichts noch nun nur ob oder ohne schon
        sehr sein seine seinen seiner seit selbst sich sie sind so soll sollte sonst über um und uns unser unsere
        unter viel viele vielleicht vom von vor wann war waren warum was weil weiter welche wenn wer werde werden wie
        wieder will wir wird wirklich wo wohl wollen würde würden zu zum zur zwar zwischen""",
    "fr": """
        a ai aller alors après as assez au aucun aussi autre autres aux avait avant avec avez avoir avons beaucoup
        bien bon bonjour c'est ça car ce ceci cela celle celui ces cet cette ceux chaque chez comme comment d'un d'une
        dans de depuis des dire dit dont donc du déjà elle elles en encore enfin entre es est et étaient était être eu
        fait faire faut font ici il ils j'ai je jamais jusqu'à la là le les leur leurs lui ma mais me même mes merci
        moi moins mon ne ni non nos notre nous on ont ou où par parce pas pendant peu peut peut-être plus plutôt pour
        pourquoi pouvez puis qu'il qu'on quand que quel quelle quelque quelques qui quoi rien sa sans se sera ses si
        son sont sous souvent suis sur ta te tes toi ton toujours tous tout toute toutes très trop tu un une va vers
        voici voilà vos votre vous vraiment y""",
    "es": """
        a ahora al algo alguien algún alguna algunos allí antes aquí así aún aunque bien buena bueno cada casi como
        con cuando cuál cómo cosa cosas cual de del desde después donde dos durante e el él ella ellas ellos en
        entonces entre era eran eres es esa ese eso esos esta está están este esto estos estoy fue fueron gracias ha
        había hace hacer hacia han hasta hay he hola hoy la las le les lo los luego más me mejor menos mi mí mis mismo
        mucho muchos muy nada ni no nos nosotros nuestra nuestro nunca o os otra otro otros para pero poco por porque
        pues que qué quien se sea según ser si sí sido siempre sin sobre solo sólo son soy su sus también tan tanto te
        tener tengo tiene tienen todo toda todos todas tu tú tus un una uno unos usted va vamos vez y ya yo""",
    "it": """
        a abbiamo ad adesso ai al alla alle allora altri altro anche ancora anni appena avere bene c'è che chi ci ciao
        cioè come con così cosa cui da dal dalla de degli dei del della delle di dopo dove due e è ed era erano essere
        fa fare fatto fino forse già gli grazie ha hai hanno ho i il in invece io la le lei li lo loro lui ma mai me
        meglio meno mentre mi mia mie miei mio molto ne nel nella nessuno niente no noi non nostra nostro o ogni ora
        per perché più piuttosto poco poi prima può qualche quale quando quanto quella quello questa queste questi
        questo qui quindi sarà se sei sempre senza si sì sia siamo solo sono sopra sotto stato su sua sul sulla sue
        suo suoi tanto te tra tu tua tuo tutti tutto un una uno va vi voi vostra vostro""",
    "nl": """
        aan af al alle alleen alles als altijd ander andere ben bij daar dan dat de deze die dit doe doen door dus een
        eens eerst elk en er ergens even ga gaan gaat geen geweest goed had hadden haar hallo heb hebben heeft heel
        het hem hen hier hij hoe hun iedereen iemand iets ik in is ja je jij jou jouw jullie kan kon kunnen maar me
        meer men met mij mijn moet moeten mogen na naar natuurlijk nee net niet niets nog nooit nu of om omdat onder
        ons onze ook op over te ten ter terug toch toen tot tussen u uit uw van veel vind voor waar waarom want was
        wat we wel welke wie wij wil willen worden wordt zal ze zeer zelf zich zij zijn zo zou zouden zonder""",
    "pt": """
        a à ainda além algo alguém alguma algum ali antes ao aos apenas após aqui as às até bem bom cada coisa com
        como da das de dela dele deles depois desde do dos e é ela elas ele eles em então entre era essa esse esta
        está estão este estes estou eu faz fazer foi foram há isso isto já lá lhe lo mais mas me mesmo meu meus minha
        minhas muito muitos na nada não nas nem nenhum no nós nos nossa nosso num numa nunca o obrigada obrigado olá
        onde os ou outra outro para pela pelo pode pois por porque quando que quem se sem sempre ser seu seus si sido
        só sobre sou sua suas também tanto te tem tenho ter teu todo todos tu tua tudo um uma umas uns vai vem você
        vocês vou""",
}
# Addresses, file names and numbers are of no language.
_NO_LANGUAGE = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|\S*\d\S*")
# Scripts without spaces between words; a word has about two of their characters.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_HAS_WORD = re.compile(r"\w")


def count_words(text: str) -> int:
    """Words between spaces; of Chinese, Japanese, Thai and their like two characters count as one."""
    unspaced = len(_UNSPACED.findall(text)) if not text.isascii() else 0
    spaced = _UNSPACED.sub(" ", text) if unspaced else text
    num = sum([word[0].isalnum() or _HAS_WORD.search(word) is not None for word in spaced.split()])
    return num + (unspaced + 1) // 2


def language_of(text: str) -> str | None:
    """The language's ISO 639-1 code; None if it is unsure or the text has fewer than `MIN_WORDS` words."""
    return _told(text, MIN_WORDS, _MIN_SHARE)


def languages_of(text: str) -> tuple[str, ...]:
    """The languages of the text's paragraphs, most words first; short and unsure paragraphs are passed over.

    Of languages that are hard to tell apart (Danish and Norwegian) only the more frequent one is named.
    """
    found: dict[str, int] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        code = _told(paragraph, MIN_PARAGRAPH_WORDS, _MIN_PARAGRAPH_SHARE)
        if code is not None:
            found[code] = found.get(code, 0) + count_words(paragraph)
    ordered = sorted(found, key=lambda code: (-found[code], code))
    groups = [language_group(code) for code in ordered]
    return tuple(code for place, code in enumerate(ordered) if groups.index(groups[place]) == place)


def language_name(code: str) -> str:
    """The English name; of a language without an entry the code itself."""
    return _NAMES.get(code, code)


def language_group(code: str) -> str:
    """One code for languages that a short text does not tell apart; else the code itself."""
    return next((min(group) for group in _CLOSE if code in group), code)


@cache
def function_words(code: str) -> frozenset[str]:
    """Words of a language that say little about a topic, with straight apostrophes; empty where there is no list."""
    return frozenset(_FUNCTION_WORDS.get(code, "").split())


def _told(text: str, min_words: int, min_share: float) -> str | None:
    plain = _NO_LANGUAGE.sub(" ", text[: 2 * _MAX_CHARACTERS])
    plain = " ".join(plain.split())[:_MAX_CHARACTERS]
    if count_words(plain) < min_words:
        return None
    ranked: list[tuple[str, float]] = _identifier().rank(plain)
    best, share = ranked[0]
    group = next((group for group in _CLOSE if best in group), None)
    if group is not None:
        share = sum(probability for code, probability in ranked if code in group)
    return best if share >= min_share else None


@cache
def _identifier() -> LanguageIdentifier:
    # Here, not at the top: numpy and the model cost what `ditto --help` need not pay.
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The others are dialects and creoles, which take probability from their big relatives, and "no language".
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    identifier.nb_ptc = np.ascontiguousarray(
        identifier.nb_ptc
    )  # as it is left, looking up its rows is five times slower
    return identifier
