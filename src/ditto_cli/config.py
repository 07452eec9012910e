"""Settings: flag > `DITTO_*` environment > ditto.yaml in the folder > preset > defaults, as one checked `Settings`.

The defaults are the paper's (arXiv 2406.00888, Table 5). Unknown keys are refused everywhere, by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ditto_cli.errors import InputError

FOLDER_FILE = "ditto.yaml"
PROMPT_FILE = "prompts.yaml"  # prompts that ditto found
PAIRS_FILE = "pairs.jsonl"  # texts that the person preferred over others
HELD_OUT_FOLDER = "held_out"  # texts in it are never trained on
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # NVIDIA's on Linux, and on Linux inside Windows
CPU_PRESET = "smollm2-135m-cpu"  # for machines without a GPU
WORKING_BASES = "Qwen/Qwen3-8B, Qwen/Qwen3-4B or mistralai/Mistral-7B-Instruct-v0.2"  # those of the presets
SCHEMA_VERSION: Literal[1] = 1
# Variables that steer the program rather than a run.
RESERVED_ENVIRONMENT = frozenset({"DITTO_HOME", "DITTO_PRESET", "DITTO_DEBUG"})

Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _split_names(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


# As a list, or as people write one on a command line: q_proj,v_proj.
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names), Field(min_length=1)]


class _TextLoader(yaml.SafeLoader):
    """YAML whose values stay as they are written, for the settings know their types.

    YAML would make a number of a commit (1234567, 012345, 1e7), a date of a name, and a text of 1e-6.
    """


_NULL = "tag:yaml.org,2002:null"
_TextLoader.yaml_implicit_resolvers = {
    start: [resolver for resolver in resolvers if resolver[0] == _NULL]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BaseSettings(_Section):
    """Which base model, and in which precision its weights are held."""

    id: str = Field("mistralai/Mistral-7B-Instruct-v0.2", min_length=1, description="hub id, local folder, or embedded")
    revision: str | None = Field(None, description="commit, tag or branch; none takes the newest and records it")
    quantize: Literal["auto", "nf4", "none"] = Field("auto", description="auto is nf4 on CUDA and none on a CPU")
    speed: Literal["auto", "plain", "graph"] = Field(
        "auto",
        description="plain turns all of our own speed off, with the same numbers up to rounding; "
        "graph replays sampling steps as one CUDA graph",
    )


class LoraSettings(_Section):
    """The adapter's shape."""

    r: int = Field(16, ge=1, le=512)
    alpha: int = Field(32, ge=1)
    dropout: Share = 0.05
    targets: Literal["all-linear"] | Names = ("q_proj", "k_proj", "v_proj", "o_proj")


class SftSettings(_Section):
    """Stage one: imitate the demonstrations."""

    learning_rate: float = Field(3e-5, gt=0)
    batch_size: int = Field(4, ge=1)
    max_steps: int = Field(30, ge=1)
    warmup_ratio: Share = 0.1
    stop_loss: float = Field(1.0, ge=0, description="end SFT when a batch's mean token loss falls below this")
    stop_share: float = Field(1.0, gt=0, le=1, description="... and below this share of the first batch's loss")


class MixtureSettings(_Section):
    """Weights of the paper's three kinds of comparison (section 3.2 and Table 5), and of the person's own pairs."""

    online: Share = 0.7
    replay: Share = 0.2
    inter_model: Share = 0.1
    given: Share = Field(0.2, description="of the pairs in pairs.jsonl; 0 where there are none")

    @model_validator(mode="after")
    def _check_total(self) -> Self:
        if not self.online + self.replay + self.inter_model:
            raise ValueError("all three weights of samples are 0: raise one, or take --method dpo for pairs alone")
        return self


