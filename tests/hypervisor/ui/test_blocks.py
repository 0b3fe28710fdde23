"""The building blocks of all pages."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.utils import timezone

from hypervisor.base.durations import with_milliseconds
from hypervisor.ui.charts import Bar, Plot, Series
from hypervisor.ui.live import layout
from hypervisor.ui.templatetags.blocks import ago, duration, number, percent, small_bar

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def minutes(count: int) -> list[datetime]:
    return [NOON + timedelta(minutes=n) for n in range(count)]


def render(source: str, **context: object) -> str:
    return Template("{% load blocks %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.42, "less than 1 s"), (3, "3 s"), (59, "59 s"), (60, "1 min"),
        (90, "1 min 30 s"),
        (599, "9 min 59 s"), (660, "11 min"), (3600, "1 h"), (3900, "1 h 5 min"),
        (90000, "1 d 1 h"), (172800, "2 d"), (None, "\u2013"), (timedelta(minutes=2), "2 min"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (2.5, "2.5"), (2.0, "2"), (123.4, "123")],
)
def test_a_number_has_no_trailing_zeros(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("part", "text"), [(0, "0%"), (0.004, "0.4%"), (0.5, "50%"), (0.996, "99.6%"), (1, "100%")]
)
def test_a_share_never_rounds_to_all_or_nothing(part: float, text: str) -> None:
    assert percent(part) == text


def test_only_the_work_of_programs_is_shown_in_milliseconds() -> None:
    assert (with_milliseconds(0.42), with_milliseconds(3)) == ("420 ms", "3 s")


def test_the_age_of_nothing_is_never() -> None:
    assert ago(None) == "never"


def test_what_has_just_happened_has_no_age() -> None:
    assert ago(timezone.now()) == "just now"


def test_a_bar_never_draws_more_than_its_capacity() -> None:
    bar = Bar("GPU", allocated=6, reserved=6, capacity=8, texts=("6", "6", "0", "8"))

    assert (bar.allocated_percent, bar.reserved_percent) == (75, 25)


def test_a_bar_without_capacity_is_empty() -> None:
    bar = Bar("GPU", allocated=0, reserved=0, capacity=0, texts=("0", "0", "0", "0"))

    assert (bar.allocated_percent, bar.reserved_percent) == (0, 0)
    assert "none" in render("{% resource_bar bar %}", bar=bar)
    assert "none" in small_bar(bar)


def test_a_small_bar_says_what_is_allocated_and_reserved() -> None:
    drawn = small_bar(Bar("GPU", allocated=6, reserved=1, capacity=8, texts=("6", "1", "1", "8")))

    assert 'width="75.0"' in drawn
    assert 'x="75.0" width="12.5"' in drawn
    assert "<strong>6</strong>/8" in drawn
    assert "1 reserved" in drawn


def test_stacked_areas_lie_on_top_of_each_other() -> None:
    allocated, reserved = (
        Series("allocated", "allocated", [4, 4]),
        Series("reserved", "reserved", [4, 2]),
    )
    plot = Plot("GPU", minutes(2), [allocated, reserved], stacked=True, limit=8)

    assert plot.top == 8
    assert plot.paths[0].line == "M0.0 60.0L600.0 60.0"
    assert plot.paths[1].line == "M0.0 0.0L600.0 30.0"


def test_a_line_has_a_gap_where_samples_are_missing() -> None:
    plot = Plot("Waiting", minutes(4), [Series("ready", "first", [1, None, 2, 3])])

    assert plot.paths[0].line.count("M") == 2


def test_a_plot_without_samples_says_so() -> None:
    plot = Plot("Waiting", minutes(3), [Series("ready", "first", [None, None, None])])

    assert "No sample" in render("{% plot plot 'p' %}", plot=plot)


def test_a_plot_has_its_values_as_a_table() -> None:
    plot = Plot("Waiting", minutes(100), [Series("ready", "first", list(range(100)))])

    page = render("{% plot plot 'p' %}", plot=plot)

    assert len(plot.rows) <= 25
    assert plot.rows[0] == (NOON + timedelta(minutes=99), [99])
    assert "2026-01-01 13:39" in page
    assert 'aria-labelledby="p-title p-desc"' in page


def test_a_state_is_shown_in_words_and_not_only_by_colour() -> None:
    page = render("{% badge 'running' %}{% badge 'unheard_of' %}")

    assert "running" in page
    assert "unheard of" in page


def test_a_request_for_the_live_part_gets_only_that() -> None:
    requests = RequestFactory()

    assert layout(requests.get("/"), "console/page.html") == "console/page.html"
    assert (
        layout(requests.get("/", headers={"X-Fragment": "live"}), "console/page.html")
        == "ui/fragment.html"
    )


def test_the_sidebar_shows_the_pages_that_the_user_may_open(console: Client) -> None:
    page = console.get("/admin/").content.decode()

    assert 'href="/admin/scheduling/schedulingcycle/"' in page
    assert 'href="#content"' in page
