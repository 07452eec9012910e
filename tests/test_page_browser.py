"""The page as a person uses it, in a real browser: writing, keeping, comparing blind, with and without the key."""

import re
import shutil
import signal
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")]
pytest_plugins = ["cli_helpers"]

WAIT_MS = 60_000


@pytest.fixture(scope="module")
def chromium():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(ditto, texts, tmp_path):
    """A server with an adapter that was evaluated; gives its address."""
    assert ditto.train(texts, "--name", "alice", "--set", "sampling.best_of=2").code == 0
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Thank Ed.\nWarn Flo.\n")
    command = ["eval", "--adapter", "alice", "--against", "base", "--device", "cpu", "--prompts", prompts]
    assert ditto(*command).code == 0
    running = []

    def start(*arguments):
        address, process = ditto.serve(*arguments)
        running.append(process)
        return address.removesuffix("/v1").replace("0.0.0.0", "127.0.0.1")

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture
def opened(chromium, served):
    """Opens the page; whatever the browser complains of, or asks of another server, fails the test."""
    problems, pages = [], []

    def open_page(*arguments, **options):
        address = served(*arguments)
        page = chromium.new_page(**options)
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(address) or problems.append(request.url))
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [problem for problem in problems if "401" not in problem] == []


def write(page, prompt="Write to Bo."):
    page.get_by_label("What should be written?").fill(prompt)
    page.get_by_role("button", name="Write", exact=True).last.click()
    page.get_by_text("Done.", exact=True).wait_for()
    return page.locator("#texts article")


def test_voices_write_side_by_side_and_strength_counts(opened):
    page = opened()
    page.get_by_label("best of several").uncheck()
    page.get_by_label("Strength of alice", exact=True).fill("0.5")
    cards = write(page)
    assert cards.locator("h2").all_text_contents() == ["base", "alice:0.5"]
    assert all(cards.locator(".text").all_text_contents())
    page.get_by_label("base", exact=True).uncheck()
    page.get_by_label("best of several").check()
    page.get_by_label("Strength of alice", exact=True).fill("1")
    cards = write(page)
    assert cards.locator("h2").all_text_contents() == ["alice"]
    assert cards.locator(".note").first.text_content().startswith("the best of 8")
    page.get_by_label("alice", exact=True).uncheck()
    page.get_by_role("button", name="Write", exact=True).last.click()
    page.get_by_text("Choose at least one voice.").wait_for()


def test_an_edited_text_is_kept(opened, texts):
    page = opened()
    page.get_by_label("best of several").uncheck()
    card = write(page).last
    card.get_by_role("button", name="Edit and keep").click()
    area = card.get_by_label("The text, as you would have written it")
    card.get_by_role("button", name="Keep as a text of").click()
    page.locator("#status", has_text="not changed").wait_for()
    area.fill("hi bo <b>tea</b> at five?")
    card.get_by_role("button", name="Keep as a text of").click()
    page.locator("#status", has_text="Added").wait_for()
    kept = [path.read_text() for path in Path(texts).glob("*.md")]
    assert "---\nprompt: Write to Bo.\n---\nhi bo <b>tea</b> at five?\n" in kept


def test_two_clicks_judge_a_pair(opened, ditto):
    page = opened()
    page.get_by_role("button", name="Compare blind").click()
    page.get_by_text("Pair 1 of 2").wait_for()
    assert "alice" not in page.locator("#pair").inner_text()
    page.get_by_role("button", name="This one").first.click()
    page.get_by_text("Pair 2 of 2").wait_for()
    page.keyboard.press("0")
    page.get_by_text("You have seen all 2 pairs.").wait_for()
    page.get_by_text("What you have said so far").click()
    (row,) = page.locator("#tally tbody tr").all_inner_texts()
    assert sorted(map(int, re.findall(r"\b\d\b", row.partition("base")[2]))) == [0, 1, 1]
    answers = (ditto.home / "adapters" / "alice" / "evaluation" / "answers-me.jsonl").read_text()
    assert answers.count("\n") == 2


def test_a_server_with_a_key_asks_for_it(opened, ditto):
    page = opened("--host", "0.0.0.0")
    page.get_by_text("This server asks for its key").wait_for()
    page.get_by_label("The key that").fill("wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_label("The key that").fill((ditto.home / "server-key").read_text())
    page.get_by_role("button", name="Open").click()
    assert all(write(page).locator(".text").all_text_contents())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_everything_has_a_name(opened, scheme, tmp_path):
    page = opened(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    write(page)
    for view in ("Write", "Compare blind", "Adapters"):
        page.get_by_role("navigation").get_by_role("button", name=view).click()
        page.wait_for_timeout(300)
        assert page.locator("html").evaluate("element => element.scrollWidth") == 360
        tree = page.locator("body").aria_snapshot()
        assert not re.search(r"- (button|checkbox|slider|textbox|combobox)(?: \[.*\])?:?$", tree, re.MULTILINE), tree
