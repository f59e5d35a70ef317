"""The revo methods: mixed-variable CMA-ES over a genome of learning rates and freeze bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field

from revo_ray.errors import UserError
from revo_ray.evolve.algorithms import AlgorithmName, CovarianceName
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Proposals
from revo_ray.evolve.space import Sample, Space
from revo_ray.evolve.sweep import Sweep
from revo_ray.finetune.plan import Plan
from revo_ray.methods.genome import (
    BinaryGenome,
    Common,
    ContinuousGenome,
    Genome,
    RelativeGenome,
)
from revo_ray.methods.method import Method, UnitLike
from revo_ray.methods.recipe import DECAYS, Recipe
from revo_ray.settings.options import HIGHEST, LOWEST, Bounds, Exponent
from revo_ray.settings.schema import SearchOptions, Section

MOST_GENES = 2000
"""Genes that a search takes. An update's time grows with their cube (`benchmarks.searcher`)."""


class EvolveOptions(Section):
    """Options of the evolution."""

    algorithm: AlgorithmName = "catcmawm"
    """Variant of mixed-variable CMA-ES. The paper cites sop."""
    sigma: float | None = Field(None, gt=0, le=1)
    """Initial standard deviation, as a fraction of each gene's range; None: half a decade for a
    rate on a log scale, the algorithm's for other genes."""
    covariance: CovarianceName = "depth"
    """Initial covariance of the units' rates. depth: it falls with their distance in the network,
    so that the scale as a whole, groups of neighbours and single units vary. independent: none."""


class Evolved(Method):
    """Base class of methods that search a genome, by CMA-ES unless they override `searcher`."""

    genome_type: Genome

    def space(self, units: Sequence[UnitLike]) -> Space:
        """The space of the genome."""
        return self.genome_type.space(units)

    @property
    def sweeps(self) -> bool:
        """Whether `method.sweep` is set, and there are rates to sweep."""
        return self.starts_warm and bool(getattr(self.options, "sweep", False))

    @property
    def starts_warm(self) -> bool:
        """Whether CMA-ES searches its rates on a log scale; a plugin's own genome is not known."""
        known = isinstance(self.genome_type, Common) and self.genome_type.searches_log_rates
        return type(self).searcher is Evolved.searcher and known

    def space_around(self, winners: Sequence[Sequence[float]], units: Sequence[UnitLike]) -> Space:
        """The space of the genome, around the genomes of the winners."""
        space = self.space(units)
        return space.around([self.genome_type.winner(rates, units, space) for rates in winners])

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The plan of the genome."""
        return self.genome_type.plan(sample, units)

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """CMA-ES by generations, with lookahead and reuse.

        Raises:
            UserError: the algorithm cannot search that space, or it is too large.
        """
        if (genes := len(space.searched)) > MOST_GENES:
            raise UserError(
                f"gives {genes:,} genes, and a search takes {MOST_GENES:,}; choose block or stage",
                key="model.granularity",
            )

        def make(start: Sample | None) -> CMAMV:
            return CMAMV(
                space if start is None else space.starting_at(start),
                algorithm=self.options.algorithm,
                population_size=search.population,
                sigma=self.options.sigma,
                covariance=self.options.covariance,
                seed=search.seed,
            )

        samples = self.genome_type.opening(space, search.population) if self.sweeps else []
        try:
            optimiser = Sweep(samples, make) if samples else make(None)
        except ValueError as error:
            raise UserError(str(error), key="method.algorithm") from None
        return Proposals(
            optimiser, space, budget=search.evaluations, lookahead=search.lookahead, reuse=True
        )


class RateOptions(EvolveOptions):
    """The range of the learning rates."""

    low: Exponent = LOWEST
    """Rates are searched from 10^low, on a log scale."""
    high: Exponent = HIGHEST
    """Rates are searched up to 10^high."""
    sweep: bool = True
    """Whether the first generation has one rate for all units in each plan, evenly spaced from low
    to high on a log scale. The search then begins at the best of them. A linear scale and a fixed
    rate have none."""
    start: float | None = Field(None, ge=0, le=1)
    """Initial mean of the rates without a sweep, from 0 at low to 1 at high; None: the middle."""
    recipe: Recipe | None = None
    """Settings of `train` that become genes, beside the rates. They are `weight_decay` (1e-6 to
    0.1, on a log scale), `momentum` (0 to 0.99; β₁ of AdamW), `label_smoothing` (0 to 0.3), `mixup`
    and `cutmix` (0 to 1). None: none of them."""
    weight_decay: Bounds | None = DECAYS
    """Range of the weight decay where it is a gene, on a log scale. It is one if `recipe` names it;
    with a base rate (`scale: relative`, `revo-mixed`) always, unless this is None."""


class RevoBinary(Evolved):
    """REVO-Tune's binary encoding: a freeze bit for each unit, and one shared rate (eq. 1)."""

    name = "revo-binary"

    class Options(RateOptions):
        global_lr: Annotated[float, Field(gt=0)] | Literal["searched"] = "searched"
        """The shared rate, or `searched`."""
        head: Literal["trained", "searched"] = "trained"
        """searched: the new head may be frozen too, the paper's literal reading."""
        frozen: float = Field(0.5, gt=0, lt=1)
        """Initial probability that a unit is frozen."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.genome_type = _genome(BinaryGenome, options)


class RelativeOptions(RateOptions):
    """Options of a genome that is relative to a base rate; low, high and start are the base's."""

    spread: float = Field(2.0, gt=0, le=6)
    """Decades that a unit's rate may lie above or below the base rate."""


class RevoContinuous(Evolved):
    """REVO-Tune's continuous encoding: a rate for each unit (eq. 2)."""

    name = "revo-continuous"

    class Options(RelativeOptions):
        scale: Literal["log", "linear", "relative"] = "log"
        """log: rates from 10^low to 10^high; linear: the gene is the rate, as in the paper;
        relative: a base rate, and a ratio to it for each unit (`spread`, `weight_decay`). In the
        others the weight decay is a gene only if `recipe` names it."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        relative = options.scale == "relative"
        self.genome_type = _genome(RelativeGenome if relative else ContinuousGenome, options)


class RevoMixed(Evolved):
    """A base rate, and for each unit a ratio to it and a freeze bit: both encodings in one."""

    name = "revo-mixed"

    class Options(RelativeOptions):
        frozen: float = Field(0.1, gt=0, lt=1)
        """Initial probability that a unit is frozen."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.genome_type = _genome(RelativeGenome, options)


def _genome(kind: type[Genome], options: RateOptions) -> Genome:
    """The genome whose fields are the options of the same names."""
    if options.low >= options.high:
        raise UserError(
            f"is {options.low:g}; it must be below method.high, {options.high:g}", key="method.low"
        )
    return kind(**options.model_dump(include={field.name for field in fields(kind)}))
