"""The same targets under libFuzzer, which follows the branches that an input takes. Optional: `pip install atheris`.

    python tests/fuzz/with_atheris.py .eml -max_total_time=600

The first argument is a target's name, the rest are libFuzzer's. What fails is written to a file crash-...; name it as a
further argument to run it again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

with atheris.instrument_imports(include=["ditto_cli.demonstrations", "mammoth", "pypdfium2", "bs4"]):
    from targets import TARGETS


def main():
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"Name a target: {', '.join(TARGETS)}.")
    target = TARGETS[name]
    place = Path(tempfile.mkdtemp(prefix="atheris-"))
    corpus = place / "corpus"
    corpus.mkdir()
    for number, document in enumerate(target.documents):
        (corpus / f"{number}").write_bytes(document)
    words = ('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"' for token in target.tokens)
    (place / "words.dict").write_text("\n".join(words) + "\n", encoding="ascii")

    def read(raw):
        target.read(bytes(raw))

    arguments = [
        sys.argv[0],
        str(corpus),
        f"-dict={place / 'words.dict'}",
        "-max_len=20000",
        "-timeout=5",
        *sys.argv[1:],
    ]
    atheris.Setup(arguments, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
