"""How an experiment begins: the jobs of its entries, and that others are told of it."""

from collections.abc import Iterator

from django.dispatch import Signal

from experiments.models import Entry, Run, SampleSet
from experiments.submission import pipelines
from generators.specs.options import parse
from generators.specs.pipelines.options import PipelineSampler

# In the transaction of a submission: experiment; user, None of a command's; notify, None = not said.
submitted = Signal()


def jobs_of(entry: Entry, seed: int, seeds_apart: int) -> Iterator[Run | SampleSet]:
    """Yield an entry's unwritten jobs of a seed: a training, or sampling where there is none.

    Samples of neighbouring seeds begin so far apart.
    """
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
