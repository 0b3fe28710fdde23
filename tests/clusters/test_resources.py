import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from clusters.resources import MAX_CPU_MILLI, cores, parse_cpu, parse_ram_mib


@pytest.mark.parametrize(
    ("given", "milli"),
    [
        (1, 1000), (0.5, 500), (0.001, 1), ("2", 2000), ("500m", 500), ("1.25", 1250), (0.1, 100),
        (2.0, 2000), ("0.500", 500), ("2.0m", 2),
    ],
)  # fmt: skip
def test_cpu_is_accepted_as_cores_or_as_a_quantity(given: object, milli: int) -> None:
    assert parse_cpu(given) == milli


@pytest.mark.parametrize(
    "given", [0, -1, "", "m", "1.5m", 0.0005, True, None, [], "8Gi", "NaN", "inf", 1e300, "1e400m"]
)
def test_the_error_for_a_bad_cpu_describes_what_is_accepted(given: object) -> None:
    with pytest.raises(ValueError, match=r"^CPU .*[.]$"):
        parse_cpu(given)


@pytest.mark.parametrize(
    ("given", "mib"),
    [
        (8192, 8192), ("8Gi", 8192), ("512Mi", 512), ("0.5Gi", 512), ("1G", 954), ("1Ki", 1),
        (8192.0, 8192), ("0.125Gi", 128),
    ],
)  # fmt: skip
def test_ram_is_accepted_as_mib_or_as_a_quantity_rounded_up(given: object, mib: int) -> None:
    assert parse_ram_mib(given) == mib


@pytest.mark.parametrize(
    "given", [0, -5, 1.5, "8192", "8gb", "", "Gi", True, None, {}, "9999999999Ti", "-1Gi"]
)
def test_the_error_for_a_bad_ram_describes_what_is_accepted(given: object) -> None:
    with pytest.raises(ValueError, match=r"^RAM .*[.]$"):
        parse_ram_mib(given)


NO_NUMBERS = [
    "1_000", "٣", "²", "1e0", "1E3", " 1", "1 ", "\n1", "+1", "-1", "0x1", "0b1", "1,5", "1.",
    ".5", "1..5", "1.5.5", "--1", "inf", "nan", "1j", "1l", "9" * 5000, "0." + "0" * 5000 + "1",
    float("nan"), float("inf"), 10**4000, b"1", object(),
]  # fmt: skip


@pytest.mark.parametrize("given", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("unit", ["", "m", "Gi", "Mi"])
def test_a_number_in_python_s_own_notation_is_refused(given: object, unit: str) -> None:
    text = given + unit if isinstance(given, str) else given
    with pytest.raises(ValueError, match=r"^CPU .*[.]$"):
        parse_cpu(text)
    with pytest.raises(ValueError, match=r"^RAM .*[.]$"):
        parse_ram_mib(text)


@pytest.mark.parametrize(
    "given",
    [0.1 + 0.2, "0.30000000000000004", "1.0001", "0.3333m", "1." + "0" * 28 + "1", 1.0000000000001],
)
def test_more_than_three_decimals_of_cpu_are_refused_with_the_remedy(given: object) -> None:
    with pytest.raises(ValueError, match=r"three decimals.*round"):
        parse_cpu(given)


@pytest.mark.parametrize("given", ["1.0001Gi", "0.30000000000000004Gi", "1." + "0" * 28 + "1Gi"])
def test_more_than_three_decimals_of_ram_are_refused_with_the_remedy(given: str) -> None:
    with pytest.raises(ValueError, match=r"three decimals.*round"):
        parse_ram_mib(given)


@given_any(st.integers(1, MAX_CPU_MILLI))
def test_every_shown_amount_of_cpu_is_read_back_unchanged(milli: int) -> None:
    assert parse_cpu(cores(milli)) == parse_cpu(str(cores(milli))) == milli
    assert parse_cpu(f"{milli}m") == milli


@given_any(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_sum_of_floats_is_never_read_as_another_amount(a: int, b: int) -> None:
    """A sum is either exact to a thousandth or refused."""
    total = a / 1000 + b / 1000
    try:
        milli = parse_cpu(total)
    except ValueError:
        return
    assert repr(total) == repr(milli / 1000)


def test_whole_cores_are_shown_as_integers() -> None:
    assert (cores(2000), cores(500)) == (2, 0.5)
    assert isinstance(cores(2000), int)
