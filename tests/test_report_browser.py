"""The page in a real browser: how it looks in its widths and colour schemes, and that it can load and run nothing.

A frame of our own shows the page in a given width and measures it from outside, since the page itself runs no script.
"""

import html
import json
import re
import shutil
import socketserver
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from ditto_cli.evaluation.html import render_html
from eval_fixtures import crowded_report, realistic_report, smallest_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")]
REPORTS = {make.__name__: make for make in (realistic_report, smallest_report, crowded_report)}

# What is measured: width of the document, what was loaded, and texts that are cut off outside of a box that scrolls.
MEASURE = """
const page = frame.contentDocument, found = {cut: []};
page.querySelectorAll('details').forEach(details => details.open = true);
found.width = page.documentElement.scrollWidth;
found.height = page.documentElement.scrollHeight;
found.loaded = frame.contentWindow.performance.getEntriesByType('resource').map(entry => entry.name);
found.ground = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
found.title = page.title;
for (const element of page.querySelectorAll('h1, h2, h3, h4, p, li, dt, dd, th, td, figcaption, summary, .written'))
  if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth) found.cut.push(element.textContent);
document.getElementById('found').textContent = JSON.stringify(found);
"""


@pytest.fixture
def browser(tmp_path):
    """Runs headless Chromium on a page and gives the document that it ended with."""

    def run(page, *arguments):
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--disable-background-networking", "--hide-scrollbars", "--virtual-time-budget=3000"]
        done = subprocess.run([*command, *arguments, file.as_uri()], capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        return done.stdout.decode()

    return run


def measured(browser, page, width, *arguments):
    frame = f"""<!DOCTYPE html><meta charset="utf-8"><body style="margin: 0"><pre id="found"></pre>
        <iframe id="frame" style="width: {width}px; height: 900px; border: 0" srcdoc="{html.escape(page)}"></iframe>
        <script>frame.onload = () => {{ {MEASURE.replace("WIDTH", str(width))} }}</script>"""
    document = browser(frame, "--window-size=1400,1000", "--dump-dom", *arguments)
    return json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', document, re.DOTALL)[1]))


@pytest.mark.parametrize("width", [360, 390, 800, 1200])
@pytest.mark.parametrize("name", REPORTS)
def test_the_page_fits_every_width(browser, name, width):
    found = measured(browser, render_html(REPORTS[name]()), width)
    assert found["width"] == width
    assert found["height"] > 1000
    assert found["cut"] == []
    assert found["loaded"] == []


def test_light_and_dark(browser):
    page = render_html(realistic_report())
    grounds = [
        measured(browser, page, 800, f"--blink-settings=preferredColorScheme={scheme}")["ground"] for scheme in (1, 0)
    ]
    light, dark = (sum(map(int, re.findall(r"\d+", ground))) for ground in grounds)
    assert light > 3 * 200
    assert dark < 3 * 60


@pytest.mark.parametrize(("width", "height"), [(1200, 1600), (500, 900)])
def test_a_screenshot(browser, tmp_path, width, height):
    picture = tmp_path / "page.png"
    browser(render_html(realistic_report()), f"--screenshot={picture}", f"--window-size={width},{height}")
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (width, height)
    assert len(content) > 30_000  # an empty page of this size has under 10 kB


@pytest.fixture
def listener():
    """A web server on this machine that notes what is asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Nothing on stderr."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_even_what_is_injected_cannot_load_or_run(browser, listener):
    address, asked = listener
    injected = (
        f"<script>document.title = 'run'</script><img src='{address}/image' onerror=\"document.title = 'run'\">"
        f"<link rel='stylesheet' href='{address}/style'><style>@import '{address}/import';"
        f"body {{ background: url({address}/background) }}</style><iframe src='{address}/frame'></iframe>"
    )
    page = render_html(realistic_report())
    document = browser(page.replace("<main>", f"<main>{injected}"), "--dump-dom")
    assert "<title>ditto: maya</title>" in document
    assert asked == []
    # The same without the policy, so that the test shows something.
    unprotected = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    document = browser(unprotected.replace("<main>", f"<main>{injected}"), "--dump-dom")
    assert "<title>run</title>" in document
    assert {"/image", "/style", "/frame"} <= set(asked)


def test_hostile_texts_stay_texts_in_a_browser(browser):
    text = "</style></title><script>document.title='run'</script>\"><img src=x onerror=\"document.title='run'\">"
    row = realistic_report().samples[0].model_copy(update={"prompt": text, "texts": {text: text}})
    report = realistic_report(samples=[row], adapter=text, warnings=[text])
    unprotected = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render_html(report))
    document = browser(unprotected, "--dump-dom")
    assert "<title>run" not in document
    assert "<img" not in document
    assert "<script" not in document
