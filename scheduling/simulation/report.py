"""A comparison as one HTML page: tables and inline SVG plots, without external resources."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from scheduling.planner.resources import DIMENSIONS
from scheduling.simulation.engine import Replay
from scheduling.simulation.metrics import LevelSummary, Summary
from scheduling.simulation.plots import Line, Spread, lines, spreads
from scheduling.simulation.svg import duration
from scheduling.simulation.table import overall_rows

_POINTS = 400
_NAMES = dict(zip(DIMENSIONS, ("CPU", "RAM", "GPU"), strict=True))
_STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --ink: #1c2230; --dim: #667085;
  --edge: #e2e5eb; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12151c; --card: #1b2029; --ink: #e4e7ee; --dim: #98a2b3; --edge: #2d3440; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: var(--page);
  color: var(--ink); }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0; }
p { color: var(--dim); margin: .25rem 0 0; }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 1.1rem 1.25rem; margin-top: 1.25rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: .75rem;
  font-variant-numeric: tabular-nums; }
th { color: var(--dim); font-weight: 500; font-size: .85rem; vertical-align: bottom; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--edge); }
tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; } td:first-child { font-weight: 600; }
svg { width: 100%; height: auto; margin-top: .75rem; display: block; }
svg text { fill: var(--dim); }
"""


def page(title: str, replays: Mapping[str, Replay], summaries: Mapping[str, Summary]) -> str:
    """Return the page, with the policies in the order of the mappings."""
    sections = [
        _section("Policies", _about(replays), _table(overall_rows(summaries))),
        *_waits(summaries),
        _section("Queue length", "Ready deployments.", _queue_plot(replays)),
        *(
            _section(
                f"{_NAMES[name]} allocated",
                "Percent of the capacity.",
                _allocation_plot(replays, name),
            )
            for name in DIMENSIONS
        ),
    ]
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )


def _about(replays: Mapping[str, Replay]) -> str:
    replay = next(iter(replays.values()))
    clusters = "; ".join(f"{c.label.capitalize()}: {c.capacity}" for c in replay.clusters)
    jobs = [life.job for life in replay.lives]
    span = max(job.submit for job in jobs) - min(job.submit for job in jobs) if jobs else 0
    rejected = f", without {replay.rejected} larger than any cluster" if replay.rejected else ""
    return f"{len(jobs):,} jobs submitted within {duration(span)}{rejected}. {clusters}."


def _section(title: str, about: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{content}</section>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return (
        f"<table><thead>{_row('th', head)}</thead>"
        f"<tbody>{''.join(_row('td', row) for row in body)}</tbody></table>"
    )


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _waits(summaries: Mapping[str, Summary]) -> Iterable[str]:
    by_level: dict[int, dict[str, LevelSummary]] = {}
    for policy, summary in summaries.items():
        for row in summary.levels:
            by_level.setdefault(row.priority, {})[policy] = row
    levels = dict(sorted(by_level.items(), reverse=True))
    plot = spreads(
        {
            f"priority {priority}": {
                policy: Spread(row.wait_median, row.wait_mean, row.wait_p95)
                for policy, row in rows.items()
            }
            for priority, rows in levels.items()
        },
        "waits",
    )
    about = "Bars reach from the median to the 95th percentile, dots show the mean; logarithmic."
    yield _section("Wait by priority", about, plot)
    table = [["priority", "jobs", *(f"{policy}: mean, slowdown" for policy in summaries)]]
    for priority, rows in levels.items():
        cells = [f"{duration(row.wait_mean)}, {row.slowdown:,.1f}" for row in rows.values()]
        table.append([str(priority), str(next(iter(rows.values())).jobs), *cells])
    about = "Mean wait, and mean slowdown: the time from submission to end divided by the duration."
    yield _section("Wait by priority in figures", about, _table(table))


def _queue_plot(replays: Mapping[str, Replay]) -> str:
    return lines(
        [
            Line(name, _thinned([(s.time / 3600, float(s.queue)) for s in replay.samples]))
            for name, replay in replays.items()
        ],
        "queue length",
        "hours",
    )


def _allocation_plot(replays: Mapping[str, Replay], name: str) -> str:
    plotted = []
    for policy, replay in replays.items():
        capacity = max(sum(getattr(c.capacity, name) for c in replay.clusters), 1)
        points = [
            (s.time / 3600, 100 * getattr(s.allocated, name) / capacity) for s in replay.samples
        ]
        plotted.append(Line(policy, _thinned(points)))
    return lines(plotted, f"{_NAMES[name]} allocated", "hours", top=100)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the means over equal numbers of points, which limits the size of the plot."""
    size = max(1, -(-len(points) // _POINTS))
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(chunk[0][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]
