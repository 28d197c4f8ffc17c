"""The small grammar of captions, such as "a small red circle" or "a cross above a blue shape"."""

from evaluation.scenes.claims import COLOURS, SHAPES, SIZES, Claim, Claims, Scene

NUMBERS = ("a", "two", "three")
ANY_SHAPE = "shape"  # said where the shape is left open
PLURALS = {name: f"{name}es" if name == "cross" else f"{name}s" for name in (*SHAPES, ANY_SHAPE)}
WORDS = frozenset(
    {*NUMBERS, *COLOURS, *SIZES, *PLURALS, *PLURALS.values(), "left", "of", "above", "and"}
)


def caption_of(claims: Claims) -> str:
    """Return claims in words; a claim without a count is said of one object."""
    return f" {claims.relation or 'and'} ".join(_words(claim) for claim in claims.objects)


def in_words(scene: Scene) -> str:
    """Return all that a scene holds, object by object: what a parser has read, for people."""
    return caption_of(
        Claims(tuple(Claim(t.colour, t.shape, t.size, count=1) for t in scene.things))
    )


def _words(claim: Claim) -> str:
    name = claim.shape or ANY_SHAPE
    noun = PLURALS[name] if claim.least > 1 else name
    return " ".join(filter(None, (NUMBERS[claim.least - 1], claim.size, claim.colour, noun)))
