"""The figures of a comparison as rows of text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from scheduling.simulation.metrics import Summary


def overall_rows(summaries: Mapping[str, Summary]) -> list[list[str]]:
    """Return a heading and a row for each policy."""
    rows = [
        [
            "policy", "goodput", "CPU", "RAM", "GPU", "mean queue", "evictions",
            "starts out of order", "idle by reservations, %", "lost work, h", "fairness",
            "longest wait of largest 1%, s",
        ]
    ]  # fmt: skip
    for policy, summary in summaries.items():
        shares = summary.utilisation
        rows.append(
            [
                policy,
                f"{summary.goodput:.3f}",
                f"{shares['cpu_milli']:.1%}",
                f"{shares['ram_mib']:.1%}",
                f"{shares['gpu']:.1%}",
                f"{summary.queue_mean:.1f}",
                str(summary.evictions),
                str(summary.out_of_order),
                f"{100 * summary.idle_by_reservations:.1f}",
                f"{summary.lost_hours:.1f}",
                f"{summary.fairness:.3f}",
                f"{summary.biggest_wait:,}",
            ]
        )
    return rows


def level_rows(summaries: Mapping[str, Summary]) -> list[list[str]]:
    """Return a heading and a row for each policy and priority."""
    return [
        [
            "policy", "priority", "finished", "mean wait, s", "median wait, s", "p95 wait, s",
            "slowdown",
        ],
        *_levels(summaries),
    ]  # fmt: skip


def _levels(summaries: Mapping[str, Summary]) -> Iterator[list[str]]:
    for policy, summary in summaries.items():
        for row in summary.levels:
            yield [
                policy,
                str(row.priority),
                f"{row.finished}/{row.jobs}",
                f"{row.wait_mean:,.0f}",
                f"{row.wait_median:,}",
                f"{row.wait_p95:,}",
                f"{row.slowdown:,.1f}",
            ]


def aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Yield the rows as lines, with the first column aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(cells)
