"""Addresses of pages: beginnings of fingerprints, and what may stand after the question mark."""

from collections.abc import Collection

from django.http import Http404, QueryDict

from catalog.models import Protocol
from generators.specs.options import unknown_fields

LONGEST = 64  # characters of a fingerprint
SHORTEST = 8  # characters of a beginning, as over REST


def refuse_others(given: QueryDict, known: Collection[str], several: Collection[str] = ()) -> None:
    """Refuse parameters that the page does not read, and those that are there twice.

    Those in ``several`` may be there more than once.

    Raises:
        Http404: with each of them, and the known ones.
    """
    told = {
        name[:100]: f"unknown parameter{text.removeprefix('unknown field')}"
        for name, text in unknown_fields(given, known).items()
    }
    for name in known:
        if name not in several and len(given.getlist(name)) > 1:
            told[name] = f"expected once, got {len(given.getlist(name))} times"
    if told:
        raise Http404("; ".join(f"{name}: {text}" for name, text in told.items()))


def protocol_of(fingerprint: str) -> Protocol:
    """Return the protocol of a fingerprint, or of a beginning of it that is of one alone.

    Raises:
        Http404: if there is none, or several have a beginning of 8 characters or more.
    """
    protocols = Protocol.objects.select_related("dataset")
    whole = protocols.filter(fingerprint=fingerprint).first()
    if whole is not None:
        return whole
    is_beginning = SHORTEST <= len(fingerprint) <= LONGEST
    begun = protocols.filter(fingerprint__startswith=fingerprint)[:2] if is_beginning else ()
    found = list(begun)
    if len(found) != 1:
        begin = "several fingerprints begin" if found else "no protocol's fingerprint begins"
        raise Http404(f"{begin} with {fingerprint[:64]}")
    return found[0]
