"""The loop: the genetic algorithm, one generation after the other."""

from __future__ import annotations

from darwin import (
    ablation,
    advice,
    answers,
    closing,
    gate,
    noise,
    plan,
    requests,
    screening,
    selection,
    spending,
    variation,
    verdicts,
)
from darwin.analysis import analyse
from darwin.births import bear
from darwin.errors import MainMoved, UsageError
from darwin.events import step
from darwin.evolution import Evolution
from darwin.fulfil import fulfil
from darwin.headline import headline
from darwin.lineage import population_refs
from darwin.measure import Wanted, measure
from darwin.memory.records import Choice, Comparison, Individual, Outcome, Status
from darwin.notify import WAITING
from darwin.renewal import catch_up, renew
from darwin.strategy import Strategy
from darwin.tidy import tidy


@step
def evolve(evolution: Evolution, target: int) -> Comparison | None:
    """Run generations until ``target`` are complete, then compare base and champion.

    The base is measured on several seeds first, and what lies ahead is printed. Every step ends in git before the
    next begins; a step that a killed run completed is not done again. Stops earlier when the time (``--for``) or the
    patience (``--patience``) is used up.

    Args:
        target: total generations of the workspace.

    Returns:
        The closing comparison; None where too few trials came to a loss.
    """
    memory = evolution.memory
    memory.record(evolution.advanced(target=target))
    if evolution.run.generation < target:
        renew(evolution)
    noise.measure_noise(evolution)
    catch_up(evolution)
    plan.announce(evolution, target)
    while evolution.run.generation < target and not _enough(evolution):
        generation = evolution.run.generation + 1
        renew(evolution)
        while evolution.run.settled < generation * len(evolution.run.population):
            births = next_births(evolution, generation)
            children = screening.promoted(evolution, bear(evolution, births))
            measure(evolution, [Wanted(child, evolution.seeds("selection", 1)[0]) for child in children])
            look_twice(evolution, births)
            requests.notice(evolution, [evolution.memory.individuals[birth.id] for birth in births])
            analyse(evolution, children)
            settle(evolution, births)
            attend(evolution)
        evolution.screen.generation(generation, memory)
        spending.announce(evolution, target)
        contender = verdicts.contender(evolution.run, memory.individuals)
        if contender is not None:
            meet(evolution, contender, least=verdicts.OWN_PAIRS if generation == target else 0)
        if generation < target:
            review(evolution)
        memory.record(evolution.advanced(generation=generation))
        memory.project_derived()
        tidy(evolution)
    closing.check(evolution)
    thin(evolution)
    closing.check(evolution)  # of a champion that is a thinner one now
    review(evolution)
    comparison = closing.compare(evolution)
    ask(evolution)
    if not evolution.cut_short:
        memory.record(evolution.advanced(target=None))
    memory.project_derived()
    tidy(evolution, at_the_end=True)
    return comparison


def next_births(evolution: Evolution, generation: int) -> list[variation.Birth]:
    """The next batch of births; a batch never reaches into the next generation."""
    run, memory = evolution.run, evolution.memory
    strategy = Strategy.of(run)
    left = generation * len(run.population) - run.settled
    fast = evolution.timed and strategy.search == "ga" and run.control is None
    return variation.plan(
        run.population,
        memory.individuals,
        seed=run.seed,
        settled=run.settled,
        count=min(1 if strategy.search == "greedy" else run.batch, left),
        strategy=strategy,
        effects=memory.prior_effects() if run.control == "no-memory" else memory.effects(),
        has=memory.features(),
        fastest=selection.to_speed_up(run.population, memory.individuals) if fast else None,
    )


@step
def look_twice(evolution: Evolution, births: list[variation.Birth]) -> None:
    """Train the children whose survival hangs on a difference that luck could make, and their rivals, once more."""
    run, people = evolution.run, evolution.memory.individuals
    gap = verdicts.lead(run, people)
    close = selection.close_calls(
        run.population, [people[b.id] for b in births], people, strategy=Strategy.of(run), gap=gap
    )
    measure(evolution, [Wanted(i, evolution.seeds("selection", 2)[1]) for i in close])


