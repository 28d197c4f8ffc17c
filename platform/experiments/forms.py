"""The form that submits an experiment: one part for what all share, one block per entry.

Blocks carry the fields of their algorithm's configuration class, filled with its defaults or with a
preset's values. Another preset fills in anew what nobody has changed. Nothing is judged here: the
text that was typed goes through `experiments.submission.specification`, and what is wrong comes back
to its field.
"""

from collections.abc import Collection, Iterator
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold import widgets

from accounts.models import User
from catalog.models import Dataset, Protocol
from experiments import services
from experiments.models import Experiment
from experiments.ownership import changeable
from experiments.submission import offered
from experiments.submission.blocks import CONFIG, Block, new_block, read_blocks, refilled
from experiments.submission.guided import GUIDANCE
from experiments.submission.joining import is_joining, read_joining
from experiments.submission.offered import Offer
from experiments.submission.specification import (
    MAX_ENTRIES,
    MAX_IMAGES,
    MAX_SECONDS,
    SpecificationError,
    read_experiment,
)
from experiments.submission.typed import is_place, read_sampler, read_seeds
from experiments.tags.words import MOST, typed_words
from generators.specs.algorithms import PRESETS, Family
from generators.specs.options import FieldSpec, describe

APART = ("scheduler", "negative_prompt")  # of a sampler: its first word, and a field of its own
MOST_JOINED = 200  # experiments to choose from, the newest
MOST_OPEN = 3  # entries; where there are more, only those are open that need somebody's eye


def _text(label: str, help_text: str = "", **attrs: Any) -> forms.CharField:
    widget = widgets.UnfoldAdminTextInputWidget(attrs=attrs)
    return forms.CharField(label=label, help_text=help_text, required=False, widget=widget)


class SharedForm(forms.Form):
    """What all entries of an experiment share."""

    experiment = forms.ChoiceField(
        required=False,
        label="Joins",
        help_text="Pipelines may join an experiment of yours, with its protocols and seeds.",
        widget=widgets.UnfoldAdminSelectWidget(attrs={"x-model": "joins"}),  # hides what it has
    )
    name = _text("Name", "Unique; the title of the experiment's page.", maxlength=200)
    dataset = forms.CharField(
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(attrs={"x-model": "dataset"}),  # shows its protocols
    )
    protocols = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="How samples are scored: one leaderboard each.",
    )
    budget_amount = forms.CharField(
        required=False,
        label="Training budget",
        help_text="The same for every entry that is trained; pipelines are not.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(attrs={"min": 1, "step": "any"}),
    )
    budget_unit = forms.ChoiceField(
        required=False,
        label="Unit",
        choices=[("images", "images seen"), ("device_seconds", "device-seconds")],
        widget=widgets.UnfoldAdminSelectWidget,
    )
    seeds = _text("Seeds", "How many (3), or which (0, 1, 7): one run per entry and seed.")
    memory_gb = forms.CharField(
        required=False,
        label="Device memory, GB",
        help_text="Only workers whose device has so much train and sample; 0 = all.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(attrs={"min": 0}),
    )
    tags = _text("Tags", f"Up to {MOST} words that it is found by, commas between them.")
    notify = forms.CharField(
        required=False,
        label="Tell me when it ends",
        help_text="By mail and webhooks, as your account's page has them.",
        widget=widgets.UnfoldAdminSelectWidget(
            choices=[("", "as my account prefers"), ("true", "yes"), ("false", "no")]
        ),
    )

    def __init__(
        self, data: QueryDict | None = None, *, initial: dict[str, Any], user: User
    ) -> None:
        super().__init__(data, initial=initial)
        own = changeable(Experiment.objects.order_by("-pk"), user).values_list("pk", "name")
        joined = [("", "a new experiment"), *((str(pk), name) for pk, name in own[:MOST_JOINED])]
        self.fields["experiment"].choices = joined  # type: ignore[attr-defined]  # a choice field
        found = Protocol.objects.select_related("dataset").order_by("dataset", "pk")
        self.rows = [protocol for protocol in found if not protocol.refusal]
        choices = [(p.fingerprint, p.label) for p in self.rows]
        self.fields["protocols"].choices = choices  # type: ignore[attr-defined]  # a choice field
        slugs = Dataset.objects.values_list("slug", "name")
        self.fields["dataset"].widget.choices = list(slugs)

    @property
    def chosen_protocols(self) -> list[tuple[Protocol, bool]]:
        """Return every protocol that can be used and whether it is ticked."""
        ticked = self["protocols"].value() or []
        return [(protocol, protocol.fingerprint in ticked) for protocol in self.rows]


