"""What cells of lists say, and that names in them are never markup."""

from datetime import datetime, timedelta
from datetime import timezone as fixed

from django.utils import timezone

from hypervisor.ui.templatetags.wording import starts, utc, why
from scheduling.insight.forecast import Start
from scheduling.insight.shortages import Shortage
from scheduling.insight.standing import Standing


def waiting(number: int, *, name: str = "rack") -> Standing:
    shortages = [Shortage(f"{name}-{n}", f"short of {n} GPU") for n in range(1, number + 1)]
    return Standing("no_free_capacity", "", shortages=shortages[:20], clusters=number)


def test_names_are_text_and_never_markup() -> None:
    drawn = why(waiting(4, name="<b>&'\""), "/1")
    assert drawn.count("<strong>&lt;b&gt;&amp;&#x27;&quot;-1</strong> short of 1 GPU") == 2
    assert "<b>" not in why(Standing("<b>", "<b>"), "/1")


def test_a_summary_names_three_clusters_and_counts_the_others() -> None:
    def summary(number: int) -> str:
        return why(waiting(number), "/1").split("</summary>")[0]

    assert summary(3).count("<strong>") == summary(30).count("<strong>") == 3
    assert "more" not in summary(3)
    assert "and 27 more" in summary(30)


def test_what_the_summary_shows_is_not_listed_again() -> None:
    assert "<ul>" not in why(waiting(3), "/1")
    assert why(waiting(4), "/1").count("<li>") == 4


def test_a_list_that_has_not_all_clusters_links_to_them() -> None:
    assert "<a" not in why(waiting(20), "/1")
    assert '<li><a href="/1?a&amp;b">All 21 clusters</a></li></ul>' in why(waiting(21), "/1?a&b")


def test_a_start_is_noted_only_if_it_is_known() -> None:
    assert starts(None) == starts(Start("too_many_ahead")) == ""
    soon = Start("expected", timezone.now() + timedelta(minutes=5))
    assert starts(soon).startswith('<p class="c-note">Starts in about 5 min (')


def test_a_time_is_shown_in_utc_to_the_second() -> None:
    summer = fixed(timedelta(hours=2))
    assert utc(datetime(2026, 7, 1, 1, 2, 3, 4, summer)) == "2026-06-30 23:02:03 UTC"
