import pytest

from scheduling.planner.resources import Resources
from scheduling.simulation.trace import Job, generate, read_trace

HEAD = "submit_s,duration_s,cpu_milli,memory_mib,gpu,priority,tenant"


def test_a_trace_is_read_in_the_order_of_submission() -> None:
    jobs = read_trace([HEAD, "20,5,1000,512,0,1,ml", "10,7,2000,1024,1,2,web"])
    assert jobs == [
        Job(2, 10, 7, Resources(2000, 1024, 1), 2, "web"),
        Job(1, 20, 5, Resources(1000, 512, 0), 1, "ml"),
    ]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["submit_s,duration_s"], "line 1: the column cpu_milli is missing"),
        ([HEAD, "1,2,3,4,5,6,a", "1,2,3,many,5,6,a"], "line 3: .* is not a whole number"),
        ([HEAD, "1,2,3,4"], "line 2"),
        ([HEAD, "1,2,3,-4,5,6,a"], "line 2: an amount is negative"),
    ],
)
def test_an_error_in_a_trace_names_the_line(lines: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_trace(lines)


def test_a_seed_always_generates_the_same_jobs() -> None:
    first, again, other = (list(generate(50, seed=seed, every_s=60.0)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first, key=lambda job: job.submit) == first
