"""`planner bench`: find out who answers, warm up, measure each number of users, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from planner.bench import server_timings, sweep
from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint, read_api_key
from planner.bench.identify import loaded_vram_bytes, served_models, with_details
from planner.bench.prediction import Forced, Predictor
from planner.bench.prompts import Prompts, words_for
from planner.bench.records import Bench, Level, Served, ServerTimings
from planner.bench.request import Dialect, Sample, ask, settle
from planner.bench.statistics import level_of
from planner.bench.subject import Subject, choose, identify, of_plan
from planner.catalog.catalog import Catalog
from planner.errors import PlannerError, UsageError
from planner.hardware.facts import Hardware
from planner.planning.plan import Plan

WARM_UP_TOKENS = 8
STEADY_SPREAD = 1.25  # repeats on an idle host lie within a few percent of each other
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What to measure: users at once, lengths in tokens, and requests per user."""

    concurrency: tuple[int, ...] = (1, 2, 4)
    prompt_tokens: int = 512
    output_tokens: int = 128
    rounds: int = 3

    def check(self) -> None:
        """Raises UsageError for what cannot be measured."""
        if not self.concurrency or min(self.concurrency) < 1 or max(self.concurrency) > sweep.MOST_USERS:
            raise UsageError(
                f"--concurrency {','.join(map(str, self.concurrency))} is no list of 1 to {sweep.MOST_USERS} users",
                hint="write it like 1,2,4",
            )
        if self.prompt_tokens < 1 or self.output_tokens < 2 or self.rounds < 1:
            raise UsageError("a prompt has 1 token or more, an answer 2 or more, and there is at least one round")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the person says of the server: the model (its name there or the catalog's), quant, server, placement."""

    model: str | None = None
    quant: str | None = None
    server: str | None = None
    forced: Forced = field(default_factory=Forced)


def bench(
    url: str,
    catalog: Catalog,
    questions: Questions = Questions(),
    names: Names = Names(),
    *,
    api_key_file: Path | None = None,
    plan: Plan | None = None,
    hardware: Hardware | Callable[[], Hardware] | None = None,
    for_calibration: bool = False,
    progress: Progress = lambda _step, _share: None,
    prompts: Prompts | None = None,
) -> Bench:
    """Measure the server at `url` and compare it with the prediction for its machine.

    `hardware`: the server's machine when that is known, or (a callable) this machine, which is asked only when the
    server turns out to run here. `for_calibration`: fail before measuring when nothing could be stored afterwards.
    Raises UsageError, PlannerError: not reachable, key refused, not OpenAI-compatible, model unknown."""
    questions.check()
    endpoint = parse_endpoint(url)
    client = Client(endpoint, read_api_key(api_key_file))
    progress("asking who serves", 0.0)
    models = served_models(client)
    served = with_details(client, choose(models, names.model, catalog))
    local = client.is_local()
    if plan is not None:
        subject = of_plan(catalog, plan, served, endpoint.port)
    else:
        subject = identify(catalog, served, model=names.model, quant=names.quant, server=names.server, local=local)
    _check_context(served, questions)
    machine, notes = _machine(plan, hardware, local, subject)
    if for_calibration:
        here_or_named = local or isinstance(hardware, Hardware)
        _check_storable(subject, machine if here_or_named else None, questions, names)
    session = _Session(client, served, questions, progress, prompts or Prompts())
    session.warm_up()
    predictor = _predictor(session, subject, machine, names)
    levels = tuple(session.level(users) for users in questions.concurrency)
    return _report(session, subject, predictor, levels, notes)


def _check_context(served: Served, questions: Questions) -> None:
    wanted, limit = questions.prompt_tokens + questions.output_tokens, served.context_tokens
    if limit is not None and wanted > limit:
        raise UsageError(
            f"--prompt {questions.prompt_tokens} and --output {questions.output_tokens} need {wanted} tokens, "
            f"a request of this server may use {limit}",
            hint="shorten them, or start the server with more context",
        )


def _machine(
    plan: Plan | None, hardware: Hardware | Callable[[], Hardware] | None, local: bool, subject: Subject
) -> tuple[Hardware | None, list[str]]:
    """The server's machine as far as it is known, and what to say when it is not."""
    if isinstance(hardware, Hardware):
        return hardware, []
    if plan is not None:
        return plan.hardware, []
    if not local:
        where = "the server runs on another machine, nothing to compare with: give --hardware FILE of it"
        return None, [where]
    known = subject.model is not None and subject.quant is not None
    return (hardware() if known and hardware is not None else None), []


def _check_storable(subject: Subject, machine: Hardware | None, questions: Questions, names: Names) -> None:
    if 1 not in questions.concurrency:
        raise UsageError("--save stores the rate of a single user", hint="put 1 into --concurrency")
    if subject.model is None or subject.quant is None:
        raise PlannerError("--save: " + "; ".join(subject.notes), hint="a measurement is stored for a known model")
    if subject.served.server is None and names.server is None and subject.service is None:
        raise UsageError("--save: the server does not say what it is", hint="name it with --server")
    if machine is None:
        raise UsageError("--save: the server's machine is not known", hint="give --hardware FILE of it")


def _predictor(session: _Session, subject: Subject, machine: Hardware | None, names: Names) -> Predictor | None:
    """None when model, quant, server or machine are unknown. Ollama says whether it uses the GPU at all."""
    if machine is None or subject.model is None or subject.quant is None or subject.server is None:
        return None
    forced = names.forced
    if machine.gpus and forced == Forced() and loaded_vram_bytes(session.client, session.served) == 0:
        forced = Forced(gpu_layers=0)
    return Predictor(subject, machine, forced)


class _Session:
    """A server that is being measured."""

    def __init__(
        self, client: Client, served: Served, questions: Questions, progress: Progress, prompts: Prompts
    ) -> None:
        self.client, self.served, self.questions = client, served, questions
        self._progress, self._prompts = progress, prompts
        self._dialect: Dialect | None = None
        self._words = 0
        self._answered = 0
        self.failures: list[str] = []

    def warm_up(self) -> None:
        """Load the model, find the dialect that the server takes, and how many words make the prompt."""
        self._progress("warming up", 0.0)
        settled, _ = settle(self.client, self.served.server, self.served.id, self._prompts.of(16), WARM_UP_TOKENS)
        self._dialect = settled
        self._words = words_for(self.questions.prompt_tokens, lambda words: self._ask_short(words).prompt_tokens)

    def _ask_short(self, words: int) -> Sample:
        return self._ask(self._prompts.of(words), WARM_UP_TOKENS)

    def _ask(self, prompt: str, output_tokens: int) -> Sample:
        assert self._dialect is not None
        return ask(self.client, self._dialect, self.served.id, prompt, output_tokens)

    def level(self, users: int) -> Level:
        """Measure so many users at once. Raises PlannerError when no request was answered."""
        questions = self.questions
        words = [[self._prompts.of(self._words) for _ in range(questions.rounds)] for _ in range(users)]
        label = "1 user" if users == 1 else f"{users} users"
        total = sum(questions.concurrency) * questions.rounds
        self._progress(label, self._answered / total)

        def done() -> None:
            self._answered += 1
            self._progress(label, self._answered / total)

        before = server_timings.counters(self.client, self.served)
        run = sweep.run_level(lambda prompt: self._ask(prompt, questions.output_tokens), words, done)
        after = server_timings.counters(self.client, self.served)
        own = server_timings.from_stream(run.samples) or server_timings.from_counters(before, after)
        if own is None and users == 1:
            own = self._ollama()
        if run.failures:
            self.failures.append(f"{label}: {len(run.failures)} requests failed: {run.failures[0].message}")
        return level_of(run.samples, users, failed=len(run.failures), server=own)

    def _ollama(self) -> ServerTimings | None:
        prompt = self._prompts.of(self._words)
        return server_timings.from_ollama(self.client, self.served, prompt, self.questions.output_tokens)


def _report(
    session: _Session, subject: Subject, predictor: Predictor | None, levels: Sequence[Level], notes: list[str]
) -> Bench:
    said = [*subject.notes, *notes, *session.failures, *_remarks(session, levels)]
    shown, placement, calibration = list(levels), None, None
    if predictor is not None:
        try:
            for index, level in enumerate(levels):
                figures, speed = predictor.compare(level)
                shown[index] = replace(level, predicted=figures)
                placement = placement or (speed.placement.text if speed.placement else None)
                if level.concurrency == 1:
                    calibration = predictor.calibration(level)
        except PlannerError as error:
            said.append(f"nothing to compare with: {error.message}")
    return Bench(
        served=session.served,
        model=subject.model.id if subject.model else None,
        quant=subject.quant.id if subject.quant else None,
        placement=placement,
        levels=tuple(shown),
        calibration=calibration,
        notes=tuple(dict.fromkeys(said)),
    )


def _remarks(session: _Session, levels: Sequence[Level]) -> list[str]:
    """What a reader must know to trust the figures."""
    said = []
    if any(level.tokens_counted == "events" for level in levels):
        said.append("the server counts no tokens: each streamed event is taken as one")
    if any(level.cached_tokens and level.cached_tokens > (level.prompt_tokens or 0) // 10 for level in levels):
        said.append("a part of the prompts came from the server's cache, prefill counts the rest")
    short = [level for level in levels if level.output_tokens < session.questions.output_tokens * 0.9]
    if short:
        said.append(f"answers ended early, after {short[0].output_tokens} tokens: rates are less certain")
    unsteady = max((level.decode_spread or 1.0 for level in levels), default=1.0)
    if unsteady > STEADY_SPREAD:
        said.append(f"unsteady: the fastest request decoded {unsteady:.1f} x as fast as the slowest: is the host busy?")
    slots, most = session.served.slots, max(level.concurrency for level in levels)
    if slots is not None and most > slots:
        said.append(f"the server works on {slots} requests at once: of {most} users {most - slots} wait")
    return said
