"""The jobs with which an entry begins, for each seed: a training, or sampling where there is none."""

from collections.abc import Iterator

from experiments.models import Entry, Run, SampleSet
from experiments.submission import pipelines
from generators.specs.options import parse
from generators.specs.pipelines.options import PipelineSampler


def jobs_of(entry: Entry, seed: int, seeds_apart: int) -> Iterator[Run | SampleSet]:
    """Yield the unwritten jobs of a seed; samples of neighbouring seeds begin so far apart."""
    if entry.kind != Entry.Kind.PIPELINE:
        yield Run(entry=entry, seed=seed)
        return
    protocols = entry.experiment.protocols.all()
    for sampler in entry.samplers:
        yield SampleSet(
            entry=entry,
            seed=seed,
            sampler=sampler,
            sampler_label=pipelines.label_of(
                parse(PipelineSampler, sampler), entry.config.get("card")
            ),
            count=max(protocol.num_images for protocol in protocols),
            first_seed=seed * seeds_apart,
        )
