"""A server as judge, by the real client against a server on loopback that behaves in every way servers do."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import heard
from ditto_cli.errors import DiskError, DittoError, InputError
from ditto_cli.evaluation.judges import Ledger, by_openai, question
from ditto_cli.evaluation.judges.by_openai import Endpoint, OpenAIJudge, Usage
from judge_helpers import (
    ANSWER_A,
    ANSWER_B,
    DEMONSTRATIONS,
    INJECTIONS,
    completion,
    error,
    pair,
    serving,
    texts_asked,
)

pytest.importorskip("openai")

PAIRS = [pair(f"ok {n} x", f"Dear Sir, {n}.", prompt_id=str(n)) for n in range(6)]
# Everything in an environment that OpenAI's client or the proxies before it listen to.
_FOREIGN = ("OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)  # nobody waits for the client's own pauses
    for name, value in {"TIMEOUT_SECONDS": 5.0, "NUM_WORKERS": 1, "MAX_RETRIES": 4}.items():
        monkeypatch.setattr(by_openai, name, value)


@pytest.fixture
def path(tmp_path):
    """Of a ledger."""
    return tmp_path / "answers.jsonl"


@pytest.fixture
def release():
    """Set when the test is over; a server may hold its answers back until then."""
    event = threading.Event()
    yield event
    event.set()


class Run:
    """A judge with all that it was told to do and say; with a path it keeps its answers there."""

    def __init__(self, url, path=None, **settings):
        for name, value in settings.items():  # of the module; the fixture undoes it
            setattr(by_openai, name.upper(), value)
        self.notes, self.done, self.threads = [], [], set()
        self.judge = OpenAIJudge(Endpoint(url, "m"), DEMONSTRATIONS, Ledger(path))

    def on_judged(self, number):
        self.threads.add(threading.current_thread())
        self.done.append(number)

    def __call__(self, pairs):
        with heard(self.notes):
            return self.judge.judge(pairs, on_judged=self.on_judged)

    def scores(self, pairs):
        return [judgement.score for judgement in self(pairs)]

    def error(self, kind=DittoError):
        """The message of the error that ends the run: one line without any of the texts."""
        with pytest.raises(DittoError) as caught:
            self(PAIRS)
        assert type(caught.value) is kind
        assert caught.value.exit_code == {DittoError: 1, InputError: 2}[kind]
        message = str(caught.value)
        assert "\n" not in message
        for private in ("hi bo", "no can do", "ok 0 x", "Dear Sir"):
            assert private not in message
        return message


def by_style(body, number=0):
    """An honest judge: the author ends with an x."""
    a, b = texts_asked(body)
    assert a.endswith("x") != b.endswith("x")
    return ANSWER_A if a.endswith("x") else ANSWER_B


def in_turn(*answers):
    """One answer after the other; the last one for ever."""
    return lambda body, number: answers[min(number, len(answers)) - 1]


# Asking


def test_an_honest_judge_is_asked_in_both_orders_and_agrees_with_itself():
    mirrored = [pair(one.second.text, one.first.text, prompt_id="m") for one in PAIRS[:2]]
    with serving(by_style) as server:
        run = Run(server.url)
        assert run.scores([*PAIRS, *mirrored]) == [1.0] * 6 + [0.0] * 2
        # The mirrored pairs ask nothing new.
        asked = [body["messages"][0]["content"] for body in server.bodies]
    expected = [question(DEMONSTRATIONS, one, swapped=order) for one in PAIRS for order in (False, True)]
    assert asked == expected
    assert run.judge.position_bias == 0.0
    assert run.judge.usage == Usage(prompt_tokens=1200, completion_tokens=120, num_questions=12, num_cached=0)
    # A pair is judged once both of its questions are answered; the first two answers also judge the first mirrored one.
    assert run.done == [0, 0, 2, 2, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    assert run.notes == []


def test_a_request_holds_what_it_must_and_no_more():
    with serving(by_style) as server:
        Run(server.url)(PAIRS[:1])
        (body, _), (headers, _), (path, _) = server.bodies, server.headers, server.paths
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": question(DEMONSTRATIONS, PAIRS[0], swapped=False)}],
        "temperature": 0,
        "response_format": {"type": "json_object"},
        "max_completion_tokens": 300,
    }
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["authorization"] == "Bearer key"
    standard = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"}
    # How often it was asked before, and how long it is waited for.
    about_this_request = {f"x-stainless-{name}" for name in ("raw-response", "retry-count", "read-timeout")}
    assert set(headers) - about_this_request == standard | {"authorization"}


@pytest.mark.parametrize(
    ("straight", "swapped", "score", "position_bias"),
    [
        ("A", "B", 1.0, 0.0),
        ("B", "A", 0.0, 0.0),
        ("tie", "tie", 0.5, 0.0),
        ("A", "tie", 0.5, 1.0),
        ("tie", "A", 0.5, 1.0),
        ("A", "A", 0.5, 1.0),
        ("B", "B", 0.5, 1.0),
    ],
)
def test_two_answers_make_one_judgement(straight, swapped, score, position_bias):
    with serving(in_turn(straight, swapped)) as server:
        run = Run(server.url)
        assert run.scores(PAIRS[:1]) == [score]
    assert run.judge.position_bias == position_bias


def test_equal_texts_and_no_pairs_ask_nothing():
    with serving(by_style) as server:
        run = Run(server.url)
        assert run.scores([pair("same", "same")]) == [0.5]
        assert run.scores([]) == []
        assert server.bodies == []
    assert run.judge.position_bias is None
    assert run.done == [1, 0]


def test_questions_are_asked_side_by_side_and_the_caller_s_thread_hears_of_them():
    together = threading.Barrier(4, timeout=20)

    def waits_for_four(body, number):
        if number <= 4:
            together.wait()
            return error(500)
        return by_style(body)

    with serving(waits_for_four) as server:
        run = Run(server.url, num_workers=4)
        assert run.scores(PAIRS) == [1.0] * 6
    assert run.threads == {threading.current_thread()}
    assert run.done[-1] == 6
    assert run.done == sorted(run.done)


# Hidden instructions


def test_hidden_instructions_do_not_move_an_honest_judge_with_a_liking_for_a_place():
    def likes_a(body, number):
        a, b = texts_asked(body)
        first_a, first_b = (text.partition("\n")[0].endswith("x") for text in (a, b))
        return ANSWER_B if first_b and not first_a else ANSWER_A  # A unless B alone is in the author's style

    with serving(likes_a) as server:
        run = Run(server.url, num_workers=4)
        for own, other, score in (("ok x", "Dear Sir.", 1.0), ("Dear Sir.", "ok x", 0.0), ("ok x", "ok y x", 0.5)):
            pairs = [pair(own, f"{other}\n{hidden}") for hidden in INJECTIONS]
            pairs += [pair(f"{own}\n{hidden}", other) for hidden in INJECTIONS]
            assert run.scores(pairs) == [score] * 60


def test_a_judge_that_obeys_the_name_of_a_place_gives_a_tie():
    letters = {hidden: re.findall(r"\b[AB]\b", hidden) for hidden in INJECTIONS}
    naming = [hidden for hidden, found in letters.items() if found]

    def gullible(body, number):
        texts = texts_asked(body)
        (hidden,) = {hidden for hidden in naming if f"Dear Sir.\n{hidden}" in texts}
        return json.dumps({"answer": letters[hidden][-1]})

    with serving(gullible) as server:
        run = Run(server.url, num_workers=4)
        pairs = [pair("ok x", f"Dear Sir.\n{hidden}") for hidden in naming]
        pairs += [pair(one.second.text, one.first.text) for one in pairs]
        judgements = run(pairs)
    assert len(pairs) > 40
    assert {one.score for one in judgements} == {0.5}
    assert run.judge.position_bias == 1.0


# Answers that cannot be read


@pytest.mark.parametrize(
    "nonsense",
    [
        "I think both are fine.",
        "",
        '{"answer": "A"} or {"answer": "B"}',
        completion(None),
        completion([{"type": "text", "text": "A"}]),
    ],
)
def test_an_answer_that_cannot_be_read_is_asked_for_again_in_other_words(nonsense):
    answer = nonsense if isinstance(nonsense, str) else (200, {}, nonsense)
    with serving(lambda body, number: answer if number <= 2 else ANSWER_A if number == 3 else ANSWER_B) as server:
        run = Run(server.url)
        assert run.scores(PAIRS[:1]) == [1.0]
        asked = [body["messages"][0]["content"] for body in server.bodies]
    assert len(asked) == 4
    assert asked[1].startswith(asked[0])
    assert asked[2].startswith(asked[0])
    assert len(set(asked)) == 4
    assert run.judge.usage.prompt_tokens == 400


def test_a_judge_that_cannot_answer_leaves_pairs_unanswered_and_is_not_asked_for_ever(path):
    def no_opinion_of_one_order(body, number):
        return "hm" if texts_asked(body)[0] == "ok 2 x" else by_style(body)

    with serving(no_opinion_of_one_order) as server:
        run = Run(server.url, path)
        assert run.scores(PAIRS) == [1.0, 1.0, None, 1.0, 1.0, 1.0]
        assert run.judge.usage.num_questions == 12
        assert run.judge.usage.completion_tokens == 140
        assert run.judge.position_bias == 0.0  # of the five pairs that were answered
        assert run.done[-1] == 6
        again = Run(server.url, path)
        assert again.scores(PAIRS) == [1.0, 1.0, None, 1.0, 1.0, 1.0]
        assert server.num_paid == 14
    assert again.judge.usage == Usage(num_cached=12)
    assert again.done == [6]


def test_an_answer_that_was_all_thought_lifts_the_length_limit():
    def thinks(body, number):
        if "max_completion_tokens" in body:
            return 200, {}, completion("", finish_reason="length", completion_tokens=300)
        return by_style(body)

    with serving(thinks) as server:
        run = Run(server.url)
        assert run.scores(PAIRS) == [1.0] * 6
        assert ["max_completion_tokens" in body for body in server.bodies] == [True] + [False] * 12
    assert len(run.notes) == 1
    assert "max_completion_tokens" in run.notes[0]
    assert run.judge.usage.completion_tokens == 300 + 120


@pytest.mark.parametrize("usage", [None, {}, "many", {"prompt_tokens": None, "completion_tokens": None}])
def test_tokens_that_the_server_does_not_count_are_none(usage):
    with serving(lambda body, number: (200, {}, {**completion(by_style(body)), "usage": usage})) as server:
        run = Run(server.url)
        assert run.scores(PAIRS[:1]) == [1.0]
    assert run.judge.usage == Usage(0, 0, 2, 0)


# Servers that are busy, slow or broken


def test_a_busy_server_gets_the_pause_that_it_asks_for():
    arrived = []

    def busy_at_first(body, number):
        arrived.append(time.monotonic())
        return error(429, headers={"Retry-After": "1"}) if number == 1 else by_style(body)

    with serving(busy_at_first) as server:
        assert Run(server.url).scores(PAIRS[:1]) == [1.0]
        assert server.num_paid == 2
    assert arrived[1] - arrived[0] >= 1.0


@pytest.mark.parametrize(
    ("answer", "num_requests"),
    [
        (error(429), 8),
        (error(429, code="insufficient_quota"), 8),
        (error(429, headers={"Retry-After": "3600"}), 1),
    ],
)
def test_a_server_that_is_done_for_today_is_left_alone(answer, num_requests):
    with serving(in_turn(answer)) as server:
        message = Run(server.url, max_retries=7).error()
        assert len(server.bodies) == num_requests
    assert "takes no more questions for now (status 429" in message


@pytest.mark.parametrize("trouble", [*(error(status) for status in (500, 502, 503, 408, 409)), None])  # None: hangs up
def test_trouble_that_passes_is_waited_for(trouble):
    with serving(in_turn(trouble, trouble, "A", trouble, "B")) as server:
        assert Run(server.url).scores(PAIRS[:1]) == [1.0]
        assert len(server.bodies) == 5


@pytest.mark.parametrize(
    "answer",
    [
        "{broken",
        '{"a":' + "[" * 100_000,
        {"error": {"message": "upstream"}},
        {"choices": None},
        {"choices": []},
        {"choices": [{"text": "A"}]},
    ],
)
def test_what_is_no_completion_leaves_the_pair_open(path, answer):
    with serving(lambda body, number: (200, {}, answer) if number == 1 else by_style(body)) as server:
        assert Run(server.url, path).scores(PAIRS) == [None] + [1.0] * 5
        again = Run(server.url, path)
        assert again.scores(PAIRS) == [1.0] * 6
        assert again.judge.usage.num_questions == 1


def test_questions_that_always_fail_stay_open_and_the_run_goes_on(path):
    def chokes(body, number):
        return error(500, "ok 2 x") if {"ok 2 x", "ok 4 x"} & set(texts_asked(body)) else by_style(body)

    with serving(chokes) as server:
        assert Run(server.url, path, max_retries=1).scores(PAIRS) == [1.0, 1.0, None, 1.0, None, 1.0]
        server.behaviour = by_style  # it is mended: only what failed is asked again
        again = Run(server.url, path)
        assert again.scores(PAIRS) == [1.0] * 6
        assert again.judge.usage.num_questions == 4


def test_a_server_that_fails_three_questions_in_a_row_ends_the_run():
    with serving(lambda body, number: by_style(body) if number <= 3 else error(500)) as server:
        assert "failed 3 questions in a row (status 500)" in Run(server.url, max_retries=1).error()
        # The worker may have begun with one more before it heard of the end.
        assert 3 + 3 * 2 <= len(server.bodies) <= 3 + 4 * 2


def test_a_slow_server_is_asked_again(release):
    def slow_at_first(body, number):
        if number == 1:
            release.wait(20)
        return by_style(body)

    with serving(slow_at_first) as server:
        assert Run(server.url, timeout_seconds=0.5).scores(PAIRS[:1]) == [1.0]


def test_a_server_that_never_answers_ends_the_run(release):
    with serving(lambda body, number: release.wait(20) and None) as server:
        assert "no answer within 0.2 s" in Run(server.url, timeout_seconds=0.2, max_retries=1).error()


def test_a_server_that_is_not_there_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    message = Run(url, num_workers=4).error()
    for words in (url, "cannot be reached", "refused"):
        assert words in message


# Wrong settings


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            error(401, "Incorrect API key provided: key"),
            "refuses access (status 401): check the key in $OPENAI_API_KEY",
        ),
        (error(403), "refuses access (status 403): check the key in $OPENAI_API_KEY"),
        (error(404), "knows no model 'm', or is not at"),
    ],
)
def test_wrong_settings_are_told_at_once(answer, words):
    with serving(in_turn(answer)) as server:
        message = Run(server.url).error(InputError)
        assert len(server.bodies) == 1
    assert words in message
    assert "Bearer" not in message
    assert "key:" not in message


@pytest.mark.parametrize("answer", [(200, {"Content-Type": "text/html"}, "<html>Welcome</html>"), (200, {}, '"hello"')])
def test_another_kind_of_server_is_told_after_three_questions(answer):
    with serving(in_turn(answer)) as server:
        assert "no chat completion; the address often ends in /v1" in Run(server.url).error()
        assert 3 <= len(server.bodies) <= 4


def test_texts_are_not_sent_to_where_a_server_points():
    with serving(by_style) as elsewhere:
        moved = (307, {"Location": f"{elsewhere.url}/chat/completions"}, "")
        with serving(in_turn(moved)) as server:
            assert "(status 307)" in Run(server.url).error(InputError)
        assert elsewhere.bodies == []


@pytest.mark.parametrize(
    ("refused", "answer"),
    [
        ("response_format", error(400, "'response_format' is not supported", param="response_format")),
        ("response_format", error(400, "bad request")),
        ("response_format", (422, {}, {"detail": "Unexpected fields in the request: {'response_format'}"})),
        ("temperature", error(400, "Unsupported value: 'temperature' does not support 0", param="temperature")),
        ("max_completion_tokens", error(400, "unknown field max_completion_tokens")),
    ],
)
def test_a_setting_that_the_server_refuses_is_left_out_from_then_on(refused, answer):
    with serving(lambda body, number: answer if refused in body else by_style(body)) as server:
        run = Run(server.url)
        assert run.scores(PAIRS) == [1.0] * 6
        assert [refused in body for body in server.bodies] == [True] + [False] * 12
    assert len(run.notes) == 1
    assert run.notes[0].endswith("does without response_format, temperature, max_completion_tokens from here on.")


def test_a_question_that_is_too_long_for_the_server_stays_open():
    def short_memory(body, number):
        if "ok 2 x" in texts_asked(body):
            return error(400, "This model's maximum context length is 10: ok 2 x", code="context_length_exceeded")
        return by_style(body)

    with serving(short_memory) as server:
        run = Run(server.url)
        assert run.scores(PAIRS) == [1.0, 1.0, None, 1.0, 1.0, 1.0]
        assert "temperature" in server.bodies[-1]  # leaving it out did not help, so it is back
    assert run.notes == []


def test_what_a_server_repeats_of_the_texts_is_never_shown():
    def parrot(body, number):
        return 400, {}, {"error": {"message": json.dumps(body), "code": "ok 0 x!", "type": "hi bo"}}

    with serving(parrot) as server:
        run = Run(server.url)
        assert "failed 3 questions in a row (status 400)" in run.error()
    assert "ok 0 x" not in "".join(run.notes)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    run = Run("http://127.0.0.1:9/v1")
    assert "pip install 'ditto-cli[openai]'" in run.error(InputError)
    assert run.judge.describe_cost(PAIRS).num_questions == 12  # needs no package


# What the server gets to know


def sent_headers():
    with serving(by_style) as server:
        Run(server.url)(PAIRS[:1])
        return {name.lower(): value for name, value in server.headers[0].items()}


def test_settings_for_openai_s_servers_go_with_a_key_only(monkeypatch):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: s\nAuthorization: Bearer other")
    for nothing in ("", " "):
        monkeypatch.setenv("OPENAI_API_KEY", nothing)
        headers = sent_headers()
        assert not {"openai-organization", "openai-project", "x-secret"} & set(headers)
        assert headers["authorization"] == "Bearer none"
    monkeypatch.setenv("OPENAI_API_KEY", " own\n")
    headers = sent_headers()
    assert (headers["openai-organization"], headers["openai-project"], headers["x-secret"]) == ("org", "project", "s")
    assert headers["authorization"] == "Bearer own"


def test_a_proxy_is_used_for_other_machines_and_never_before_this_one(monkeypatch):
    with serving(by_style) as proxy, serving(by_style) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url[:-3])
        assert Run(server.url).scores(PAIRS[:1]) == [1.0]
        assert proxy.bodies == []
        assert Run("http://judge.example/v1").scores(PAIRS[:1]) == [1.0]
        assert proxy.paths == ["http://judge.example/v1/chat/completions"] * 2
        assert len(server.bodies) == 2


def test_a_proxy_that_cannot_be_used_is_told(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy")
    assert "proxy" in Run("http://judge.example/v1").error(InputError)


@pytest.mark.parametrize(
    ("base_url", "leaves"),
    [
        ("http://localhost:8000/v1", False),
        ("http://LOCALHOST", False),
        ("https://127.0.0.1/v1", False),
        ("http://127.8.9.10:1", False),
        ("http://[::1]:8000/v1", False),
        ("http://[::ffff:10.0.0.1]/v1", True),
        ("http://0.0.0.0:8000/v1", True),
        ("http://192.168.1.2/v1", True),
        ("https://api.openai.com/v1", True),
        ("http://localhost.example/v1", True),
        ("http://127.0.0.1.example/v1", True),
    ],
)
def test_only_loopback_stays_on_this_machine(base_url, leaves):
    assert Endpoint(base_url, "m").leaves_machine is leaves


@pytest.mark.parametrize(
    "base_url",
    [
        *("", "localhost:8000", "//localhost/v1", "ftp://host/v1", "http://", "http://[::1", "http://host?key=1"),
        *(
            "http://localhost@judge.example/v1",
            "http://judge.example\\@localhost/v1",
            "http://judge.example#@localhost",
        ),
        *("http://h ost/v1", "http://user:secret@host/v1", "http://host/v1?key=1", "http://host/v1#a"),
        *("http://[::g]/v1", "http://hö.st/v1", "http://host\\v1"),
        *("http://[1::2::3]/v1", "http://host:99999/v1", "http://host:0/v1"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(base_url):
    with pytest.raises(InputError, match=r"address .* cannot be used") as caught:
        Endpoint(base_url, "m")
    assert "secret" not in str(caught.value)


def test_the_name_tells_model_and_server():
    assert Run("http://localhost:8000/v1").judge.name == "openai (m at localhost:8000)"


# Cost


def test_the_cost_is_told_before_and_after(path):
    with serving(by_style) as server:
        run = Run(server.url, path)
        run(PAIRS[:2])
        cost = run.judge.describe_cost([*PAIRS, pair("same", "same")])
        assert len(server.bodies) == 4
        lengths = [len(question(DEMONSTRATIONS, one, swapped=order)) for one in PAIRS[2:] for order in (False, True)]
        assert cost == Usage(sum(-(-length // 4) for length in lengths), 8 * 50, 8, 4)
        run(PAIRS)
    assert run.judge.usage == Usage(prompt_tokens=800, completion_tokens=80, num_questions=8, num_cached=4)
    # 800 tokens at 5 and 80 at 10 for a million.
    assert run.judge.usage.money(5.0, 10.0) == pytest.approx((800 * 5 + 80 * 10) / 1e6)


def test_letters_of_several_bytes_cost_more():
    plain, greek = pair("a" * 400, "b"), pair("α" * 400, "b")
    run = Run("http://127.0.0.1:9/v1")
    estimates = [run.judge.describe_cost([one]).prompt_tokens for one in (plain, greek)]
    assert estimates[1] - estimates[0] == 2 * 400 // 4


# Runs that break


class Dying:
    """An honest server that dies after some answers: from then on it hangs up."""

    def __init__(self, num_answers):
        self.left = num_answers
        self.lock = threading.Lock()

    def __call__(self, body, number):
        with self.lock:
            self.left -= 1
            return by_style(body) if self.left >= 0 else None


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("num_answers", [0, 1, 5, 11])
def test_a_broken_run_goes_on_and_no_question_is_paid_twice(path, workers, num_answers):
    with serving(Dying(num_answers)) as server:
        broken = Run(server.url, path, num_workers=workers)
        assert "cannot be reached" in broken.error()
        assert server.num_paid == num_answers
        server.behaviour = by_style  # started again
        assert Run(server.url, path, num_workers=workers).scores(PAIRS) == [1.0] * 6
        assert server.num_paid == 12
        again = Run(server.url, path, num_workers=workers)
        assert again.scores(PAIRS) == [1.0] * 6
        assert server.num_paid == 12
    assert again.judge.usage == Usage(num_cached=12)
    assert not any(text in path.read_text() for text in ("Dear", "ok 0", "hi bo"))


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_ends_at_once_and_keeps_what_was_answered(path, release):
    pressed_at = []

    def interrupted(body, number):
        if number == 6:
            deadline = time.monotonic() + 20
            while path.read_bytes().count(b"\n") < 5 and time.monotonic() < deadline:
                time.sleep(0.01)
            pressed_at.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        if number >= 6:
            release.wait(60)
        return by_style(body)

    with serving(interrupted) as server:
        run = Run(server.url, path, timeout_seconds=40.0)
        with pytest.raises(KeyboardInterrupt):
            run(PAIRS)
        assert time.monotonic() - pressed_at[0] < 30  # nobody waited for the answer under way
        again = Run(server.url, path)
        cost = again.judge.describe_cost(PAIRS)
        assert (cost.num_questions, cost.num_cached) == (7, 5)


def test_answers_that_arrive_while_ctrl_c_is_heard_are_kept(path, release):
    together = threading.Barrier(4, timeout=20)
    calls = []

    def four_at_once(body, number):
        together.wait() if number <= 4 else release.wait(60)
        return by_style(body)

    with serving(four_at_once) as server:

        def pressed_after_the_first(number):
            calls.append(number)
            if len(calls) == 2:  # the first call tells of what was known before
                while server.num_paid < 4:
                    time.sleep(0.01)
                time.sleep(0.5)  # the other three answers have arrived and wait
                raise KeyboardInterrupt

        judge = Run(server.url, path, num_workers=4).judge
        with pytest.raises(KeyboardInterrupt):
            judge.judge(PAIRS, on_judged=pressed_after_the_first)
    assert len(path.read_text().splitlines()) == 4


def test_an_interrupted_process_does_not_wait_for_answers(release):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_openai_judge import PAIRS, Run
calls = []
def pressed_after_the_first(number):
    calls.append(number)
    if len(calls) == 2:
        raise KeyboardInterrupt
Run(sys.argv[1], num_workers=2, timeout_seconds=50.0).judge.judge(PAIRS, on_judged=pressed_after_the_first)
"""

    def answers_one(body, number):
        if number > 1:
            release.wait(60)
        return by_style(body)

    with serving(answers_one) as server:
        done = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=40)
    assert "KeyboardInterrupt" in done.stderr


def test_an_answer_that_cannot_be_kept_ends_the_run(path):
    with serving(by_style) as server:
        run = Run(server.url, path)
        path.mkdir()  # in the way
        with pytest.raises(DiskError, match="cannot be written"):
            run(PAIRS)
        assert server.num_paid < 12


def test_another_server_model_or_question_is_another_judge(path):
    with serving(by_style) as server:
        Run(server.url, path)(PAIRS[:1])
    for endpoint, demonstrations, num_known in (
        (Endpoint(f"{server.url}/", "m"), DEMONSTRATIONS, 2),  # the same one
        (Endpoint("http://127.0.0.1:9/v1", "m"), DEMONSTRATIONS, 0),
        (Endpoint(server.url, "n"), DEMONSTRATIONS, 0),
        (Endpoint(server.url, "m"), DEMONSTRATIONS[:1], 0),
    ):
        judge = OpenAIJudge(endpoint, demonstrations, Ledger(path))
        assert judge.describe_cost(PAIRS[:1]).num_cached == num_known
