"""What the page asks its server for: its files, adapters, reports, texts that are kept, and pairs judged blind."""

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from ditto_cli.demonstrations.folder import read_pairs
from server_answers import problem_of

pytest_plugins = ["cli_helpers", "serving_helpers"]

WRITTEN = "hi bo - the hens are out. m"


@pytest.fixture
def evaluated(trained, tmp_path):
    """A store in which alice was evaluated against the base."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Thank Ed.\nWarn Flo.\n")
    command = ["eval", "--adapter", "alice", "--against", "base,sft", "--device", "cpu", "--prompts", prompts]
    result = trained(*command)
    assert result.code == 0, result.err
    return lambda *more, **options: trained(*command, *more, **options)


def pairs(client, *skipped):
    answer = client.post("/page/adapters/alice/pairs/next", json={"skipped": skipped})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_its_files_need_no_key_and_may_load_nothing_from_elsewhere(server):
    client = server(key="s3cret")
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text.replace("http-equiv", "")
        problem_of(client.get(path, headers={"host": "evil.example"}), 403)
        problem_of(client.post(path), 401)
    problem_of(client.get("/page/adapters"), 401)


def test_adapters_and_their_reports(server, evaluated):
    client = server()
    alice, bob = client.get("/page/adapters").json()
    assert alice == {
        "name": "alice",
        "stages": ["sft", "round1"],
        "published": alice["published"],
        "best_of": 1,
        "has_texts": True,
        "has_report": True,
    }
    assert bob["has_report"] is False
    assert "<title>" in client.get("/page/adapters/alice/report").text
    assert "ditto eval --adapter bob" in problem_of(client.get("/page/adapters/bob/report"), 400)
    problem_of(client.get("/page/adapters/nobody/report"), 404)
    problem_of(server(only=frozenset({"bob"})).get("/page/adapters/alice/report"), 404)


def test_an_edited_text_joins_the_persons_folder_with_its_prompt(server, trained, texts):
    assert trained.train(texts, "--name", "cleo").code == 0
    client, folder, place = server(), Path(trained.record("cleo").folder), "/page/adapters/cleo/texts"
    before = {path.name for path in folder.iterdir()}
    kept = {"prompt": "Write to Bo about the hens.", "text": "hi bo, hens got out again!", "written": WRITTEN}
    answer = client.post(place, json=kept)
    assert answer.status_code == 200
    (new,) = [path for path in folder.glob("*.md") if path.name not in before]
    assert answer.json()["message"].startswith(f"Added {new}")
    assert f"ditto train {folder} --name cleo" in answer.json()["message"]
    assert new.read_text() == "---\nprompt: Write to Bo about the hens.\n---\nhi bo, hens got out again!\n"
    (pair,) = read_pairs(folder)[0]
    assert (pair.chosen, pair.rejected) == (kept["text"], WRITTEN)
    of_other = {**kept, "text": "hi bo, of cleo", "written": "of bob", "writer": "bob"}
    assert "Added" in client.post(place, json=of_other).json()["message"]
    assert read_pairs(folder)[0] == [pair]
    for text, words in ((WRITTEN, "not changed"), (" \n", "left empty")):
        assert words in client.post(place, json={**kept, "text": text}).json()["message"]
    assert "in the folder already" in problem_of(client.post(place, json=kept), 400)
    folder.rename(folder.with_name("moved"))
    assert "not where they were" in problem_of(client.post(place, json=kept), 400)


def test_picks_are_judgements_of_the_person(server, evaluated, trained):
    client, seen = server(), []
    for number in range(1, 4):
        found = pairs(client)
        pair = found["pair"]
        assert (pair["number"], pair["total"], found["total"]) == (number, 4, 4)
        seen.append(pair)
        judged = {
            "id": pair["id"],
            "left": pair["left"],
            "right": pair["right"],
            "pick": ("left", "right", "same")[number - 1],
        }
        assert client.post("/page/adapters/alice/pairs", json=judged).status_code == 200
    assert len({pair["id"] for pair in seen}) == 3
    last = pairs(client)
    assert pairs(client, last["pair"]["id"])["pair"] is None
    tally = last["tally"]
    assert {row["rival"] for row in tally} <= {"base", "alice:sft", "sft"}
    assert sum(row["won"] + row["lost"] + row["same"] for row in tally) == 3
    # The same evaluation asks for what is left, and for nothing else.
    result = evaluated("--judge", "me", "--json", stdin="a\n")
    assert result.err.count("Which one sounds more like you?") == 1
    report = json.loads(result.out)
    assert pairs(client)["pair"] is None
    won = {row["rival"]: (row["won"], row["lost"], row["same"]) for row in pairs(client)["tally"]}
    assert sum(map(sum, won.values())) == 4
    assert report["run"]["judge"] == "me"


def test_a_pair_that_an_evaluation_has_replaced_is_refused(server, evaluated):
    client = server()
    pair = pairs(client)["pair"]
    ask = {"id": pair["id"], "left": pair["left"], "right": pair["right"] + "!", "pick": "left"}
    assert "an evaluation has come between" in problem_of(client.post("/page/adapters/alice/pairs", json=ask), 400)
    problem_of(client.post("/page/adapters/alice/pairs", json={**ask, "id": "99"}), 400)
    problem_of(client.post("/page/adapters/alice/pairs", json={**ask, "pick": "both"}), 400)


def test_without_an_evaluation_there_are_no_pairs(server):
    assert pairs(server()) == {"pair": None, "total": 0, "tally": []}


def test_a_damaged_file_of_pairs_is_as_none(server, evaluated, trained):
    (trained.home / "adapters" / "alice" / "evaluation" / "pairs.json").write_text('{"pairs": [{}]}')
    assert pairs(server())["pair"] is None