class EntryForm(forms.Form):
    """One contender: label, preset, configuration, samplers."""

    include = forms.BooleanField(required=False, widget=widgets.UnfoldBooleanWidget)
    label = _text("Label", "Its name on boards.", maxlength=100)

    def __init__(self, block: Block, *, number: int, opened: bool) -> None:
        """Make the fields of the block's algorithm and fill them with what was typed."""
        self.number = number
        self.algorithm = offered.find(block["algorithm"])
        self.is_pipeline = self.algorithm.name == offered.NAME
        self.filled = block.get("filled", "")  # the preset whose values the fields show
        self._opened = opened
        prefix = f"entries-{number}"
        super().__init__({f"{prefix}-{name}": text for name, text in block.items()}, prefix=prefix)
        self.fields["preset"] = preset_field(self.algorithm, number)
        self.fields |= pipeline_fields() if self.is_pipeline else {}
        for spec in describe(self.algorithm.config):
            self.fields[CONFIG + spec.name] = config_field(spec)
        self.fields["samplers"] = forms.CharField(
            required=False,
            strip=False,  # errors name the line as it was typed
            widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 2}),
            help_text=f"One per line, blank = {self.algorithm.default_sampler}. "
            + "; ".join(sampler_words(self.algorithm))
            + guidance_words(self.algorithm),
        )

    @property
    def config_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(CONFIG)]

    @property
    def is_open(self) -> bool:
        return self._opened or bool(self.errors)

    @property
    def anchor(self) -> SafeString:
        """Return what a button needs so that the page comes back at this entry."""
        return format_html('formaction="#entry-{}"', self.number)

    @property
    def preset_words(self) -> str:
        """Return what the chosen preset changes and the budget it is meant for."""
        preset = self.algorithm.presets.get(self.filled)
        if preset is None:
            return ""
        changes = ", ".join(f"{name} {value}" for name, value in preset.config.items())
        return f"{changes or 'the defaults'}; meant for {preset.images:,} images seen"

    @property
    def has_wrong_config(self) -> bool:
        return any(name.startswith(CONFIG) for name in self.errors)

    @property
    def sampler_lines(self) -> list[tuple[int, str]]:
        """Return the lines that are not blank, counted from 1."""
        lines = self.cleaned_data.get("samplers", "").splitlines()
        return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]

    def to_data(self) -> dict[str, Any]:
        """Return the entry as `read_experiment` takes it."""
        read = [read_sampler(line) for _, line in self.sampler_lines]
        typed = {
            name.removeprefix(CONFIG): value
            for name, value in self.cleaned_data.items()
            if name.startswith(CONFIG) and value != ""
        }
        entry = {"label": self.cleaned_data.get("label", ""), "config": typed}
        if self.is_pipeline:
            named = {name: self.cleaned_data.get(name, "") for name in ("pipeline", "revision")}
            return {**entry, **named, "samplers": [self._walk(each) for each in read or [{}]]}
        preset = self.cleaned_data.get("preset", "")
        return {**entry, "algorithm": self.algorithm.name, "preset": preset, "samplers": read}

    def _walk(self, read: dict[str, Any]) -> dict[str, Any]:
        """Return a pipeline's sampler, whose first word is its scheduler."""
        walk = {"scheduler" if name == "name" else name: value for name, value in read.items()}
        unwanted = self.cleaned_data.get("negative_prompt", "")
        return {**walk, "negative_prompt": unwanted} if unwanted else walk

    def show_error(self, path: str, message: str) -> None:
        """Show what is wrong at `config.beta`, `samplers.0.steps` or `label` at its field."""
        part, _, rest = path.partition(".")
        if part == "config" and CONFIG + rest in self.fields:
            self.add_error(CONFIG + rest, message)
        elif rest.endswith(".negative_prompt") and self.is_pipeline:
            self.add_error("negative_prompt", message)
        elif part == "samplers" and rest:
            index, _, name = rest.partition(".")
            number = self.sampler_lines[int(index)][0] if self.sampler_lines else 1
            self.add_error("samplers", f"line {number}: " + (f"{name}: " if name else "") + message)
        else:
            self.add_error(part if part in self.fields else None, message)


