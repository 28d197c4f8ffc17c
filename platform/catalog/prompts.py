"""Registers sets of prompts from their JSON; registering the same set twice returns the first."""

from catalog.engine import RegistrationError
from catalog.models import PromptSet
from catalog.services import keep_prompts
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.prompts import read_prompts


def register_prompts(name: str, text: str) -> tuple[PromptSet, bool]:
    """Register the prompts of a JSON text under the slug of `name`; return the row, and if it is new.

    Raises:
        RegistrationError: if the text holds no prompts, the slug or the content is taken, or no slug
            can be made.
    """
    try:
        return keep_prompts(name, read_prompts(text))
    except ProtocolError as error:
        raise RegistrationError(str(error)) from error
