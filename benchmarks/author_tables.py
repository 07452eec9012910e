"""The lines of benchmarks/authors.py -> figures of each arm, Markdown tables with paired differences, and plots.

Trains and writes nothing. A figure of one arm and author is computed once, whichever tables it is in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

from arms import BACKGROUND, BEST, DITTO, OWN, SHOWN, PaperTable
from ditto_cli.demonstrations import language
from ditto_cli.evaluation.appraisal import Appraiser
from ditto_cli.evaluation.judgements import Author, Writing
from ditto_cli.evaluation.soundness import leakage, recitation_check
from ditto_cli.evaluation.style.features import mask
from ditto_cli.evaluation.verdict import mean_interval
from ditto_cli.seeds import derive_seed

Row = dict
Figures = dict[str, float]
Found = Mapping[str, Mapping[str, Figures]]  # author -> arm -> figures

MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "style": fmean,
    "task": fmean,
    "told": fmean,
    "lambdag": fmean,
    "ended": fmean,
    "recited": fmean,
    "passage": max,
}
FEWEST = 4  # authors that can tell anything: where nothing differs, all of fewer go the same way too often
COMPARED = ("style", "task", "told", "lambdag")
DRAWN = ("style", "task", "lambdag")


class AuthorFigures:
    """The figures of one author's arms, each measured when it is first asked for.

    Args:
        rows: the author's lines.
        name: of the author among `mates`.
        author: the openings.
        mates: all authors of the corpus, for LambdaG; None leaves it out.
    """

    def __init__(
        self, rows: Sequence[Row], name: str, author: Author, mates: Mapping[str, Author] | None = None
    ) -> None:
        own, background = ([row for row in rows if row["method"] == method] for method in (OWN, BACKGROUND))
        self._rows, self._name, self._author = rows, name, author
        self._mates = mates and {
            mate: _plain(text.completion for text in one.demonstrations) for mate, one in mates.items()
        }
        self._appraiser = Appraiser(
            author,
            [row["text"] for row in background],
            own_told=[row["told"] for row in own],
            others_told=[row["told"] for row in background],
        )
        self._is_recited = recitation_check(author.demonstrations, [text.completion for text in author.held_out])
        self._found: dict[str, Figures] = {}

    def of(self, method: str) -> Figures:
        """The figures of an arm; `BEST` is chosen from DITTO's drafts by what its user has."""
        if method not in self._found:
            self._found[method] = self._measure(method)
        return self._found[method]

    def _measure(self, method: str) -> Figures:
        if method == BEST:
            rows = chosen(self._rows, self._author)
        else:
            rows = [row for row in self._rows if row["method"] == method and row["index"] < SHOWN]
        texts, writings = [row["text"] for row in rows], [writing_of(row) for row in rows]
        appraisals = [self._appraiser.appraise(row["prompt"], writing_of(row), row["told"]) for row in rows]
        lambdag = {} if self._mates is None else {"lambdag": lambdag_of(texts, self._name, self._mates)}
        return lambdag | {
            "style": self._appraiser.panel.score_pooled(texts).total,
            "task": fmean(one.task for one in appraisals),
            "told": fmean(row["told"] for row in rows),
            "ended": fmean(row["ended"] for row in rows),
            "recited": fmean(self._is_recited(text) for text in texts),
            "passage": float(leakage(writings, self._author.demonstrations, [], None).longest_passage_words),
        }


def chosen(rows: Sequence[Row], author: Author) -> list[Row]:
    """Of each prompt's drafts the best, as `ditto sample --best-of` chooses it."""
    appraiser = Appraiser(Author(author.demonstrations, ()))
    drafts: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row["method"] == DITTO), key=lambda row: row["index"]):
        drafts.setdefault(row["prompt_id"], []).append(row)
    return [max(own, key=lambda row: appraiser.worth(row["prompt"], writing_of(row))) for own in drafts.values()]


def writing_of(row: Row) -> Writing:
    """A line's text as the judges know it."""
    return Writing(row["method"], row["prompt_id"], row["index"], row["text"], row["num_tokens"], row["ended"])