def pipeline_fields() -> dict[str, forms.Field]:
    """Return the fields that only a pipeline has."""
    return {
        "pipeline": _text("Folder or hub id", "In pipelines/ of the data folder, or owner/name."),
        "revision": _text("Revision", "Of a hub's: a commit, 40 hex digits.", maxlength=40),
        "negative_prompt": _text("Negative prompt", "What images of words are not to show."),
    }


def preset_field(algorithm: Offer, number: int) -> forms.Field:
    """Return the choice of a preset; with JavaScript a change fills in the block at once."""
    choices = [("", "none: the defaults"), *((name, name) for name in algorithm.presets)]
    attrs = {
        "hx-post": "",
        "hx-vals": f'{{"refill": "{number}"}}',
        "hx-target": f"#entry-{number}",
        "hx-select": f"#entry-{number}",
        "hx-swap": "outerHTML",
    }
    widget = widgets.UnfoldAdminSelectWidget(attrs=attrs, choices=choices)
    return forms.CharField(
        required=False,
        label="Preset",
        widget=widget,
        help_text="Its values take the place of the defaults; what you typed stays."
        if algorithm.presets
        else f"{algorithm.label} has none.",
    )


def config_field(spec: FieldSpec) -> forms.Field:
    """Return the form field of one field of a configuration."""
    label, words = spec.name.replace("_", " "), spec.help
    if spec.type == "bool":
        return forms.BooleanField(
            label=label, help_text=words, required=False, widget=widgets.UnfoldBooleanWidget()
        )
    widget: forms.Widget
    if spec.choices:
        widget = widgets.UnfoldAdminSelectWidget(choices=[(c, c) for c in spec.choices])
    elif spec.type == "str":
        widget = widgets.UnfoldAdminTextInputWidget()
    else:
        step = 1 if spec.type == "int" else "any"
        limits = {"min": f"{spec.minimum:.12g}", "max": f"{spec.maximum:.12g}", "step": step}
        widget = widgets.UnfoldAdminIntegerFieldWidget(attrs=limits)
        words = f"{words}; {limits['min']} to {limits['max']}"
    return forms.CharField(label=label, help_text=words, required=False, widget=widget)


def sampler_words(algorithm: Offer) -> Iterator[str]:
    """Yield each sampler with its defaults, as it may be typed: `ddim steps=50 eta=0.0`."""
    for name, config in algorithm.samplers.items():
        typed = (spec for spec in describe(config) if spec.name not in APART)
        yield " ".join([name, *(f"{spec.name}={spec.default}" for spec in typed)])


def guidance_words(algorithm: Offer) -> str:
    """Return how several guidance scales are typed, empty where no sampler has one."""
    found = (spec for config in algorithm.samplers.values() for spec in describe(config))
    has_guidance = any(spec.name == GUIDANCE for spec in found)
    return f". {GUIDANCE}=0,1,2,4 draws at each of these scales." if has_guidance else ""


