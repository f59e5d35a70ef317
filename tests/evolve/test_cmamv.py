"""CMAMV against the bare library: the same trajectory where that works, a finite one where not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from cmaes import CMA, CatCMAwM, CMAwM
from cmaes.cmasop import CMASoP
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from revo_ray.evolve.algorithms import ALGORITHMS
from revo_ray.evolve.cmamv import CMAMV, Candidate
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Space
from tests.properties import examples

POPULATION = 10
COLOURS = ("red", "green", "blue")

REALS = Space({"a": Real(0.0, 1.0), "b": Real(-4.0, 4.0), "c": Real(1e-4, 1.0, log=True)})
MIXED = Space(
    {
        "colour": Categorical(COLOURS, weights=(2, 1, 1)),
        "lr": Real(1e-4, 1.0, log=True, start=1e-3),
        "frozen": Integer(0, 1),
        "depth": Integer(0, 4),
        "seed": Integer(7, 7),
        "width": Integer(1, 8, log=True),
        "shift": Real(-1.0, 1.0),
        "switch": Categorical(("off", "on"), weights=(1, 3)),
    }
)
# Where the start of `lr` stands: a quarter, but for rounding.
LR_START = (math.log(1e-3) - math.log(1e-4)) / -math.log(1e-4)


def unit_bounds(dimensions: int) -> np.ndarray:
    return np.tile([0.0, 1.0], (dimensions, 1))


def log_rate(u: float) -> float:
    return 10.0 ** (4 * min(max(u, 0.0), 1.0) - 4)


def value_of(sample: Sample) -> float:
    """A smooth loss of any sample of these spaces."""
    total = 0.0
    for i, value in enumerate(sample.values()):
        if isinstance(value, str):
            value = len(value)
        total += (float(value) - 0.3) ** 2 + math.sin(3 * float(value) + i)
    return total


def gaussian_of(optimizer: Any) -> Any:
    """The object of the library that holds an optimiser's Gaussian."""
    return getattr(optimizer, "_cma", optimizer)


def with_symmetric_root(bare: Any) -> Any:
    """Let an optimiser of the library sample with the symmetric root, as SciPy computes it."""
    gaussian = gaussian_of(bare)

    def sample() -> np.ndarray:
        noise = sqrtm(gaussian._C).real @ gaussian._rng.randn(len(gaussian._mean))
        return np.asarray(gaussian._mean + gaussian._sigma * getattr(gaussian, "_A", 1.0) * noise)

    gaussian._sample_solution = gaussian._sample_from_gaussian = sample
    return bare


def follow(
    optimizer: CMAMV,
    make: Callable[[], Any],
    read: Callable[[Any], tuple[Sample, Any]],
    generations: int = 15,
) -> None:
    """Hold an optimiser against the library's, which `make` makes, by what `read` reads from it.

    The samples are those of the library with the symmetric root; told the same solutions, the
    library as it is has the same distribution.
    """
    bare, rooted = make(), with_symmetric_root(make())
    for _ in range(generations):
        candidates, raws = [], []
        for _ in range(optimizer.population_size):
            candidate = optimizer.ask()
            expected, raw = read(rooted.ask())
            assert candidate.sample == {
                name: pytest.approx(value, rel=1e-9, abs=1e-9)
                if isinstance(value, float)
                else value
                for name, value in expected.items()
            }
            candidates.append(candidate)
            raws.append(raw)
        before = rooted._rng.get_state()
        values = [value_of(candidate.sample) for candidate in candidates]
        optimizer.tell(list(zip(candidates, values, strict=True)))
        rooted.tell(list(zip(raws, values, strict=True)))
        ours, theirs = optimizer._algorithm._parts[-1], gaussian_of(bare)
        theirs._rng.set_state(before)  # CMASoP draws in `tell`
        bare.tell([(each.raw, value) for each, value in zip(candidates, values, strict=True)])
        for name in ("_mean", "_C", "_sigma", "_A", "_q"):
            if hasattr(theirs, name):
                np.testing.assert_allclose(
                    getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12, err_msg=name
                )