class DpoSettings(_Section):
    """Stage two: the updates of each round."""

    learning_rate: float = Field(1e-6, gt=0)
    beta: float = Field(0.05, gt=0)
    warmup_ratio: Share = Field(0.25, description="share of all updates of the run over which the rate rises")
    comparisons_per_prompt: int = Field(3, ge=1, description="comparisons per demonstration in one update")
    max_grad_norm: float = Field(1.0, gt=0)
    micro_batch_tokens: int = Field(4096, ge=1, description="most tokens of one forward pass")
    sft_weight: float = Field(0.0, ge=0, description="weight of the demonstrations' mean token loss beside DPO's")
    per_token: bool = Field(False, description="compare mean log-probabilities per token instead of sums")
    mixture: MixtureSettings = MixtureSettings()


class RoundSettings(_Section):
    """How often the policy is sampled, and how many updates follow each time."""

    num: int = Field(4, ge=0)
    steps: int = Field(10, ge=1)
    reference: Literal["sft", "previous"] = Field(
        "sft", description="what DPO compares with: the SFT policy, or (SPIN) the policy that the round began with"
    )


class SamplingSettings(_Section):
    """How completions are drawn from the policy."""

    completions_per_prompt: int = Field(10, ge=0, description="0 samples nothing: plain DPO on the given pairs")
    temperature: float = Field(1.0, gt=0)
    length_factor: float = Field(1.5, gt=0, description="most new tokens, as a multiple of the longest demonstration")
    max_slots: int = Field(64, ge=1, le=64, description="sequences that are generated side by side")
    best_of: int = Field(1, ge=1, le=64, description="texts that `ditto sample` draws for each that it gives")
    with_texts: int = Field(0, ge=0, le=9, description="demonstrations that `ditto sample` shows before a prompt")


class Settings(_Section):
    """All that decides what a run computes; stored resolved in the adapter's record."""

    base: BaseSettings = BaseSettings()
    lora: LoraSettings = LoraSettings()
    sft: SftSettings = SftSettings()
    dpo: DpoSettings = DpoSettings()
    rounds: RoundSettings = RoundSettings()
    sampling: SamplingSettings = SamplingSettings()
    seed: int = Field(0, ge=0, lt=2**32)


class FolderFile(BaseModel):
    """`ditto.yaml` beside the texts: the adapter's name, the prompts, and any section of `Settings` in part."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = Field(SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    name: str | None = None
    preset: str | None = None
    watch_prompt: str | None = Field(None, min_length=1, description="the prompt whose samples are shown as it trains")
    prompts: dict[str, str] = Field({}, description="what texts answer, by their files; these win over all others")
    me: Annotated[list[str], BeforeValidator(_split_names)] = Field(
        [], description="the person's names, ids and mail addresses: of what several people wrote only these count"
    )
    redact: bool | Literal["names"] = Field(
        False, description="learn stand-ins in the place of personal data; `names`: of names and places too"
    )
    split: bool = Field(False, description="divide texts that are too long at paragraphs")
    base: dict[str, Any] = {}
    lora: dict[str, Any] = {}
    sft: dict[str, Any] = {}
    dpo: dict[str, Any] = {}
    rounds: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    seed: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, content: dict[Any, Any]) -> dict[Any, Any]:
        return {key: value for key, value in content.items() if value is not None}

    def overrides(self) -> dict[str, Any]:
        """The part that overrides a preset."""
        chosen = {key: getattr(self, key) for key in Settings.model_fields}
        return {key: value for key, value in chosen.items() if value not in (None, {})}


def preset_folder() -> Path:
    """Where the presets lie: inside the installed package, or `configs/` of a source checkout."""
    packaged = Path(__file__).parent / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "configs"


def resolved_quantize(quantize: str, *, is_cuda: bool) -> str:
    """`base.quantize` with `auto` decided: nf4 on CUDA, none on a CPU."""
    return ("nf4" if is_cuda else "none") if quantize == "auto" else quantize


def preset_names() -> list[str]:
    """Names that `--preset` takes."""
    return sorted(path.stem for path in preset_folder().glob("*.yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """The settings of a shipped preset, or of a YAML file when `name` ends in .yaml; InputError where there is none."""
    if name.endswith((".yaml", ".yml")):
        return read_yaml(Path(name))
    if name not in preset_names():
        raise InputError(f"Unknown preset {name!r}: the presets are {', '.join(preset_names())}.")
    return read_yaml(preset_folder() / f"{name}.yaml")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file; InputError where it holds none."""
    text = read_settings_text(path)
    try:
        content = yaml.load(text, Loader=_TextLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise InputError(f"{path} is not valid YAML{place}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold `key: value` lines, not a {type(content).__name__}.")
    return content


def read_settings_text(path: Path) -> str:
    """The characters of a file of settings; InputError where it is missing, no file, or not UTF-8."""
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        if not path.is_file():  # a pipe would block here for ever
            raise InputError(f"{path} is not a file: take it away, or make it a text file of settings.")
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): save it as UTF-8 text.") from None


