"""One HTML page about a comparison: tables and inline SVG plots, nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from scheduling.core.resources import DIMENSIONS
from scheduling.simulation.engine import Replay
from scheduling.simulation.metrics import Summary
from scheduling.simulation.plots import Line, bars, lines
from scheduling.simulation.table import level_rows, overall_rows

_POINTS = 400
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; font-size: 11px; }
figure { margin: 2rem 0; } figcaption { font-weight: 600; }
"""


def page(title: str, replays: Mapping[str, Replay], summaries: Mapping[str, Summary]) -> str:
    """Return the page; the policies in the order of the mappings."""
    sections = [
        _table(overall_rows(summaries)),
        _table(level_rows(summaries)),
        _figure("Queue depth over time", _queue_plot(replays)),
        *(
            _figure(f"{name} in use over time, % of the supply", _use_plot(replays, name))
            for name in DIMENSIONS
        ),
        _figure("Mean wait per priority, seconds", _wait_plot(summaries)),
    ]
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return (
        f"<table><thead>{_row('th', head)}</thead>"
        f"<tbody>{''.join(_row('td', row) for row in body)}</tbody></table>"
    )


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _queue_plot(replays: Mapping[str, Replay]) -> str:
    return lines(
        [
            Line(name, _thinned([(s.time / 3600, float(s.queue)) for s in replay.samples]))
            for name, replay in replays.items()
        ],
        "hours",
    )


def _use_plot(replays: Mapping[str, Replay], name: str) -> str:
    plotted = []
    for policy, replay in replays.items():
        supply = max(sum(getattr(c.capacity, name) for c in replay.clusters), 1)
        points = [(s.time / 3600, 100 * getattr(s.used, name) / supply) for s in replay.samples]
        plotted.append(Line(policy, _thinned(points)))
    return lines(plotted, "hours")


def _wait_plot(summaries: Mapping[str, Summary]) -> str:
    return bars(
        {
            policy: {f"priority {row.priority}": row.wait_mean for row in summary.levels}
            for policy, summary in summaries.items()
        }
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the means over equal numbers of points, so that a long replay stays drawable."""
    size = max(1, -(-len(points) // _POINTS))
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(chunk[0][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]
