"""Experiments in several states, as pages meet them."""

from dataclasses import dataclass

from django.conf import settings
from PIL import Image

from catalog.models import Protocol
from experiments.models import Checkpoint, Entry, Evaluation, Experiment, Run, SampleSet
from experiments.viewings.kinds import offered
from jobs.models import Status
from tests import factories

METRICS = ["fd", "kd", "is", "precision", "density", "recall", "authenticity"]
CONTROLS = {  # Fréchet distance, recall, authenticity
    "test": (0.3123, 0.96, 0.64),
    "copy": (0.0041, 0.97, 0.0),
    "noise": (183.2, 0.0, 1.0),
    "blur": (21.4, 0.35, 0.71),
}
DDIM = {"name": "ddim", "steps": 50}
SOLVER = {"name": "dpmsolver++", "steps": 20}


@dataclass(frozen=True)
class Scene:
    """One experiment with what came of it."""

    experiment: Experiment
    protocol: Protocol
    runs: list[Run]
    sample_sets: list[SampleSet]
    evaluations: list[Evaluation]

    @property
    def run(self) -> Run:
        return self.runs[0]


def measured(value: float, half: float) -> dict[str, float]:
    """Return a metric value with a symmetric interval, as the evaluation engine writes it."""
    return {
        "value": value * 1.01,
        "bias_corrected": value,
        "standard_error": half / 2,
        "low": value - half,
        "high": value + half,
    }


def values(fd: float, recall: float, authenticity: float = 0.62) -> dict[str, dict[str, float]]:
    return {
        "fd": measured(fd, fd / 12),
        "kd": measured(fd / 17, fd / 150),
        "is": measured(9.1 - fd / 20, 0.0821),
        "precision": measured(0.9123456789, 0.0213),
        "density": measured(0.87, 0.041),
        "recall": measured(recall, 0.0317),
        "authenticity": measured(authenticity, 0.0288),
    }


def with_two_boards(*, entries: int) -> Experiment:
    """Return an experiment that is scored under the protocols A and B, of which nothing is done."""
    dataset = factories.make_dataset()
    protocols = [
        factories.make_protocol(dataset=dataset, name=name, metrics=["fd"], num_images=number)
        for name, number in (("A", 50), ("B", 60))
    ]
    labels = [f"n{place}" for place in range(entries)]
    made = [{"algorithm": "gan.sngan", "label": label} for label in labels]
    return factories.make_experiment(protocols=protocols, entries=made)


def finished_comparison(*, seeds: int = 2, failing: bool = False) -> Scene:
    """Return a GAN, a VAE and a diffusion model with two samplers, scored, with the controls."""
    protocol = factories.make_protocol(
        facts={"test_accuracy": 0.9861}, name="Digits classifier", metrics=METRICS
    )
    experiment = factories.make_experiment(
        name="GAN vs VAE vs diffusion",
        protocols=[protocol],
        seeds=list(range(seeds)),
        entries=[
            {"algorithm": "gan.sngan"},
            {"algorithm": "vae.conv", "label": "σ-VAE"},
            {"algorithm": "vae.conv", "label": "β-VAE", "config": {"variant": "beta", "beta": 4.0}},
            {"algorithm": "diffusion.ddpm", "samplers": [DDIM, SOLVER]},
        ],
    )
    scored = []
    for kind, numbers in CONTROLS.items():
        control = factories.control_of(experiment, kind)
        drawn = factories.make_sample_set(entry=control, files=True)
        scored.append(factories.make_evaluation(sample_set=drawn, values=values(*numbers)))
    runs: list[Run] = []
    for place, entry in enumerate(factories.contenders_of(experiment)):
        for seed in experiment.seeds:
            if failing and place == 0 and seed == seeds - 1:
                runs.append(factories.make_run(entry=entry, seed=seed, status=Status.FAILED))
                continue
            run = factories.make_run(entry=entry, seed=seed, status=Status.COMPLETED, loss_points=5)
            runs.append(run)
            scored += _scores(entry, run, 4.0 + 3.7 * place + 0.21 * seed)
    return Scene(experiment, protocol, runs, [e.sample_set for e in scored], scored)


def _scores(entry: Entry, run: Run, fd: float) -> list[Evaluation]:
    found = []
    for index, sampler in enumerate(entry.samplers):
        drawn = factories.make_sample_set(run=run, sampler=sampler, files=run.seed == 0)
        numbers = values(fd + index, 0.8 - fd / 60)
        found.append(factories.make_evaluation(sample_set=drawn, values=numbers))
    return found


GUIDED = {"name": "euler", "steps": 16, "guidance": [0, 1, 2, 4]}
SCALES = {0: (0.11, 1.9), 1: (0.52, 1.7), 2: (0.71, 1.5), 4: (0.79, 1.2)}  # following, variety


