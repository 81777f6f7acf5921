"""What a reader must know to judge the numbers of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence

from .planning import Planned
from .results import SystemScores
from .scoring import PART_S, PartResult

_ODD_DELAY_S = 0.001
_SHORT_S = 0.0005  # resampling can cost a sample


def notes_on(
    planned: Sequence[Planned],
    *,
    results: Sequence[PartResult],
    scored: Sequence[SystemScores],
    missing: Mapping[str, str],
) -> Iterator[str]:
    if missing:
        yield f"no {', '.join(missing)}: pip install 'audenoise[metrics]'"
    if cut := [plan for plan in planned if abs(plan.difference_s) > _SHORT_S]:
        worst = max(cut, key=lambda plan: abs(plan.difference_s))
        yield (
            f"{len(cut)} pairs differ in length, {worst.pair.name} the most "
            f"({1000 * worst.difference_s:+.1f} ms): what both have is compared"
        )
    if rates := [plan.pair.name for plan in planned if plan.noisy_rate != plan.sample_rate]:
        yield (
            f"{len(rates)} noisy recordings have another rate than their clean ones ({rates[0]}): "
            "resampled to the clean one's for the scores"
        )
    if low := [plan.pair.name for plan in planned if plan.sample_rate < 16_000]:
        yield (
            f"{len(low)} clean recordings are below 16 kHz ({low[0]}): WB-PESQ and DNSMOS judge their "
            "narrow band as if it were a wide one"
        )
    if parted := {result.job.pair.name for result in results if result.job.start_s > 0}:
        yield (
            f"{len(parted)} recordings are longer than {PART_S:g} s: denoised and scored in equal parts, "
            "their score is the mean"
        )
    if silent := [result for result in results if result.unusable and result.job.pair.name in parted]:
        yield f"{len(silent)} parts of long recordings were left out: {silent[0].unusable}"
    for system in scored:
        odd = [name for name, delay in system.delays_s.items() if abs(delay - system.delay_s) > _ODD_DELAY_S]
        if odd:
            yield (
                f"{system.name}: {len(odd)} files seem to have another delay than the "
                f"{1000 * system.delay_s:g} ms removed, as far as noise allows to say: {_few(odd)}"
            )
        late = [
            part.missing_s
            for result in results
            if (part := result.systems.get(system.name)) is not None and part.missing_s > _SHORT_S
        ]
        if late:
            yield (
                f"{system.name}: {len(late)} outputs are shorter than the clean recording, by up to "
                f"{1000 * max(late):.1f} ms: the missing end counts as silence"
            )


def _few(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