class Submission:
    """The whole form: what was typed, and what is wrong with it."""

    def __init__(
        self, shared: SharedForm, blocks: list[Block], *, opened: Collection[int] = ()
    ) -> None:
        """Make the forms; of more than a few entries only the `opened` ones are unfolded."""
        self.shared = shared
        self.blocks = blocks
        few = len(blocks) <= MOST_OPEN
        self.entries = [
            EntryForm(block, number=i, opened=few or i in opened) for i, block in enumerate(blocks)
        ]

    @classmethod
    def empty(cls, query: QueryDict, user: User) -> "Submission":
        """Return the form before anything was typed: an algorithm of each family, or those asked for.

        The address may name them, the dataset, seeds and the samplers of all:
        `?dataset=digits&algorithm=vae.conv&preset=tiny&seeds=3`, or the experiment that is joined:
        `?experiment=3&algorithm=pipeline`.
        """
        chosen = Protocol.objects.select_related("dataset").order_by("-pk")
        if wanted := query.get("dataset"):
            chosen = chosen.filter(dataset__slug=wanted)
        first = next((protocol for protocol in chosen if not protocol.refusal), None)
        initial: dict[str, Any] = {"budget_unit": "images", "budget_amount": "100000"}
        initial |= {"seeds": query.get("seeds", "1")}
        initial |= {"memory_gb": "0", "experiment": query.get("experiment", "")}
        if first:
            initial |= {"dataset": first.dataset.slug, "protocols": [first.fingerprint]}
        names = [name for name in query.getlist("algorithm") if offered.is_offered(name)]
        firsts = [specs[0].name for _, specs in offered.by_family()]
        blocks: list[Block] = []
        for name in names[:MAX_ENTRIES] or [name for name in firsts if name != offered.NAME]:
            block = new_block(name, blocks, preset=query.get("preset", ""))
            blocks.append(block | {"samplers": query.get("samplers", "")})
        return cls(SharedForm(initial=initial, user=user), blocks)

    @classmethod
    def typed(cls, data: QueryDict, user: User) -> "Submission":
        """Return the form as it was sent, changed where a button said so.

        Entries of the ticked algorithms are added, one is removed, one is filled in anew.
        """
        blocks = [refilled(block) for block in read_blocks(data)]
        opened = {int(text) for text in data.getlist("refill") if is_place(text)}
        if "add_entry" in data:
            before = len(blocks)
            for name in data.getlist("add_algorithm"):
                if offered.is_offered(name) and len(blocks) < MAX_ENTRIES:
                    blocks.append(new_block(name, blocks, preset=data.get("add_preset", "")))
            opened = set(range(before, len(blocks))) if len(blocks) - before == 1 else opened
        removed = data.get("remove_entry", "")
        if is_place(removed) and int(removed) < len(blocks):
            del blocks[int(removed)]
        return cls(SharedForm(data, initial={}, user=user), blocks, opened=opened)

    @property
    def offers(self) -> list[tuple[Family, list[Offer]]]:
        return list(offered.by_family())

    @property
    def presets(self) -> tuple[str, ...]:
        return PRESETS

    @property
    def has_errors(self) -> bool:
        return bool(self.shared.errors) or any(entry.errors for entry in self.entries)

    def submit(self, user: User | None) -> Experiment | None:
        """Return the submitted experiment; None when something is wrong, shown at its field."""
        sent = [entry for entry in self.entries if entry["include"].value()]
        unreadable = [form for form in (self.shared, *sent) if not form.is_valid()]
        data = self._to_data(sent)
        try:
            if not unreadable:
                return services.submit_data(data, user=user)
            read_joining(data) if is_joining(data) else read_experiment(data)  # what else is wrong
        except SpecificationError as error:
            for path, message in error.errors.items():
                self._show_error(sent, path, message)
        return None

    def _to_data(self, sent: list[EntryForm]) -> dict[str, Any]:
        typed = self.shared.cleaned_data
        entries = [entry.to_data() for entry in sent]
        if joined := typed.get("experiment"):
            return {"experiment": joined, "entries": entries}
        budget = {typed.get("budget_unit"): typed.get("budget_amount", "")}
        return {
            "name": typed.get("name", ""),
            "dataset": typed.get("dataset", ""),
            "protocols": typed.get("protocols", []),
            "budget": None if sent and all(each.is_pipeline for each in sent) else budget,
            "seeds": read_seeds(typed.get("seeds", "")),
            "memory_gb": typed.get("memory_gb") or 0,
            "tags": typed_words(typed.get("tags", "")),
            "notify": typed.get("notify") or None,
            "entries": entries,
        }

    def _show_error(self, sent: list[EntryForm], path: str, message: str) -> None:
        part, _, rest = path.partition(".")
        index, _, rest = rest.partition(".")
        if part == "entries" and index:
            sent[int(index)].show_error(rest, message)
        elif part == "entries":
            self.shared.add_error(None, "Include at least one entry.")
        elif part == "budget":
            self.shared.add_error("budget_amount", self._budget_words())
        else:
            self.shared.add_error(part, message)

    def _budget_words(self) -> str:
        images = self.shared["budget_unit"].value() == "images"
        wanted = f"a whole number of 1 to {MAX_IMAGES:,}" if images else f"1 to {MAX_SECONDS:,}"
        return f"expected {wanted}, got {self.shared['budget_amount'].value()!r}"