@step
def settle(evolution: Evolution, births: list[variation.Birth]) -> None:
    """Let the batch's results decide who survives, and move the agents' branches."""
    memory, run = evolution.memory, evolution.run
    population = selection.survivors(
        run.population,
        [memory.individuals[birth.id] for birth in births],
        memory.individuals,
        strategy=Strategy.of(run),
        second=evolution.seeds("selection", 2)[1],
        fast_place=evolution.timed and run.control != "reseeded",
    )
    memory.record(
        evolution.advanced(population=population, settled=births[-1].ordinal),
        refs=population_refs(population, memory),
    )


@step
def meet(evolution: Evolution, contender: Individual, least: int = 0) -> None:
    """Find the verdict on a contender: paired fresh seeds against the incumbent, look by look until it is decided.

    A verdict that the run cannot afford to end now stays open, and goes on if it is still the contender later.

    Args:
        least: pairs that are granted even if the run could not afford them: in its last generation, or because a
            person asked for the verdict.
    """
    memory, run = evolution.memory, evolution.run
    incumbent = memory.individuals[run.incumbent]
    earlier = contender.verdict if contender.verdict and contender.verdict.against == incumbent.id else None
    number = earlier.number if earlier else run.verdicts + 1
    seeds = evolution.seeds("verdict", verdicts.LOOKS[-1])
    affordable = max(least, verdicts.affordable(run, memory.individuals, contender))
    if affordable < verdicts.least_pairs(verdicts.spread(run, memory.individuals).df):
        return
    evolution.screen.meets(contender, incumbent)
    judged = contender
    for look in verdicts.LOOKS:
        if look > affordable:
            break
        measure(evolution, [Wanted(i, seed) for seed in seeds[:look] for i in (contender, incumbent)])
        mine, theirs = memory.individuals[contender.id], memory.individuals[incumbent.id]
        pairs = verdicts.paired(mine, theirs, seeds[:look], "val", run.budget)
        if not pairs or mine.status is not Status.TRAINED:
            return
        known = verdicts.spread(run, memory.individuals, mine, pairs)
        slope = run.noise.per_log_time if run.noise else 0.0
        verdict = verdicts.judge(incumbent.id, pairs, known, number, slope)
        judged = mine.model_copy(update={"verdict": verdict})
        if verdict.outcome is not Outcome.UNDECIDED or verdicts.hopeless(verdict):
            break
    if judged.verdict is None:
        return
    changes: dict[str, object] = {"verdicts": max(run.verdicts, number)}
    if judged.verdict.outcome is Outcome.BETTER:
        changes["last_gain"] = contender.generation
        if run.champion is None or _leads(judged, memory.individuals[run.champion], seeds, run.budget):
            changes["champion"] = contender.id
    memory.record(judged, evolution.advanced(**changes))
    evolution.screen.verdict(judged)


@step
def thin(evolution: Evolution) -> None:
    """Take out of the champion what does not pay at the larger budget; the thinner script is champion if it is proven
    better than the incumbent too. Once a champion, and never after a person merged it."""
    memory, run = evolution.memory, evolution.run
    if run.champion in (None, run.ablated, run.incumbent) or not Strategy.of(run).ablation:
        return
    champion = memory.individuals[str(run.champion)]
    thinner = ablation.thinner(evolution, champion)
    if thinner is not None:
        meet(evolution, thinner, least=verdicts.OWN_PAIRS)
        thinner = memory.individuals[thinner.id]
        if thinner.verdict is not None and thinner.verdict.outcome is Outcome.BETTER:
            champion = thinner
            evolution.screen.say(f"{thinner.id} is the champion: it lacks what does not last.", "bold")
    population = {a: champion.id if i == run.champion else i for a, i in run.population.items()}
    memory.record(
        evolution.advanced(champion=champion.id, ablated=champion.id, population=population),
        refs=population_refs(population, memory),
    )


def _leads(mine: Individual, champion: Individual, seeds: tuple[int, ...], budget: str) -> bool:
    """Whether mine is ahead of the champion on the verdict seeds that both have."""
    pairs = verdicts.paired(mine, champion, seeds, "val", budget)
    return sum(p.mine - p.theirs for p in pairs) <= 0


