"""The page on which somebody submits an experiment; `web.submit.filling` says what its address takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.models import User
from experiments import services
from experiments.submission import offered
from experiments.submission.offered import Offer
from experiments.submission.specification import MAX_ENTRIES, MAX_SAMPLERS, SpecificationError
from generators.specs.algorithms import Family
from web.intake.pages import for_submitters
from web.submit.checking import Checked, checked, in_own_words
from web.submit.draft import Data, typed
from web.submit.fields import (
    EntryPart,
    Field,
    ProtocolChoice,
    joined_field,
    objectives,
    protocol_choices,
    shared_fields,
)
from web.submit.filling import begun, new_entry, new_sampler, ticked_again

ADD = "add-algorithm"  # id of the choice of another entry
MOST_OPEN = 3  # entries; where there are more, only those are open that need somebody's eye


@dataclass(frozen=True)
class Wrong:
    """What is wrong at a path, and the field that says so."""

    path: str
    id: str
    label: str
    text: str


def _wrong_of(entry: EntryPart) -> list[Wrong]:
    """Return each field of an entry with what is wrong with it, "" for nothing."""
    label, place = entry.entry.get("label") or entry.offer.label, f"entry-{entry.place}"
    fields = [*entry.named, *entry.options, *entry.searched]
    fields += [field for row in entry.samplers for field in row.fields]
    found = [Wrong(f.path, f.id, f"{label}, {f.label}", f.error) for f in fields]
    whole = [Wrong(path, place, label, text) for path, text in entry.wholes.items()]
    return whole + found + [Wrong(row.path, place, label, row.error) for row in entry.samplers]


@dataclass(frozen=True)
class Page:
    """The form with a draft in it; `focus` is the field that is looked at first."""

    user: User
    draft: Data
    checked: Checked
    errors: Mapping[str, str]
    at: str = ""  # the field that was added or changed just now
    problem: str = ""  # with the address
    is_told: bool = False  # that something is wrong, at the top

    @cached_property
    def shared(self) -> dict[str, Field]:
        return shared_fields(self.draft, self.errors)

    @cached_property
    def joined(self) -> Field:
        return joined_field(self.draft, self.errors, self.user)

    @property
    def may_join(self) -> bool:
        """Whether there is an experiment to join; its field says what is wrong with another."""
        return len(self.joined.choices) > 1 or bool(self.joined.error)

    @cached_property
    def protocols(self) -> list[ProtocolChoice]:
        return protocol_choices(self.draft)

    @cached_property
    def entries(self) -> list[EntryPart]:
        entries = self.draft["entries"]
        few, measured = len(entries) <= MOST_OPEN, objectives(self.draft)
        return [
            EntryPart(
                i,
                entry,
                self.errors,
                objectives=measured,
                is_open=few or self.at.startswith(f"entries-{i}-"),
            )
            for i, entry in enumerate(entries)
        ]

    @cached_property
    def wrong(self) -> list[Wrong]:
        """Return what is wrong in the order of the form, then what has no field in it."""
        shared = [self.joined, *self.shared.values()]
        found = [Wrong(f.path, f.id, f.label, f.error) for f in shared]
        for path, label in {"protocols": "Protocols", "entries": "Entries"}.items():
            found.append(Wrong(path, path, label, self.errors.get(path, "")))
        for entry in self.entries:
            found += _wrong_of(entry)
        shown = {each.path for each in found}
        for part in (".grid.", ".search.options."):
            shown |= {each.path.replace(".config.", part) for each in found}
        rest = {path: text for path, text in self.errors.items() if path not in shown}
        found += [Wrong(path, "submission", path, text) for path, text in rest.items()]
        return [each for each in found if each.text]

    @property
    def focus(self) -> str:
        """Return the id of the first wrong field, or of what was added just now."""
        if self.is_told and self.wrong:
            return self.wrong[0].id
        return self.at

    @property
    def marked(self) -> list[str]:
        """Return the fields that say what is wrong with them."""
        return [each.id for each in self.wrong]

    @property
    def offers(self) -> list[tuple[Family, list[Offer]]]:
        return list(offered.by_family())

    @property
    def has_room(self) -> bool:
        return len(self.draft["entries"]) < MAX_ENTRIES


@for_submitters
def experiment(request: HttpRequest) -> HttpResponse:
    """Show the form; change it where a button says so; or submit what it holds."""
    if request.method != "POST":
        return _begin(request)
    draft, user = typed(request.POST), cast(User, request.user)
    if EDITS & request.POST.keys():
        at = edit(draft, request.POST)
        found = checked(draft, lenient=True)
        return _show(request, Page(user, draft, found, found.errors, at))
    found = checked(draft)
    errors = found.errors
    if not errors:
        try:
            made = services.submit_data(found.data, user=user)
        except SpecificationError as error:  # taken since it was looked at
            errors = in_own_words(error.errors, draft)
        else:
            joined = "The pipelines joined it." if draft["experiment"] else ""
            messages.success(request, joined or f"{made.name} was submitted.")
            return redirect(made)
    return _show(request, Page(user, draft, found, errors, is_told=True), status=400)


@require_POST
@for_submitters
def check(request: HttpRequest) -> HttpResponse:
    """Return what is wrong so far, and what it will cost, while somebody types."""
    draft = typed(request.POST)
    found = checked(draft, lenient=True)
    page = Page(cast(User, request.user), draft, found, found.errors)
    wrong: dict[str, str] = {}
    for each in page.wrong:
        wrong.setdefault(each.id, each.text)
    before = set(request.POST.getlist("marked")) - wrong.keys()
    slots = [*wrong.items(), *((field, "") for field in sorted(before))]
    return render(request, "web/submit/_checked.html", {"page": page, "slots": slots})


def _begin(request: HttpRequest) -> HttpResponse:
    try:
        draft, problem = begun(request.GET), ""
    except ValueError as error:
        draft, problem = begun(QueryDict()), str(error)
    found = checked(draft, lenient=True)
    is_filled = not problem and not request.GET.keys().isdisjoint(FILLED)
    page = Page(
        cast(User, request.user),
        draft,
        found,
        found.errors,
        problem=problem,
        is_told=is_filled and bool(found.errors),
    )
    return _show(request, page)


def _show(request: HttpRequest, page: Page, *, status: int = 200) -> HttpResponse:
    return render(request, "web/submit/experiment.html", {"page": page}, status=status)


FILLED = ("from", "spec")  # of an address: whole submissions
EDITS = {"add_entry", "copy_entry", "remove_entry", "add_sampler", "remove_sampler", "refresh"}


def edit(draft: Data, given: QueryDict) -> str:
    """Change the draft as a button says; return the id of the field that is looked at next."""
    entries = draft["entries"]
    place = _place(given, "copy_entry", len(entries))
    if place is not None and len(entries) < MAX_ENTRIES:
        copy = new_entry(entries[place]["algorithm"], entries)["label"]
        entries.insert(place + 1, {**entries[place], "label": copy})
        return f"entries-{place + 1}-label"
    name = given.get("add_algorithm", "")
    if "add_entry" in given and offered.is_offered(name) and len(entries) < MAX_ENTRIES:
        entries.append(new_entry(name, entries))
        return f"entries-{len(entries) - 1}-label"
    if (place := _place(given, "remove_entry", len(entries))) is not None:
        del entries[place]
        return ADD
    if (place := _place(given, "add_sampler", len(entries))) is not None:
        return _add_sampler(entries[place], place)
    if "remove_sampler" in given:
        return _remove_sampler(entries, given.get("remove_sampler", ""))
    draft["protocols"] = ticked_again(draft["dataset"], draft["protocols"])
    return ""


def _place(given: QueryDict, name: str, count: int) -> int | None:
    text = given.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 4 and int(text) < count else None


def _add_sampler(entry: Data, place: int) -> str:
    samplers = entry["samplers"]
    if len(samplers) < MAX_SAMPLERS:
        samplers.append(new_sampler(offered.find(entry["algorithm"])))
    return f"entries-{place}-samplers-{len(samplers) - 1}-name"


def _remove_sampler(entries: list[Data], text: str) -> str:
    first, _, second = text.partition(".")
    for place, entry in enumerate(entries):
        if str(place) == first:
            kept = [each for i, each in enumerate(entry["samplers"]) if str(i) != second]
            entry["samplers"] = kept
            return f"entries-{place}-label"
    return ""