def read_folder_file(folder: Path) -> FolderFile:
    """`ditto.yaml` of a demonstrations folder; all defaults when there is none, InputError where it cannot be used."""
    path = folder / FOLDER_FILE
    if not path.exists():
        return FolderFile()
    try:
        return FolderFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error, FolderFile)}") from None


def resolve_settings(
    preset: str, folder_file: FolderFile, environment: Mapping[str, str], flags: Mapping[str, Any]
) -> Settings:
    """Lay the layers over each other, strongest last, and check the result; InputError names the key that is wrong.

    `DITTO_DPO__BETA=0.1` in the environment sets dpo.beta. `flags` are dotted keys, as `--set dpo.beta=0.1` and the
    commands' own flags give them; None values are left out.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (f"preset {preset}", load_preset(preset)),
        (FOLDER_FILE, folder_file.overrides()),
        ("the environment", _nest(environment_settings(environment))),
        ("the arguments", _nest({key: value for key, value in flags.items() if value is not None})),
    ]
    merged: dict[str, Any] = {}
    for source, layer in layers:
        merged = _merge(merged, layer)
        try:
            settings = Settings.model_validate(merged)
        except ValidationError as error:
            raise InputError(f"In {source}: {_first_problem(error, Settings)}") from None
    return settings


def environment_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Dotted settings from `DITTO_SECTION__KEY` variables."""
    return {
        key.removeprefix("DITTO_").lower().replace("__", "."): _parse_value(value)
        for key, value in environment.items()
        if key.startswith("DITTO_") and key not in RESERVED_ENVIRONMENT
    }


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["dpo.beta=0.1"]` -> `{"dpo.beta": "0.1"}`; lists and mappings are read as YAML. InputError: not key=value."""
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--set {assignment!r} is not of the form key=value; try --set dpo.beta=0.1.")
        parsed[key.strip()] = _parse_value(value)
    return parsed


def _parse_value(value: str) -> Any:
    try:
        return yaml.load(value, Loader=_TextLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return value


def _nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, leaf = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise InputError(f"Setting {key!r} is given both as a value and as a section.")
        level[leaf] = value
    return nested


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """The first setting that is wrong, and all that it might have been instead."""
    known = _dotted_keys(root)

    def setting_of(problem: Mapping[str, Any]) -> str:
        place = ".".join(map(str, problem["loc"]))
        # pydantic adds the branches of a choice behind the setting.
        return next((key for key in known if place.startswith(f"{key}.")), place)

    problems = error.errors(include_url=False)
    setting = setting_of(problems[0])
    where = repr(setting)[1:-1]  # one printable line
    if problems[0]["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; the settings are {', '.join(known)}."
        return f"unknown setting {where}{hint}"
    branches = [problem["msg"].partition(", unable to")[0] for problem in problems if setting_of(problem) == setting]
    choices = " or ".join(dict.fromkeys(message.removeprefix("Input should be ") for message in branches))
    message = branches[0] if len(branches) == 1 else f"Input should be {choices}"
    return f"{where}: {message.removeprefix('Value error, ')}."


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += _dotted_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
