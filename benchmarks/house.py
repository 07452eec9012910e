"""How large the house is: lines, files and functions by room, private functions used once, the longest import chain.

python benchmarks/house.py
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from test_architecture import PACKAGE, SOURCES, dependencies, longest_chain  # noqa: E402


def main() -> None:
    """Print the figures as a table in Markdown, and the chain."""
    lines: dict[str, int] = defaultdict(int)
    files: Counter[str] = Counter()
    lengths: dict[str, list[int]] = defaultdict(list)
    private: list[str] = []
    named: Counter[str] = Counter()
    for path in SOURCES:
        room, _, inside = path.relative_to(PACKAGE).as_posix().partition("/")
        room = room if inside else "words"
        text = path.read_text(encoding="utf-8")
        lines[room] += text.count("\n")
        files[room] += 1
        named.update(re.findall(r"\w+", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[room].append(node.body[-1].end_lineno - node.lineno + 1)
                private += [node.name] if re.match("_[a-z]", node.name) else []
    print("| room | lines | files | functions | their median |\n| --- | --- | --- | --- | --- |")
    for room in sorted(lines, key=lambda room: -lines[room]):
        print(f"| {room} | {lines[room]} | {files[room]} | {len(lengths[room])} | {median(lengths[room] or [0]):.0f} |")
    every = [length for of_room in lengths.values() for length in of_room]
    print(f"| all | {sum(lines.values())} | {files.total()} | {len(every)} | {median(every):.0f} |")
    print(f"\nPrivate functions whose name stands in one other place: {sum(named[name] == 2 for name in private)}")
    chain = longest_chain("ditto_cli.cli.app", dependencies({"ditto_cli.cli.app": "_train"}))
    print(f"The longest chain of imports of `ditto train`, {len(chain)} files: {' > '.join(chain)}")


if __name__ == "__main__":
    main()