def test_cma_is_the_bare_cma() -> None:
    def make() -> CMA:
        return CMA(np.full(3, 0.5), 0.3, unit_bounds(3), seed=5, population_size=POPULATION)

    def read(x: np.ndarray) -> tuple[Sample, Any]:
        return {"a": x[0], "b": -4 + x[1] * 8, "c": log_rate(x[2])}, x

    follow(CMAMV(REALS, algorithm="cma", sigma=0.3, seed=5), make, read, generations=50)


def test_catcmawm_is_the_bare_catcmawm() -> None:
    widths = [math.log(i) / math.log(8) for i in range(1, 9)]
    depths = [0, 0.25, 0.5, 0.75, 1]

    def make() -> CatCMAwM:
        return CatCMAwM(
            x_space=[[0, 1]] * 2,
            z_space=[depths, widths],
            c_space=[3, 2, 2],
            population_size=POPULATION,
            mean=np.array([LR_START, 0.5, 0.5, 0.5]),
            sigma=0.2,
            cov=np.eye(4),
            cat_param=np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0], [0.25, 0.75, 0]]),
            seed=3,
        )

    def read(solution: Any) -> tuple[Sample, Any]:
        colour, frozen, switch = (int(np.flatnonzero(row)[0]) for row in solution.c)
        return {
            "colour": COLOURS[colour],
            "lr": log_rate(solution.x[0]),
            "frozen": frozen,
            "depth": depths.index(solution.z[0]),
            "seed": 7,
            "width": widths.index(solution.z[1]) + 1,
            "shift": -1 + solution.x[1] * 2,
            "switch": ("off", "on")[switch],
        }, solution

    follow(CMAMV(MIXED, sigma=0.2, seed=3), make, read)


def test_a_real_of_few_values_is_an_integer_of_the_bare_catcmawm() -> None:
    space = Space({"x": Real(0.0, 1.0), "drop": Real(0.1, 0.5, step=0.2)})
    drops = {0.0: 0.1, 0.25: 0.2, 0.75: 0.4}  # multiples of the step, and the bound below them

    def make() -> CatCMAwM:
        return CatCMAwM(
            x_space=[[0, 1]],
            z_space=[list(drops)],
            population_size=POPULATION,
            mean=np.full(2, 0.5),
            sigma=0.2,
            cov=np.eye(2),
            seed=3,
        )

    def read(solution: Any) -> tuple[Sample, Any]:
        (place,) = (each for each in drops if each == pytest.approx(solution.z[0]))
        return {"x": solution.x[0], "drop": drops[place]}, solution

    follow(CMAMV(space, sigma=0.2, seed=3), make, read)


@pytest.mark.parametrize(
    ("reals", "choices", "seeds"),
    [
        # Seeds that the library's own rule freezes.
        pytest.param(10, 1, [7], id="one-of-eleven"),
        pytest.param(20, 1, [5], id="one-of-twenty-one"),
        pytest.param(10, 1, range(100), id="one", marks=pytest.mark.nightly),
        pytest.param(10, 2, range(100), id="two", marks=pytest.mark.nightly),
    ],
)
def test_choices_of_no_effect_do_not_stop_the_search(
    reals: int, choices: int, seeds: Iterable[int], caplog: pytest.LogCaptureFixture
) -> None:
    space = Space(
        {f"x{i}": Real(0.0, 1.0) for i in range(reals)}
        | {f"c{i}": Categorical((0, 1)) for i in range(choices)}
    )
    for seed in seeds:
        optimizer = CMAMV(space, seed=seed)
        shown = []
        for _ in range(200):
            optimizer.tell(
                told(optimizer, lambda i, s: sum((s[f"x{i}"] - 0.3) ** 2 for i in range(reals)))
            )
            variables = optimizer.distribution()["variables"]
            shown.append([variables[f"c{i}"] for i in range(choices)])
        assert np.ptp(shown[-20:], axis=0).max(axis=1).min() > 1e-3, seed
    # No update had to be given up.
    assert not caplog.records


def test_catcmawm_is_the_bare_one_without_continuous_variables() -> None:
    space = Space({f"b{i}": Integer(0, 1) for i in range(8)})
    bare = CatCMAwM(c_space=[2] * 8, population_size=POPULATION, seed=3)
    optimizer = CMAMV(space, seed=3)
    for _ in range(15):
        told, bare_told = [], []
        for _ in range(POPULATION):
            candidate, solution = optimizer.ask(), bare.ask()
            assert candidate.sample == {f"b{i}": int(solution.c[i, 1]) for i in range(8)}
            value = value_of(candidate.sample)
            told.append((candidate, value))
            bare_told.append((solution, value))
        optimizer.tell(told)
        bare.tell(bare_told)