def guided_comparison(*, seeds: int = 1) -> Experiment:
    """Return a GAN, a VAE and a diffusion model at four guidance scales, scored on prompts."""
    experiment = factories.make_scenes_experiment(
        name="What words are worth",
        seeds=list(range(seeds)),
        entries=[
            {"algorithm": "gan.sngan"},
            {"algorithm": "vae.conv"},
            {"algorithm": "diffusion.flow", "config": {"label_dropout": 0.1}, "samplers": [GUIDED]},
        ],
    )
    for kind, numbers in {
        "asked": (1.0, 1.8),
        "shuffled": (0.06, 1.8),
        "test": (0.05, 1.9),
    }.items():
        control = factories.control_of(experiment, kind)
        _followed(factories.make_sample_set(entry=control, files=True), *numbers)
    gan, vae, flow = factories.contenders_of(experiment)
    for seed in experiment.seeds:
        for entry, numbers in ((gan, (0.44, 1.3)), (vae, (0.3, 1.1))):
            run = factories.make_run(entry=entry, seed=seed, status=Status.COMPLETED)
            _followed(factories.make_sample_set(run=run, files=True), *numbers)
        run = factories.make_run(entry=flow, seed=seed, status=Status.COMPLETED)
        for sampler in flow.samplers:
            drawn = factories.make_sample_set(run=run, sampler=sampler, files=True)
            _followed(drawn, *SCALES[sampler["guidance"]])
    return experiment


def _followed(drawn: SampleSet, share: float, variety: float) -> None:
    values = {
        "following": {
            "value": share,
            "low": max(0.0, share - 0.05),
            "high": min(1.0, share + 0.04),
        },
        "following_colour": {"value": 1 - share, "low": 0.0, "high": 1.0},
        "prompt_vendi": measured(variety, 0.1),
    }
    factories.make_evaluation(sample_set=drawn, values=values)


def running_comparison() -> Scene:
    """Return an experiment with a run in every state that is not simply completed."""
    protocol = factories.make_protocol()
    experiment = factories.make_experiment(
        name="Still running",
        protocols=[protocol],
        seeds=[0, 1],
        algorithms=["gan.sngan", "vae.conv"],
    )
    gan, vae = factories.contenders_of(experiment)
    running = factories.make_run(entry=gan, seed=0, status=Status.RUNNING, loss_points=3)
    add_preview(running, images_seen=300)
    done = factories.make_run(entry=vae, seed=0, status=Status.COMPLETED)
    drawn = factories.make_sample_set(run=done, files=True)
    scoring = factories.make_evaluation(sample_set=drawn, status=Status.RUNNING, step="recall")
    runs = [
        running,
        factories.make_run(entry=gan, seed=1, status=Status.FAILED),
        done,
        factories.make_run(entry=vae, seed=1, status=Status.QUEUED),
    ]
    return Scene(experiment, protocol, runs, [drawn], [scoring])


def add_preview(run: Run, *, images_seen: int, side: int = 36) -> Checkpoint:
    """Return a checkpoint of the run whose grid is on disk."""
    checkpoint = factories.make_checkpoint(run=run, images_seen=images_seen)
    checkpoint.preview = f"runs/{run.pk}/preview-{images_seen}.png"
    checkpoint.save()
    path = settings.DATA_DIR / checkpoint.preview
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), 128).save(path)
    return checkpoint


def now(entry: Entry) -> Entry:
    """Return an entry as the site finds it now: a package may have gone since."""
    return Entry.objects.get(pk=entry.pk)


def addresses(*scenes: Scene) -> list[str]:
    """Return the address of every page that a reader can reach."""
    found = ["/", "/experiments/", "/leaderboards/", "/datasets/", "/workers/"]
    found += ["/claims/", "/glossary/", "/glossary/fid/", "/advice/"]
    for scene in scenes:
        fingerprint = scene.protocol.fingerprint
        found += [
            scene.experiment.get_absolute_url(),
            f"/leaderboards/{fingerprint}/",
            f"/protocols/{fingerprint}/",
            f"/datasets/{scene.experiment.dataset.slug}/",
            *(run.get_absolute_url() for run in scene.runs),
            *(
                f"{run.get_absolute_url()}process/"
                for run in scene.runs[:1]
                if offered(now(run.entry))
            ),
        ]
    return found


FORMS = ("/submit/experiment/", "/submit/samples/", "/submit/dataset/", "/submit/protocol/")


def everything() -> list[str]:
    """Return the addresses of a finished and of a running experiment, and of what lies beside."""
    done, live = finished_comparison(), running_comparison()
    ids = ",".join(str(entry.pk) for entry in factories.contenders_of(done.experiment))
    viewing, question = factories.make_viewing(status=Status.COMPLETED), factories.make_question()
    return [
        *addresses(done, live),
        viewing.get_absolute_url(),
        question.get_absolute_url(),
        f"/leaderboards/{done.protocol.fingerprint}/budgets/",
        f"/compare/?entries={ids}",
        f"/advice/?dataset={done.experiment.dataset.slug}",
        *("/experiments/?q=vae", "/judging/", "/help/", "/help/glossary/", "/login/"),
    ]
