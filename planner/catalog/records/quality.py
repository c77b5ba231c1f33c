"""How able models are: the axes on which they are compared, and what the published scores say of each."""

from planner.catalog.records.base import Record


class AbilityPrior(Record):
    """What is expected of a model that the fit has not seen, in size doublings: `intercept` for a dense billion
    parameters of January 2024, and what each known property adds. `deviation`: standard deviation around it."""

    intercept: float
    per_ratio_doubling: float
    per_year: float
    thinking: float
    tagged: float
    deviation: float


class QuantEffect(Record):
    """How much more a quant takes away on this axis than on average (`factor`), and how much less for each doubling
    of the model's size (`per_size_doubling`, a factor below 1). `scores`: measurements behind the factor."""

    factor: float
    per_size_doubling: float
    scores: int


class Axis(Record, kw_only=True):
    """One kind of ability. `scores` published scores speak of it directly, `general_scores` of all axes alike.
    Models between the same two `band_edges` count as equally able; `band_width` is the median uncertainty.
    `useful_from`: models judged below it are of little use for the axis; None = no such line is known.
    `tag`: the tag of models made for the axis."""

    id: str
    title: str
    benchmarks: tuple[str, ...]
    scores: int
    general_scores: int
    band_width: float
    band_edges: tuple[float, ...]
    prior: AbilityPrior
    quant: QuantEffect
    useful_from: float | None = None
    tag: str | None = None


class Evidence(Record, kw_only=True):
    """One model: its size, how many scores it has by axis, how many models of its family have some, and on each
    axis the expected ability and its standard deviation in size doublings."""

    id: str
    total_parameters: int
    scores: dict[str, int] = {}
    siblings: int = 0
    axes: dict[str, tuple[float, float]]
