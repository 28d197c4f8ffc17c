"""Tags as rows, asked for: the words of an experiment, and what has a word."""

from collections.abc import Iterable

from django.db.models import QuerySet

from experiments.tags.models import Tag
from experiments.tags.words import in_small_letters, word_problem


def words_of(tags: Iterable[Tag]) -> list[str]:
    """Return the words in the order of the alphabet, whatever the database takes for it."""
    return sorted(tag.word for tag in tags)


def tagged(word: str) -> QuerySet[Tag]:
    """Return the rows of a tag, whatever the size of its letters; none of what can be no tag."""
    if word_problem(word):
        return Tag.objects.none()
    return Tag.objects.filter(word=in_small_letters(word)).order_by()


def known_words(most: int) -> list[str]:
    """Return the first words that are tags of something, in the order of the alphabet."""
    return list(Tag.objects.order_by("word").values_list("word", flat=True).distinct()[:most])
