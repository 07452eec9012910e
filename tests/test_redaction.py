"""Stand-ins for personal data: of the same form, the same for the same value, and never found again."""

import subprocess
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations import redaction
from ditto_cli.demonstrations.redaction import Redactor, analyse_with_presidio, personal_data
from ditto_cli.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to Jane.Doe@example.org.", "Write to someone@example.com."),
        ("see https://www.example.org/a/b?c=1, ok", "see https://example.com, ok"),
        ("call 020 7946 0958!", "call 000 0000 0000!"),
        ("call +44 (0)20 7946-0958", "call +00 (0)00 0000-0000"),
        ("IBAN DE89 3704 0044 0532 0130 00 Then", "IBAN DE00 0000 0000 0000 0000 00 Then"),
        ("IBAN DE89 3704 0044 053C", "IBAN DE00 0000 0000 000C"),
        ("card 4111-1111-1111-1111", "card 0000-0000-0000-0000"),
        ("Konto-Nr. 12345678 bitte", "Konto-Nr. 00000000 bitte"),
        ("Tel. 08912345", "Tel. 00000000"),
        ("at 12.30 on 12.08.2024, for 1,000,000", "at 12.30 on 12.08.2024, for 1,000,000"),
    ],
)
def test_stand_ins_have_the_form_of_what_they_replace(text, expected):
    redacted = Redactor().redact(text)
    assert redacted == expected
    assert personal_data(redacted) == {}


def test_several_values_are_told_apart_and_the_same_one_stays_the_same():
    redactor = Redactor()
    assert (
        redactor.redact("a@x.org, b@x.org, A@X.ORG") == "someone@example.com, someone2@example.com, someone@example.com"
    )
    assert (
        redactor.redact("b@x.org and www.x.org and www.y.org/z")
        == "someone2@example.com and https://example.com and https://example.com/2"
    )


BITS = st.sampled_from(
    [
        *(
            "a@b.org",
            "x.org/a?to=a@b.org",
            "anna",
            "020 7946 0958",
            "+44",
            "4111 1111 1111 1111",
            "x.org/a",
            "tel:",
            "é",
        ),
        *("DE89 3704 0044 0532 0130 00", "www.x.org", "account no. 123456", "someone@example.com", "12.08.2024", "@"),
        *(".", "/", "0", "1", "-", "(", " ", "\n"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(BITS, max_size=14).map("".join) | st.text(max_size=60))
def test_a_second_time_changes_nothing(text):
    redacted = Redactor().redact(text)
    assert personal_data(redacted) == {}
    assert Redactor().redact(redacted) == redacted


@pytest.fixture
def presidio(monkeypatch):
    """A stand-in with Presidio's documented calls: it takes capitalised words for names, and "York" for a place."""

    class Engine:
        def __init__(self, nlp_engine, supported_languages):
            assert (nlp_engine, supported_languages) == ("engine of en_core_web_sm", ["en"])

        def analyze(self, text, language, entities):
            assert (language, entities) == ("en", ["PERSON", "LOCATION"])
            kinds = {"Bo": "PERSON", "York": "LOCATION", "Someone": "PERSON"}
            return [
                types.SimpleNamespace(entity_type=kind, start=text.index(word), end=text.index(word) + len(word))
                for word, kind in kinds.items()
                if word in text
            ]

    class Provider:
        def __init__(self, nlp_configuration):
            self.model = nlp_configuration["models"][0]["model_name"]

        def create_engine(self):
            return f"engine of {self.model}"

    for name, content in {
        "presidio_analyzer": {"AnalyzerEngine": Engine},
        "presidio_analyzer.nlp_engine": {"NlpEngineProvider": Provider},
    }.items():
        module = types.ModuleType(name)
        module.__spec__ = types.SimpleNamespace(name=name)
        for key, value in content.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(redaction.importlib.metadata, "distribution", {"en_core_web_sm": None}.__getitem__)


@pytest.mark.usefixtures("presidio")
def test_with_presidio_names_and_places_go_too():
    redacted = Redactor(analyse_with_presidio("en")).redact("Bo moved to York, write to Bo@x.org")
    assert redacted == "Someone moved to Somewhere, write to someone@example.com"


def test_what_is_missing_is_named_with_the_command_that_fetches_it():
    with pytest.raises(InputError, match=r"pip install 'ditto-cli\[presidio\]'.* spacy download de_core_news_sm\.$"):
        analyse_with_presidio("de")


def test_without_names_presidio_is_not_imported():
    code = "import sys\nfrom ditto_cli.demonstrations.redaction import Redactor\nRedactor().redact('a@b.org')\n"
    code += "print([name for name in ('presidio_analyzer', 'spacy', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "presidio_analyzer" not in done.stdout
    assert "spacy" not in done.stdout
