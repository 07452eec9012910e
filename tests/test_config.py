"""Settings: layers in their order, what is unknown or out of range told by name, the shipped presets, the defaults."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ditto_cli.cli.context import folder_adapter
from ditto_cli.config import (
    FolderFile,
    MixtureSettings,
    Settings,
    environment_settings,
    load_preset,
    parse_assignments,
    preset_folder,
    preset_names,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.errors import InputError

ROOT = Path(__file__).parents[1]
PAPER = "paper-mistral-7b"


def resolved(preset=PAPER, folder_file=None, environment=None, flags=None):
    return resolve_settings(preset, folder_file or FolderFile(), environment or {}, flags or {})


def message(*arguments, **keywords):
    with pytest.raises(InputError) as refused:
        resolved(*arguments, **keywords)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_defaults_are_the_papers():
    settings = Settings()
    assert settings.base.id == "mistralai/Mistral-7B-Instruct-v0.2"
    assert (settings.lora.r, settings.lora.alpha, settings.lora.dropout) == (16, 32, 0.05)
    assert settings.lora.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    sft = settings.sft
    assert (sft.learning_rate, sft.batch_size, sft.warmup_ratio) == (3e-5, 4, 0.1)
    assert (sft.stop_loss, sft.max_steps) == (1.0, 30)
    dpo = settings.dpo
    assert (dpo.learning_rate, dpo.beta, dpo.warmup_ratio, dpo.comparisons_per_prompt) == (1e-6, 0.05, 0.25, 3)
    assert (dpo.mixture.online, dpo.mixture.replay, dpo.mixture.inter_model) == (0.7, 0.2, 0.1)
    assert (settings.rounds.num, settings.rounds.steps) == (4, 10)  # 40 steps, sampled every 10
    sampling = settings.sampling
    assert (sampling.completions_per_prompt, sampling.temperature) == (10, 1.0)


def test_the_papers_preset_is_the_defaults():
    assert resolved(PAPER) == Settings()


def test_layers_lie_over_each_other(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("sft: {max_steps: 1, batch_size: 1, stop_loss: 1.5, warmup_ratio: 0.3}\nseed: 1\n")
    settings = resolved(
        str(preset),
        FolderFile(sft={"max_steps": 2, "batch_size": 2, "stop_loss": 2.5}, seed=2),
        {"DITTO_SFT__MAX_STEPS": "3", "DITTO_SFT__BATCH_SIZE": "3", "DITTO_SEED": "3"},
        {"sft.max_steps": 4, "seed": 4},
    )
    sft = settings.sft
    # flag 4, environment 3, ditto.yaml 2.5, preset 0.3, default 3e-5
    assert (sft.max_steps, sft.batch_size, sft.stop_loss, sft.warmup_ratio, sft.learning_rate) == (4, 3, 2.5, 0.3, 3e-5)
    assert settings.seed == 4


def test_a_flag_that_is_not_given_hides_nothing():
    assert resolved(environment={"DITTO_SEED": "3"}, flags={"seed": None}).seed == 3


def test_a_layer_changes_single_keys_of_a_section():
    mixture = resolved(flags={"dpo.mixture.online": 0.5}).dpo.mixture
    assert (mixture.online, mixture.replay, mixture.inter_model) == (0.5, 0.2, 0.1)


def value_of(settings, key):
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("dpo.beta=1e-6", 1e-6),  # a text in YAML 1.1
        ("dpo.beta=1.0e-6", 1e-6),
        ("dpo.beta=2E-5", 2e-5),
        ("dpo.beta=0.1", 0.1),
        ("dpo.beta=3", 3.0),
        ("dpo.per_token=true", True),
        ("dpo.per_token=no", False),
        ("rounds.num=0", 0),
        ("base.quantize=nf4", "nf4"),
        # Names that YAML would take for numbers and dates: a commit's first letters are any of these.
        ("base.revision=1234567", "1234567"),
        ("base.revision=0123456", "0123456"),
        ("base.revision=1234e56", "1234e56"),
        ("base.revision=0x12345", "0x12345"),
        ("base.revision=12:30:45", "12:30:45"),
        ("base.revision=2024-13-45", "2024-13-45"),
        ("base.revision=true", "true"),
        ("lora.targets=all-linear", "all-linear"),
        ("lora.targets=[q_proj, v_proj]", ("q_proj", "v_proj")),
        ("lora.targets=q_proj,v_proj", ("q_proj", "v_proj")),
        ("lora.targets= q_proj , v_proj ,", ("q_proj", "v_proj")),
        ("lora.targets=q_proj", ("q_proj",)),
        ("dpo.mixture={online: 1, replay: 0}", MixtureSettings(online=1, replay=0)),
    ],
)
def test_values_are_read_as_people_write_them(assignment, value, tmp_path):
    key, _, text = assignment.partition("=")
    variable = f"DITTO_{key.upper().replace('.', '__')}"
    section, _, name = key.partition(".")
    for file in ("ditto.yaml", "mine.yaml"):
        (tmp_path / file).write_text(f"{section}:\n  {name}: {text}\n")
    assert value_of(resolved(flags=parse_assignments([assignment])), key) == value
    assert value_of(resolved(environment={variable: text}), key) == value
    assert value_of(resolved(folder_file=read_folder_file(tmp_path)), key) == value
    assert value_of(resolved(str(tmp_path / "mine.yaml")), key) == value


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("me: ada@x.example", {"me": ["ada@x.example"]}),
        ("me: Ada Reed, ada@x.example", {"me": ["Ada Reed", "ada@x.example"]}),
        ("me: [Ada, U02]", {"me": ["Ada", "U02"]}),
        ("me: 4711", {"me": ["4711"]}),
        ("name: 2024-01-01", {"name": "2024-01-01"}),
        ("name: 2024-13-45", {"name": "2024-13-45"}),
        ("redact: names", {"redact": "names"}),
        ("redact: yes", {"redact": True}),
        ("prompts: {1.md: 2024}", {"prompts": {"1.md": "2024"}}),
        ("prompts:\nseed:", {}),
        ("# nothing yet\n", {}),
        ("\ufeffname: alice\n", {"name": "alice"}),
    ],
)
def test_what_a_folder_file_says_in_the_words_of_people(tmp_path, text, settings):
    assert read_folder_file(tmp_path) == FolderFile()
    (tmp_path / "ditto.yaml").write_text(text, encoding="utf-8")
    assert read_folder_file(tmp_path) == FolderFile(**settings)


def test_the_environment_gives_dotted_keys_and_leaves_the_programs_own_variables_out():
    environment = {
        "DITTO_DPO__MIXTURE__ONLINE": "1",
        "DITTO_HOME": "/x",
        "DITTO_PRESET": "y",
        "DITTO_DEBUG": "1",
        "HOME": "/",
    }
    assert environment_settings(environment) == {"dpo.mixture.online": "1"}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"flags": {"dpo.bta": 0.1}}, ("the arguments", "unknown setting dpo.bta", "did you mean dpo.beta?")),
        ({"environment": {"DITTO_DPO__BTA": "0.1"}}, ("the environment", "unknown setting dpo.bta", "dpo.beta")),
        ({"folder_file": FolderFile(dpo={"bta": 0.1})}, ("ditto.yaml", "unknown setting dpo.bta", "dpo.beta")),
        ({"flags": {"beta": 0.1}}, ("unknown setting beta", "did you mean dpo.beta?")),
        ({"flags": {"zzz": 1}}, ("unknown setting zzz", "the settings are base.id", "sampling.temperature", "seed")),
        ({"flags": {"dpo.mixture.onlin": 1}}, ("dpo.mixture.onlin", "did you mean dpo.mixture.online?")),
        ({"flags": {"lora.r": 0}}, ("the arguments", "lora.r", "greater than or equal to 1")),
        (
            {"environment": {"DITTO_SFT__STOP_LOSS": "-1"}},
            ("the environment", "sft.stop_loss", "greater than or equal"),
        ),
        ({"folder_file": FolderFile(lora={"dropout": 2})}, ("ditto.yaml", "lora.dropout", "less than or equal to 1")),
        ({"flags": {"dpo.beta": float("nan")}}, ("dpo.beta", "finite")),
        ({"flags": {"dpo.beta": float("inf")}}, ("dpo.beta", "finite")),
        ({"flags": {"rounds.num": 1.5}}, ("rounds.num", "integer")),
        ({"flags": {"rounds": 3}}, ("rounds",)),
        ({"flags": {"dpo.beta": 0.1, "dpo.beta.x": 1}}, ("dpo.beta",)),
        ({"flags": {"base.quantize": "int8"}}, ("base.quantize", "nf4")),
        ({"flags": {"lora.targets": 3}}, ("lora.targets: Input should be 'all-linear' or a valid tuple.",)),
        ({"flags": {"lora.targets": ","}}, ("lora.targets: Input should be 'all-linear' or",)),
        (
            {"flags": {"dpo.mixture": {"online": 0, "replay": 0, "inter_model": 0}}},
            ("dpo.mixture: all three weights of samples are 0", "raise one"),
        ),
        ({"preset": "nope"}, ("Unknown preset 'nope'", *preset_names())),
        ({"preset": "nope.yaml"}, ("nope.yaml does not exist",)),
    ],
)
def test_what_is_wrong_is_named_with_its_layer(keywords, words):
    text = message(**keywords)
    for word in words:
        assert word in text


def test_a_wrong_preset_names_itself(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("sft: {steps: 3}\n")
    assert "mine.yaml" in message(str(preset))
    assert "unknown setting sft.steps" in message(str(preset))


@pytest.mark.parametrize("assignment", ["dpo.beta", "=3", " =3", ""])
def test_an_assignment_needs_key_and_value(assignment):
    with pytest.raises(InputError, match="not of the form key=value"):
        parse_assignments([assignment])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dpo: [", "not valid YAML"),
        ("- a\n- b\n", "must hold `key: value` lines, not a list"),
        ("just words\n", "not a str"),
        ("prmpts: {}\n", "unknown setting prmpts; did you mean prompts?"),
        ("a\ufeff: 1\n", r"unknown setting a\ufeff; the settings are"),  # written so that it is seen
        ("schema_version: 2\n", "schema_version"),
        ("prompts: [a]\n", "prompts"),
        ("redact: maybe\n", "redact: Input should be a valid boolean or 'names'."),
        ("watch_prompt: ''\n", "watch_prompt"),
        (b"\xff\xfe\x00\xd8", "cannot be read"),
    ],
)
def test_a_folder_file_that_cannot_be_used(tmp_path, text, problem):
    (tmp_path / "ditto.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as refused:
        read_folder_file(tmp_path)
    assert problem in str(refused.value)
    assert str(tmp_path / "ditto.yaml") in str(refused.value)


def test_the_adapters_name(tmp_path, monkeypatch):
    folder = tmp_path / "my_emails"
    folder.mkdir()
    assert folder_adapter(folder, FolderFile(name="alice"), "bob") == "bob"
    assert folder_adapter(folder, FolderFile(name="alice"), None) == "alice"
    assert folder_adapter(folder, FolderFile(), None) == "my_emails"
    assert folder_adapter(Path(f"{folder}/"), FolderFile(), None) == "my_emails"
    monkeypatch.chdir(folder)
    assert folder_adapter(Path("."), FolderFile(), None) == "my_emails"
    assert folder_adapter(Path(".."), FolderFile(), None) == tmp_path.name


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_and_say_where_they_come_from(name):
    settings = resolved(name)
    lines = (preset_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])
    assert "arXiv" in comment or "docs/" in comment
    for document in [word.strip("().,:;") for word in comment.split() if "docs/" in word]:
        assert (ROOT / document).is_file(), document
    # A preset names its base itself: another default must not change what it means.
    assert load_preset(name)["base"]["id"] == settings.base.id


def test_presets_of_every_machine_exist():
    from ditto_cli.model.hardware import GIB, Hardware

    machines = [("cpu", 1), ("cuda", 12), ("cuda", 24)]
    chosen = [Hardware(SimpleNamespace(type=kind), "", gib * GIB).default_preset() for kind, gib in machines]
    assert len(set(chosen)) == 3
    assert set(chosen) <= set(preset_names())


def test_the_wheel_has_the_presets():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["force-include"] == {"configs": "ditto_cli/configs"}
    assert "configs" in build["sdist"]["include"]
    assert set(preset_names()) == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


def test_settings_survive_a_record():
    settings = resolved("smollm2-135m-cpu", flags={"seed": 7})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert Settings.model_validate(yaml.safe_load(yaml.safe_dump(settings.model_dump(mode="json")))) == settings