def lambdag_of(texts: Sequence[str], author: str, mates: Mapping[str, str]) -> float:
    """The share of the other authors whose grammar fits an arm's texts less than the author's own does.

    LambdaG (Nini et al., Humanities and Social Sciences Communications 13:455, 2026) on texts whose topic is masked, by
    rank among all authors of the corpus.

    Args:
        texts: of the arm.
        author: whom it writes as.
        mates: all authors -> their texts, masked.
    """
    from lambdag import LambdaGMethod

    method = LambdaGMethod("tokens", 5, "kneser_ney", True, True, 10, "square_root", random_seed=0)
    problems = [(known, name, _plain(texts), author) for name, known in mates.items()]
    references = {name: [known] for name, known in mates.items()}
    scores = dict(zip(mates, method.lambdag(problems, references), strict=True))
    return fmean(float(scores[author] > score) for name, score in scores.items() if name != author)


def _plain(pieces: Iterable[str]) -> str:
    return mask("\n".join(pieces), language.function_words("en"))


def why_left_out(rows: Sequence[Row], author: str, methods: Sequence[str]) -> str | None:
    """Why an author's arms cannot be compared, or None if they can: all texts are there, for equal prompts."""
    prompts: dict[str, set[str]] = {}
    for method in methods:
        own = [row for row in rows if (row["author"], row["method"]) == (author, method)]
        if not own:
            return f"no texts of {method}"
        wanted = max(row["of"] for row in own)
        if len(own) < wanted:
            return f"{len(own)} of {wanted} texts of {method}"
        prompts[method] = {row["prompt_id"] for row in own}
    first = methods[0]
    differing = [method for method in methods if prompts[method] != prompts[first]]
    return f"{differing[0]} wrote for other prompts than {first}" if differing else None


def complete_authors(rows: Sequence[Row], methods: Sequence[str]) -> list[str]:
    """Whose arms can be compared, by name; the others are named on stderr."""
    complete = []
    for author in sorted({row["author"] for row in rows}):
        reason = why_left_out(rows, author, methods)
        if reason is None:
            complete.append(author)
        else:
            print(f"{author} is left out: {reason}", file=sys.stderr)
    return complete