@step
def attend(evolution: Evolution) -> None:
    """Carry out what people decided meanwhile; train and judge their edits, and approvals that main has overtaken."""
    memory, workspace, screen = evolution.memory, evolution.workspace, evolution.screen
    done, refused, kept = gate.carry_out(memory, workspace.lineage, workspace.folder, evolution.advanced)
    _say_kept(evolution, kept)
    for contender, decision in done:
        screen.decided(contender, decision, workspace.lineage.shows(evolution.run.main))
    told = advice.take_up(memory, workspace.folder, evolution.advanced)
    for sentence in (*refused, *told, *requests.take_up(memory, workspace.folder)):
        screen.say(sentence, "yellow")
    fulfil(evolution)
    for one in gate.unjudged(memory):
        measure(evolution, [Wanted(one, evolution.seeds("selection", 1)[0])])
        known = memory.individuals[one.id]
        if known.status is Status.TRAINED:
            if known.id not in evolution.run.population.values():
                population = selection.survivors(evolution.run.population, [known], memory.individuals)
                moved = population_refs(population, memory)
                memory.record(evolution.advanced(population=population), refs=moved)
            meet(evolution, known, least=verdicts.LOOKS[-1])


@step
def review(evolution: Evolution) -> None:
    """Bring the champion to the gate if it waits for a decision; what is put off waits for a person."""
    attend(evolution)
    memory, lineage = evolution.memory, evolution.workspace.lineage
    for contender in [c for c in gate.waiting(memory) if c.id == evolution.run.champion]:
        answer = evolution.reviewer.review(gate.case(memory, lineage, contender))
        if answer.choice is Choice.DEFER and contender.id in memory.decisions:
            continue  # it was said that it waits
        if answer.choice is Choice.DEFER:
            evolution.notify(WAITING, f"{contender.id} waits for your decision: {headline(memory)}")
        try:
            decision = gate.decide(memory, lineage, contender, answer, evolution.advanced())
        except MainMoved as error:
            _say_kept(evolution, str(error))
            continue
        evolution.screen.decided(contender, decision, lineage.shows(evolution.run.main))


@step
def ask(evolution: Evolution) -> None:
    """At the end, ask the person at the terminal about the best change that waits, then about their edits of it.

    What was answered meanwhile is carried out first; nobody is asked about what has an answer.
    """
    memory, workspace = evolution.memory, evolution.workspace
    asked: set[str] = set()
    evolution.before_asking()
    attend(evolution)
    while evolution.desk is not None:
        asked |= answers.answered(workspace.folder)
        queue = gate.waiting(memory)[::-1]
        left = [c for c in queue[:1] + [c for c in queue if c.operator == gate.EDIT] if c.id not in asked]
        if not left:
            return
        asked.add(left[0].id)
        case = gate.case(memory, workspace.lineage, left[0])
        with evolution.screen.paused(), evolution.events.step("person", individual=left[0].id):
            answer = evolution.desk.review(case, workspace.lineage.files(left[0].commit))
        if answer is not None:
            try:
                answers.post(workspace.folder, left[0].id, answer)
            except UsageError as error:
                evolution.screen.say(str(error), "yellow")
        attend(evolution)


def _say_kept(evolution: Evolution, why: str) -> None:
    """Say once why decisions that were taken wait: only a person can put main back."""
    if why and why != evolution.main_moved:
        evolution.main_moved = why
        evolution.screen.say(why, "yellow")
        evolution.notify(WAITING, why)


def _enough(evolution: Evolution) -> bool:
    """Whether ``--for`` or ``--patience`` says to stop before the next generation."""
    run, patience = evolution.run, evolution.workspace.config.patience
    if evolution.out_of_time():
        evolution.screen.say("Stopping here: the time given with --for is used up.")
        return True
    if evolution.gateway is not None and evolution.gateway.stopped:
        evolution.screen.say(f"Stopping here: {evolution.gateway.stopped}.")
        evolution.cut_short = evolution.gateway.failed
        return True
    if patience is not None and run.generation - run.last_gain >= patience:
        evolution.screen.say(f"Stopping here: {patience} generations without a better script (--patience).")
        return True
    return False
