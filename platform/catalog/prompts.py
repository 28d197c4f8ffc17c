"""Registers sets of prompts; registering the same set twice returns the first."""

from django.db import IntegrityError, transaction

from catalog.engine import RegistrationError
from catalog.models import PromptSet
from catalog.services import find_registered, slug_of
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.prompts import read_prompts


def register_prompts(name: str, text: str) -> tuple[PromptSet, bool]:
    """Register the prompts of a JSON text under the slug of `name`; return the row, and if it is new.

    Raises:
        RegistrationError: if the text holds no prompts, the slug or the content is taken, or no slug
            can be made.
    """
    slug = slug_of(name, "prompt set")
    try:
        prompts = read_prompts(text)
        with transaction.atomic():
            if existing := find_registered(PromptSet, slug, prompts.digest()):
                return existing, False
            return PromptSet.objects.create(
                slug=slug, name=name, record=prompts.to_record(), digest=prompts.digest()
            ), True
    except ProtocolError as error:
        raise RegistrationError(str(error)) from error
    except IntegrityError as error:
        raise RegistrationError(f"{slug}: cannot be registered ({error})") from error
