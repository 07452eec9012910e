"""`ditto serve --engine vllm`: the same API, written by a stand-in for vLLM; and by a real one, which VLLM names."""

import json
import os
import shlex
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

pytest_plugins = ["cli_helpers"]

REAL = os.environ.get("VLLM")
PROMPTS = [f"Write to Bo about the {word}." for word in ("hens", "boiler", "contract", "tea", "calendar")]


@pytest.fixture
def stand_in(tmp_path):
    """Path of a program that is asked as vLLM is, and the file where it notes what."""
    program = tmp_path / "vllm"
    notes = tmp_path / "notes"
    script = Path(__file__).with_name("fake_vllm.py")
    program.write_text(
        f'#!/bin/sh\nFAKE_VLLM_NOTES={shlex.quote(str(notes))} exec {shlex.quote(sys.executable)} {script} "$@"\n'
    )
    program.chmod(0o700)
    return program, notes


def noted(notes, kind):
    return [what for found, what in map(json.loads, notes.read_text().splitlines()) if found == kind]


@pytest.fixture
def serve():
    """Starts `ditto serve`; gives a client of it and the process."""
    import openai

    running = []

    def start(ditto, program, *arguments):
        address, process = ditto.serve("--engine", "vllm", "--vllm", program, *arguments)
        running.append(process)
        return openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=300), process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def text(client, voice, prompt="Write to Bo.", **more):
    messages = [{"role": "user", "content": prompt}]
    answer = client.chat.completions.create(model=voice, messages=messages, max_tokens=12, **more)
    return answer.choices[0].message.content


def test_every_voice_is_written_by_vllm_and_ends_with_it(trained, stand_in, serve):
    import openai

    program, notes = stand_in
    client, process = serve(trained, program)
    assert [model.id for model in client.models.list()][:2] == ["base", "alice"]
    rank = trained.record("alice").settings.lora.r
    written = {voice: text(client, voice) for voice in ("base", "alice", "bob", "alice:0.5", "alice:0.5+bob:0.5")}
    assert len(set(written.values())) >= 3
    assert len(noted(notes, "/v1/load_lora_adapter")) == 4
    assert text(client, "alice") == written["alice"]
    assert len(noted(notes, "/v1/load_lora_adapter")) == 4
    pieces = client.chat.completions.create(
        model="alice", messages=[{"role": "user", "content": "Write to Bo."}], stream=True
    )
    assert "".join(piece.choices[0].delta.content for piece in pieces) == written["alice"]
    ((arguments, environment),) = noted(notes, "start")
    assert environment == {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    assert "--port" not in arguments
    place = Path(arguments[arguments.index("--uds") + 1]).parent
    assert place.stat().st_mode & 0o777 == 0o700
    assert int(arguments[arguments.index("--max-lora-rank") + 1]) >= 2 * rank
    asked = noted(notes, "/v1/completions")[0]
    assert asked["stop_token_ids"]
    assert (asked["top_p"], asked["stream"], asked["return_token_ids"]) == (1.0, True, True)
    assert trained("forget", "bob", "--yes").code == 0
    with pytest.raises(openai.NotFoundError, match="Unknown adapter 'bob'"):
        text(client, "bob")
    assert len(noted(notes, "/v1/unload_lora_adapter")) == 2  # bob, and the mix with bob in it
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert not place.exists()
    kept = trained.home.rglob("adapter_config.json")
    assert {path.relative_to(trained.home).parts[0] for path in kept} == {"adapters"}
    with pytest.raises(openai.APIConnectionError):
        text(client, "base")


def test_a_vllm_that_does_not_start_is_said_in_one_line(trained, stand_in, tmp_path):
    program, _ = stand_in
    serve = ["serve", "--port", "0", "--device", "cpu", "--engine", "vllm"]
    result = trained(*serve, "--vllm", program, environment={"FAKE_VLLM_FAILS": "1"})
    assert result.code == 1
    assert "vLLM ended with exit code 1" in result.error
    assert "no memory" in (trained.home / "vllm.log").read_text()
    result = trained(*serve, "--vllm", tmp_path / "nothing")
    assert (result.code, "cannot be run" in result.error) == (2, True)
    result = trained(*serve, environment={"PATH": str(tmp_path / "nowhere")})
    assert (result.code, "--vllm PATH" in result.error) == (2, True)
    assert trained(*serve, "--quantize", "nf4").code == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(REAL is None, reason="VLLM does not name a vllm program; `make vllm` installs one")
def test_the_real_vllm_writes_what_the_builtin_engine_writes(ditto, serve):
    """Two random adapters, one that comes while it runs, and then more at once than it takes into a batch; greedy."""
    from conftest import shake
    from ditto_cli.cli.arguments import SampleOptions
    from ditto_cli.cli.sample import open_session
    from ditto_cli.config import LoraSettings
    from ditto_cli.serving.vllm import _ADAPTERS_AT_ONCE
    from ditto_cli.store import AdapterStore
    from ditto_cli.voices import Voice
    from test_cli_archive import make_record

    store = AdapterStore(ditto.home)
    session = open_session([Voice("base")], store, SampleOptions(base="embedded", device="cpu"))

    def add(name, seed):
        session.policy.add_adapter("new", LoraSettings(r=4, alpha=8), seed=seed)
        shake(session.policy, seed=seed)
        stage = {"stage": "sft", "seconds": 1.0, "metrics": {}, "sample": ""}
        with store.training(name) as kept:
            kept.add_stage("sft", session.policy.serialise("new"))
            kept.publish(make_record(session.policy, stages=[stage], published="sft"))
        session.policy.remove("new")

    def ours(voice, prompt):
        options = SampleOptions(temperature=0.0, max_new_tokens=12)
        return session.write(prompt, options, 0, Voice.parse(voice))[0][0].text

    add("cleo", 1)
    add("dora", 2)
    client, _ = serve(ditto, REAL, "--offline")
    voices = ("base", "cleo", "dora:0.5")
    same = [text(client, voice, prompt, temperature=0) == ours(voice, prompt) for voice in voices for prompt in PROMPTS]
    add("emil", 3)
    same += [text(client, "emil", prompt, temperature=0) == ours("emil", prompt) for prompt in PROMPTS]
    crowd = [f"voice{number}" for number in range(2 * _ADAPTERS_AT_ONCE)]
    for number, name in enumerate(crowd):
        add(name, 10 + number)
    with ThreadPoolExecutor(len(crowd)) as pool:
        texts = pool.map(lambda name: text(client, name, PROMPTS[0], temperature=0), crowd)
    at_once = [written == ours(name, PROMPTS[0]) for name, written in zip(crowd, texts, strict=True)]
    print(f"{sum(same)} of {len(same)} texts the same; of {len(crowd)} adapters asked at once {sum(at_once)}")
    assert sum(at_once) >= len(crowd) - 1
    assert sum(same) >= len(same) - 1  # two tokens may be equally likely up to rounding