def test_cmawm_is_the_bare_cmawm() -> None:
    space = Space(
        {name: MIXED[name] for name in ("lr", "frozen", "depth", "shift")}
        | {"colour": Categorical(COLOURS)}
    )

    def make() -> CMAwM:
        return CMAwM(
            np.array([LR_START, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
            0.3,
            unit_bounds(7),
            np.array([0, 1, 0.25, 0, 0, 0, 0]),
            seed=3,
            population_size=POPULATION,
        )

    def read(asked: tuple[np.ndarray, np.ndarray]) -> tuple[Sample, Any]:
        encoded, raw = asked
        return {
            "lr": log_rate(encoded[0]),
            "frozen": int(encoded[1]),
            "depth": round(4 * encoded[2]),
            "shift": -1 + encoded[3] * 2,
            "colour": COLOURS[int(np.argmax(encoded[4:]))],
        }, raw

    follow(CMAMV(space, algorithm="cmawm", sigma=0.3, seed=3), make, read)


def test_sop_is_the_bare_sop() -> None:
    space = Space(
        {
            "colour": Categorical(COLOURS),
            "b0": Integer(0, 1),
            "depth": Integer(0, 4),
            "x": Real(-1.0, 1.0),
            "b1": Integer(0, 1),
            "b2": Integer(0, 1),
        }
    )
    levels = np.linspace(0, 1, 5)
    triangle = [
        [0.5 + math.sqrt(0.5) * f(2 * math.pi * i / 3 + math.pi / 4) for f in (math.cos, math.sin)]
        for i in range(3)
    ]

    def make() -> CMASoP:
        return CMASoP(
            [
                np.array(list(itertools.product([0.0, 1.0], repeat=2))),
                np.array(list(itertools.product([0.0, 1.0], repeat=2))),
                np.array(list(itertools.product(levels, [0.0, 1.0]))),
                np.array(triangle),
            ],
            np.full(9, 0.5),
            0.3,
            np.array([[0, 1]] + [[-np.inf, np.inf]] * 8),
            seed=3,
            population_size=POPULATION,
        )

    def read(asked: tuple[np.ndarray, np.ndarray]) -> tuple[Sample, Any]:
        x, encoded = asked
        corners = np.linalg.norm(np.array(triangle) - encoded[7:], axis=1)
        return {
            "colour": COLOURS[int(np.argmin(corners))],
            "b0": int(encoded[1]),
            "depth": int(np.flatnonzero(levels == encoded[5])[0]),
            "x": -1 + encoded[0] * 2,
            "b1": int(encoded[2]),
            "b2": int(encoded[3]),
        }, x

    follow(CMAMV(space, algorithm="sop", sigma=0.3, seed=3), make, read)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rounding_of_a_singular_covariance_hardly_moves_a_sample(algorithm: str) -> None:
    """Neighbours that always move together have eigenvalues of nought, on either side of it."""
    size = 40
    space = Space({f"x{i}": Real(0, 1) for i in range(size)})
    depths = np.arange(size) / size
    smooth = np.exp(-((depths[:, np.newaxis] - depths) ** 2) / 0.05)
    assert np.linalg.eigvalsh(smooth)[0] < 1e-15
    noise = np.random.default_rng(0).uniform(-1e-15, 1e-15, (size, size))
    samples = []
    for cov in (smooth, smooth + noise + noise.T):
        optimizer = CMAMV(space, algorithm=algorithm, sigma=0.01, seed=1)
        optimizer._algorithm._parts[-1]._C = cov
        samples.append(list(optimizer.ask().sample.values()))
    assert np.std(samples[0]) > 1e-3
    np.testing.assert_allclose(*samples, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dimensions", [1, 6])
def test_cmawm_is_cma_without_discrete_variables(dimensions: int) -> None:
    space = Space({f"x{i}": Real(-1, 1, start=0.3) for i in range(dimensions)})
    cma, cmawm = (CMAMV(space, algorithm=name, sigma=0.2, seed=1) for name in ("cma", "cmawm"))
    for _ in range(60):
        pairs = [(cma.ask(), cmawm.ask()) for _ in range(POPULATION)]
        assert all(a.sample == b.sample for a, b in pairs)
        cma.tell([(a, value_of(a.sample)) for a, _ in pairs])
        cmawm.tell([(b, value_of(b.sample)) for _, b in pairs])


def spaces_of(algorithm: str) -> list[Space]:
    return [REALS] if algorithm == "cma" else [REALS, MIXED]


SEARCHES = [
    pytest.param(algorithm, space, id=f"{algorithm}-{kind}")
    for algorithm in ALGORITHMS
    for space, kind in zip(spaces_of(algorithm), ("reals", "mixed"), strict=False)
]


def told(optimizer: CMAMV, value: Callable[[int, Sample], float]) -> list[tuple[Candidate, float]]:
    candidates = [optimizer.ask() for _ in range(optimizer.population_size)]
    return [(each, value(i, each.sample)) for i, each in enumerate(candidates)]


def assert_finite(optimizer: CMAMV) -> None:
    shown = optimizer.distribution()
    assert math.isfinite(shown["sigma"])
    assert list(shown["variables"]) == list(optimizer.space.searched)
    for mean in shown["variables"].values():
        assert np.all(np.isfinite(mean))
    assert all(
        np.all(np.isfinite(array))
        for raw in [optimizer.ask().raw]
        for array in (
            [raw]
            if isinstance(raw, np.ndarray)
            else [each for each in (raw.x, raw.z, raw._v_raw) if each is not None]
        )
    )


# The library takes the median of nothing with a warning, and then ranks by NaN.
@pytest.mark.sample(20)
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("tied", range(1, 10))
@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_values_tied_at_the_worst_keep_everything_finite(
    algorithm: str, space: Space, tied: int, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    for _ in range(15):
        solutions = told(optimizer, lambda i, sample: value_of(sample))
        worst = max(value for _, value in solutions[tied:]) + (tied == POPULATION - 1)
        solutions[:tied] = [(candidate, worst) for candidate, _ in solutions[:tied]]
        optimizer.tell(solutions)
        for candidate, _ in solutions:
            space.validate(candidate.sample)
        assert_finite(optimizer)
    # No update had to be given up.
    assert not caplog.records


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("huge", [[1e30], [1e30] * 3, [1e5, 1e12, 1e30, 1e30], [1e308, -1e308]])
def test_huge_values_keep_everything_finite(
    algorithm: str, space: Space, huge: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    for _ in range(15):
        solutions = told(
            optimizer, lambda i, sample: huge[i] if i < len(huge) else value_of(sample)
        )
        optimizer.tell(solutions)
        assert_finite(optimizer)
    assert not caplog.records


@given(values=st.lists(st.sampled_from([0.0, 1.0, 2.0, 1e-300, 1e9, 1e30, 1e200]), min_size=40))
@examples(8)
@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_any_finite_values_keep_everything_finite(
    algorithm: str, space: Space, values: list[float]
) -> None:
    optimizer = CMAMV(space, algorithm=algorithm, population_size=4)
    for i in range(0, len(values) - 3, 4):
        optimizer.tell(told(optimizer, lambda j, _, i=i: values[i + j]))  # type: ignore[misc]
        assert_finite(optimizer)


def distance(sample: Sample) -> float:
    """How far a sample of ten reals is from 0.7."""
    return sum((value - 0.7) ** 2 for value in sample.values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("failure", ["tied", "huge"])
def test_it_improves_when_seven_of_ten_fail(algorithm: str, failure: str) -> None:
    space = Space({f"x{i}": Real(0, 1) for i in range(10)})
    first: list[float] = []
    last: list[float] = []
    for seed in range(5):
        optimizer = CMAMV(space, algorithm=algorithm, seed=seed)
        for generation in range(40):
            solutions = told(optimizer, lambda i, sample: distance(sample))
            if generation in (0, 39):
                (first if generation == 0 else last).extend(value for _, value in solutions)
            # Ranks of the library's half of the population need more than the three that worked.
            worst = max(value for _, value in solutions[7:])
            bad = [worst] * 7 if failure == "tied" else [10.0 ** (5 * i + 1) for i in range(7)]
            optimizer.tell(
                [
                    (candidate, bad[i] if i < 7 else value)
                    for i, (candidate, value) in enumerate(solutions)
                ]
            )
    assert np.mean(last) < np.mean(first)


def test_diverged_losses_do_not_hide_the_others_from_catcmawm() -> None:
    """Three huge values must cost hardly more than three values that are just bad."""
    space = Space({f"x{i}": Real(0, 1) for i in range(30)})

    def reached(bad: float) -> float:
        best = []
        for seed in range(24):
            optimizer = CMAMV(space, sigma=0.3, seed=seed)
            for _ in range(15):
                optimizer.tell(
                    told(optimizer, lambda i, s: bad * (i + 1) if i < 3 else distance(s))
                )
            best.append(distance(optimizer.distribution()["variables"]))
        return float(np.mean(best))

    assert reached(1e30) < 1.2 * reached(10.0)


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_the_seed_decides(algorithm: str, space: Space) -> None:
    def trajectory(seed: int) -> list[Sample]:
        optimizer = CMAMV(space, algorithm=algorithm, seed=seed)
        assert optimizer.algorithm == algorithm
        samples = []
        for _ in range(8):
            solutions = told(optimizer, lambda i, sample: value_of(sample))
            optimizer.distribution()
            optimizer.tell(solutions)
            samples += [candidate.sample for candidate, _ in solutions]
        return samples

    assert trajectory(1) == trajectory(1)
    assert trajectory(1) != trajectory(2)


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_candidates_may_be_asked_before_the_update_that_precedes_them(
    algorithm: str, space: Space
) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    ahead: list[Candidate] = []
    for _ in range(12):
        candidates = ahead + [optimizer.ask() for _ in range(POPULATION - len(ahead))]
        ahead = [optimizer.ask() for _ in range(4)]
        optimizer.tell([(each, value_of(each.sample)) for each in candidates])
        assert_finite(optimizer)


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_what_is_told_is_left_as_it_is(algorithm: str, space: Space) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    solutions = told(optimizer, lambda i, sample: -float(i))
    before = list(solutions)
    raws = [repr(candidate.raw) for candidate, _ in solutions]
    optimizer.tell(solutions)
    assert all(a is b for a, b in zip(solutions, before, strict=True))
    assert [repr(candidate.raw) for candidate, _ in solutions] == raws
    assert optimizer.generation == 1


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
def test_equal_values_leave_the_distribution(algorithm: str, space: Space) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    optimizer.tell(told(optimizer, lambda i, sample: value_of(sample)))
    solutions = told(optimizer, lambda i, sample: 3.0)
    before = optimizer.distribution()
    optimizer.tell(solutions)
    assert optimizer.distribution() == before
    assert optimizer.generation == 2


@pytest.mark.parametrize(("algorithm", "space"), SEARCHES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(algorithm: str, space: Space, bad: float) -> None:
    optimizer = CMAMV(space, algorithm=algorithm)
    solutions = told(optimizer, lambda i, sample: bad if i == 4 else 0.0)
    before = optimizer.distribution()
    with pytest.raises(ValueError, match=r"solution 4 .*worst finite"):
        optimizer.tell(solutions)
    assert optimizer.distribution() == before
    assert optimizer.generation == 0


@pytest.mark.parametrize("count", [0, 9, 11])
def test_another_number_of_values_is_refused(count: int) -> None:
    optimizer = CMAMV(REALS)
    with pytest.raises(ValueError, match=f"{count} solutions; .*population_size = 10"):
        optimizer.tell([(optimizer.ask(), 1.0) for _ in range(count)])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("population_size", [1, 3, 4, 5])
def test_the_smallest_population_is_the_smallest_that_works(
    algorithm: str, population_size: int
) -> None:
    if population_size < 4:
        with pytest.raises(ValueError, match="use 4 or more"):
            CMAMV(REALS, algorithm=algorithm, population_size=population_size)
        return
    optimizer = CMAMV(REALS, algorithm=algorithm, population_size=population_size)
    for _ in range(30):
        optimizer.tell(told(optimizer, lambda i, sample: value_of(sample)))
        assert_finite(optimizer)


@pytest.mark.parametrize(
    ("space", "settings_", "named"),
    [
        (REALS, {"algorithm": "pso"}, "'pso' is not one of catcmawm, cmawm, sop, cma"),
        (REALS, {"sigma": 0.0}, "sigma=0.0"),
        (REALS, {"sigma": math.nan}, "sigma=nan"),
        (REALS, {"seed": -1}, "seed=-1"),
        (MIXED, {"algorithm": "cma"}, "colour is Categorical"),
        (Space({}), {}, "more than one value"),
        (Space({"n": Integer(1, 1)}), {}, r"\['n'\]"),
    ],
)
def test_wrong_settings_are_refused(space: Space, settings_: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CMAMV(space, **settings_)


@pytest.mark.sample(12)
@pytest.mark.parametrize("choices", [3, 4, 5, 9])
@pytest.mark.parametrize("binary", [1, 2, 3])
@pytest.mark.parametrize("ordered", [0, 1, 2, 3])
def test_every_point_of_sop_has_neighbours(choices: int, binary: int, ordered: int) -> None:
    space = Space(
        {f"b{i}": Integer(0, 1) for i in range(binary)}
        | {f"o{i}": Integer(1, 3 + 2 * i, log=bool(i % 2)) for i in range(ordered)}
        | {f"c{i}": Categorical(tuple(range(choices + i))) for i in range(2)}
    )
    optimizer = CMAMV(space, algorithm="sop")
    matrices = optimizer._algorithm._optimizer._get_neighbor_matrices()
    assert len(matrices) == (binary + 1) // 2 + (ordered + 1) // 2 + 2
    assert all(matrix.any(axis=1).all() for matrix in matrices)
    seen: dict[str, set[Any]] = {name: set() for name in space}
    for _ in range(300):
        for name, value in optimizer.ask().sample.items():
            seen[name].add(value)
    for name, variable in space.items():
        if not name.startswith("o"):
            assert len(seen[name]) == variable.size, name  # type: ignore[union-attr]


@pytest.mark.parametrize("lonely", [slice(None), 3], ids=["all", "one"])
def test_sop_refuses_points_without_neighbours(
    monkeypatch: pytest.MonkeyPatch, lonely: Any
) -> None:
    neighbours = np.ones((4, 4), dtype=bool)
    neighbours[lonely] = False
    monkeypatch.setattr(CMASoP, "_get_neighbor_matrices", lambda self: [neighbours])
    with pytest.raises(ValueError, match="first × second"):
        CMAMV(Space({"first": Integer(0, 1), "second": Integer(0, 1)}), algorithm="sop")


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop"])
def test_integers_of_many_values_are_searched(algorithm: str) -> None:
    space = Space({"n": Integer(0, 10**6), "m": Integer(1, 10**6, log=True)})
    optimizer = CMAMV(space, algorithm=algorithm, seed=1)
    for _ in range(60):
        optimizer.tell(
            told(
                optimizer,
                lambda i, s: abs(s["n"] - 700_000) / 1e6 + abs(math.log10(s["m"]) - 2),
            )
        )
    assert optimizer.ask().sample["n"] == pytest.approx(700_000, rel=0.05)
    assert optimizer.ask().sample["m"] == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_start_is_the_centre_of_the_first_samples(algorithm: str) -> None:
    space = Space(
        {
            "x": Real(-2.0, 2.0, start=0.8),
            "lr": Real(1e-4, 1.0, log=True, start=3e-2),
            "y": Real(0.0, 1.0),
        }
    )
    optimizer = CMAMV(space, algorithm=algorithm, sigma=0.1)
    samples = [optimizer.ask().sample for _ in range(2000)]
    assert np.mean([sample["x"] for sample in samples]) == pytest.approx(0.8, abs=0.05)
    assert np.std([sample["x"] for sample in samples]) == pytest.approx(0.4, rel=0.1)
    assert np.mean([math.log10(s["lr"]) for s in samples]) == pytest.approx(-1.52, abs=0.05)
    assert optimizer.distribution() == {
        "sigma": 0.1,
        "variables": {"x": pytest.approx(0.8), "lr": pytest.approx(3e-2), "y": 0.5},
        "positions": {
            "x": pytest.approx(0.7),
            "lr": pytest.approx(math.log(3e-2 / 1e-4) / math.log(1e4)),
            "y": 0.5,
        },
    }


@pytest.mark.parametrize(
    ("algorithm", "close"), [("catcmawm", 0.03), ("cmawm", 0.06), ("sop", 0.1)]
)
def test_weights_are_the_first_frequencies(algorithm: str, close: float) -> None:
    space = Space(
        {
            "three": Categorical(COLOURS, weights=(6, 3, 1)),
            "two": Categorical(("off", "on"), weights=(1, 4)),
            "bit": Integer(0, 1, start=0.3),
            "depth": Integer(0, 10, start=7),
        }
    )
    optimizer = CMAMV(space, algorithm=algorithm, sigma=0.15)
    samples = [optimizer.ask().sample for _ in range(2000)]
    shown = optimizer.distribution()["variables"]
    found = [np.mean([sample["three"] == colour for sample in samples]) for colour in COLOURS]
    assert found == pytest.approx([0.6, 0.3, 0.1], abs=close)
    assert shown["three"] == pytest.approx(found, abs=0.05)
    assert np.mean([sample["two"] == "on" for sample in samples]) == pytest.approx(0.8, abs=0.03)
    assert shown["two"] == pytest.approx([0.2, 0.8], abs=1e-6)
    assert np.mean([sample["bit"] for sample in samples]) == pytest.approx(0.3, abs=0.03)
    assert shown["bit"] == pytest.approx(0.3, abs=1e-6)
    assert np.mean([sample["depth"] for sample in samples]) == pytest.approx(7, abs=0.4)
    assert shown["depth"] == pytest.approx(7)


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop"])
def test_distribution_follows_what_is_learnt(algorithm: str) -> None:
    space = Space({f"b{i}": Integer(0, 1) for i in range(5)} | {"c": Categorical(COLOURS)})
    optimizer = CMAMV(space, algorithm=algorithm, seed=2)
    for _ in range(60):
        optimizer.tell(
            told(
                optimizer,
                lambda i, s: sum(s[f"b{j}"] for j in range(5)) + 2.0 * (s["c"] != "green") + i / 99,
            )
        )
    shown = optimizer.distribution()["variables"]
    assert np.mean([shown[f"b{i}"] for i in range(5)]) < 0.3
    assert int(np.argmax(shown["c"])) == 1


def test_an_update_that_fails_leaves_the_distribution(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = CMAMV(MIXED)
    before = optimizer.distribution()

    def spoil(bare: CatCMAwM, v: np.ndarray) -> None:
        bare._mean += math.nan
        bare._q *= 0.5

    with monkeypatch.context() as patch:
        patch.setattr(CatCMAwM, "_update_gaussian", spoil)
        patch.setattr(CatCMAwM, "_margin_correction", lambda bare: None)
        patch.setattr(CatCMAwM, "_update_categorical", lambda bare, c: None)
        optimizer.tell(told(optimizer, lambda i, sample: value_of(sample)))
    assert "not finite" in caplog.text
    assert optimizer.distribution() == before
    assert optimizer.generation == 1
    optimizer.tell(told(optimizer, lambda i, sample: value_of(sample)))
    assert optimizer.distribution() != before


def test_constants_stand_in_every_sample_in_the_space_s_order() -> None:
    for algorithm in ("catcmawm", "cmawm", "sop"):
        sample = CMAMV(MIXED, algorithm=algorithm).ask().sample
        assert list(sample) == list(MIXED)
        assert sample["seed"] == 7
        assert all(type(value) in (int, float, str) for value in sample.values())


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop"])
def test_an_integer_of_three_values_is_not_stuck_in_the_middle(algorithm: str) -> None:
    space = Space({"n": Integer(0, 2), "m": Integer(-1, 1), "x": Real(0.0, 1.0)})
    optimizer = CMAMV(space, algorithm=algorithm, sigma=0.1)
    samples = [optimizer.ask().sample for _ in range(1000)]
    for value in range(3):
        assert np.mean([sample["n"] == value for sample in samples]) > 0.1
    assert np.std([sample["x"] for sample in samples]) == pytest.approx(0.1, rel=0.1)