def print_figures(found: Found, methods: Sequence[str], published: Mapping[str, str] | None = None) -> None:
    """Markdown: a row an arm; means over the authors, of the passages the longest, and what is `published` of it."""
    shown = [name for name in MEASURES if all(name in own for arms in found.values() for own in arms.values())]
    heads = ["arm", *shown, *(["the paper's win rate"] if published else [])]
    print(f"Means over {len(found)} authors\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for method in methods:
        values = [MEASURES[name]([arms[method][name] for arms in found.values()]) for name in shown]
        cells = [method, *(f"{value:.2f}" for value in values), *([published.get(method, "")] if published else [])]
        print(f"| {' | '.join(cells)} |")


def print_differences(found: Found, pairs: Sequence[tuple[str, str]]) -> None:
    """Markdown: one arm less another, paired by author, with intervals by drawing authors again.

    The last cell names the measures whose interval leaves out 0, or says that so few authors cannot tell.
    """
    shown = [name for name in COMPARED if all(name in own for arms in found.values() for own in arms.values())]
    print(f"\n| difference | {' | '.join(shown)} | told apart by |\n{'|---' * (len(shown) + 2)}|")
    for one, other in pairs:
        cells, telling = [], []
        for name in shown:
            values = [arms[one][name] - arms[other][name] for arms in found.values()]
            low, high = mean_interval(values, derive_seed(0, name, one, other))
            cells.append(f"{fmean(values):+.2f} ({low:+.2f} to {high:+.2f})")
            telling += [name] if len(values) >= FEWEST and (low > 0 or high < 0) else []
        verdict = ", ".join(telling) or f"{len(found)} author{'s' * (len(found) > 1)} cannot tell"
        print(f"| {one} less {other} | {' | '.join(cells)} | {verdict} |")


def each_less_those_before(methods: Sequence[str], against: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs of arms that are both in `against`, the later one first."""
    for place, one in enumerate(methods):
        yield from ((one, other) for other in methods[:place] if one in against and other in against)


# --- Plots

_WIDTH, _HEIGHT, _LEFT, _TOP = 250, 150, 60, 30  # of a panel, and around all, in pixels
_COLOURS = ("#1b5e9e", "#c4601d", "#5c8a3a")


def draw(panels: Sequence[PaperTable], found: Sequence[Found]) -> str:
    """An SVG: a column a panel, a row a measure; means over the authors of each panel, with 95 % intervals."""
    measures = [
        name for name in DRAWN if all(name in one for own in found for arms in own.values() for one in arms.values())
    ]
    pieces = []
    for row, measure in enumerate(measures):
        lines = [
            [
                {place: _mean_and_interval(own, arm, measure) for place, arm in line.items()}
                for line in panel.lines.values()
            ]
            for panel, own in zip(panels, found, strict=True)
        ]
        bounds = [value for panel in lines for line in panel for point in line.values() for value in point]
        for column, panel in enumerate(panels):
            origin = _LEFT + column * (_WIDTH + _LEFT), _TOP + row * (_HEIGHT + 2 * _TOP)
            pieces += _panel(panel, lines[column], measure, origin, (min(bounds), max(bounds)))
    width, height = _LEFT + len(panels) * (_WIDTH + _LEFT), len(measures) * (_HEIGHT + 2 * _TOP)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    style = 'font-family="sans-serif" font-size="11"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', background, *pieces, "</svg>", ""])


def _mean_and_interval(found: Found, arm: str, measure: str) -> tuple[float, float, float]:
    values = [arms[arm][measure] for arms in found.values()]
    return fmean(values), *mean_interval(values, derive_seed(0, measure, arm))


def _panel(
    panel: PaperTable,
    lines: Sequence[Mapping[int, tuple[float, float, float]]],
    measure: str,
    origin: tuple[int, int],
    bounds: tuple[float, float],
) -> Iterator[str]:
    """Frame, ticks, and each line with a bar for each interval; the places stand at equal distances."""
    left, top = origin
    low, high = bounds
    step = _WIDTH / len(lines[0])

    def y(value: float) -> float:
        return round(top + _HEIGHT * (high - value) / ((high - low) or 1), 1)

    yield f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
    yield f'<text x="{left}" y="{top - 6}">{measure}</text>'
    yield f'<text x="{left + _WIDTH}" y="{top + _HEIGHT + 28}" text-anchor="end">{escape(panel.axis)}</text>'
    for value in bounds:
        yield f'<text x="{left - 4}" y="{y(value)}" text-anchor="end">{value:.2f}</text>'
    for number, (name, line) in enumerate(zip(panel.lines, lines, strict=True)):
        colour = _COLOURS[number]
        xs = [left + (place + 0.5) * step + 4 * number for place in range(len(line))]  # bars stand beside each other
        points = " ".join(f"{x},{y(mean)}" for x, (mean, _, _) in zip(xs, line.values(), strict=True))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}"/>'
        for x, (_, lowest, highest) in zip(xs, line.values(), strict=True):
            yield f'<line x1="{x}" x2="{x}" y1="{y(lowest)}" y2="{y(highest)}" stroke="{colour}"/>'
        if len(lines) > 1:
            yield f'<text x="{left + 55 + 85 * number}" y="{top - 6}" fill="{colour}">{escape(name)}</text>'
    for number, place in enumerate(lines[0]):
        x = left + (number + 0.5) * step
        yield f'<text x="{x}" y="{top + _HEIGHT + 14}" text-anchor="middle">{place}</text>'


def write_figures(figures: Mapping[str, Sequence[PaperTable]], found: Mapping[str, Found], folder: Path) -> None:
    """An SVG for each figure whose panels have all been measured, by their titles."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, panels in figures.items():
        if all(panel.title in found for panel in panels):
            (folder / f"{name}.svg").write_text(
                draw(panels, [found[panel.title] for panel in panels]), encoding="utf-8"
            )
            print(f"Drawn: {folder / name}.svg", file=sys.stderr)
