"""Names of losses in words, as algorithms write them down; a plugin's own stay as they are."""

import re
from collections.abc import Iterable

QUARTERS = ("lowest", "second", "third", "highest")
WORDS = {
    "discriminator": "discriminator's loss",
    "generator": "generator's loss",
    "logit_real": "verdict on real images",
    "logit_fake": "verdict on generated images",
    "adversarial": "adversarial part",
    "r1": "gradient penalty on real images",
    "r2": "gradient penalty on generated images",
    "gradient_penalty": "gradient penalty",
    "distance": "distance that the critic sees",
    "elbo": "negative evidence bound (ELBO)",
    "bpd": "bits per dimension",
    "mse": "squared error of reconstructions",
    "kl": "divergence of the latents (KL)",
    "distortion": "error of reconstructions",
    "autoencoder": "autoencoder's loss",
    "commitment": "distance to the codes",
    "perplexity": "codes in use (perplexity)",
    "restarted": "codes begun anew",
    "prior": "prior's loss",
    "denoising": "error of denoising",
    "velocity": "error of the velocity",
    "tuning": "disagreement of two noise levels",
    "vlb": "variational bound",
    "loss": "loss",
}
QUARTER = re.compile(r"(?P<name>.+)_q(?P<number>[0-3])")


def words_of(name: str) -> str:
    """Return a loss in words: `mse_q0` is the squared error at the lowest quarter of noise."""
    if found := QUARTER.fullmatch(name):
        of = "error" if found["name"] == "mse" else WORDS.get(found["name"], found["name"])
        return f"{of}, {QUARTERS[int(found['number'])]} quarter of noise"
    return WORDS.get(name, name.replace("_", " "))


def words(names: Iterable[str]) -> dict[str, str]:
    return {name: words_of(name) for name in names}
