"""The forms that hand something in: what was typed as plain data, and what is wrong at its field."""

from collections.abc import Mapping
from typing import Any

import yaml
from django import forms

from accounts.models import User
from accounts.permissions import is_admin
from catalog.models import Dataset, PromptSet
from evaluation.protocols import manifests
from evaluation.protocols.extractors import EXTRACTORS
from evaluation.protocols.presets import PRESETS
from experiments.intake import asking
from experiments.models import Experiment
from experiments.submission.plain import read_yaml

MOST_OF_MANIFEST = 1_000_000  # bytes
DEFAULT_PRESET = "classifier-test"
AREAS = ("chosen", "post_processing")  # texts of more than a line


class IntakeForm(forms.Form):
    """What all of them share."""

    use_required_attribute = False  # a form without JavaScript is answered in our own words

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs |= {"class": "select", "aria-describedby": f"{name}-about"}
            field.error_messages["required"] = "Expected something here."

    def mark(self) -> None:
        """Tell browsers which fields are wrong, and to begin at the first of them."""
        wrong = [name for name in self.fields if name in self.errors]
        for name in wrong:
            self.fields[name].widget.attrs["aria-invalid"] = "true"
        for name in wrong[:1]:
            self.fields[name].widget.attrs["autofocus"] = True

    @property
    def wrong(self) -> list[forms.BoundField]:
        """Return the fields that something is wrong with, in the order of the form."""
        return [field for field in self if field.errors]

    def blame(self, errors: Mapping[str, str]) -> None:
        """Show each error at the field that it is about: `manifest.costs.nfe` at `nfe`."""
        for path, text in errors.items():
            known = [part for part in reversed(path.split(".")) if part in self.fields]
            message = text if known or not path else f"{path}: {text}"
            self.add_error(known[0] if known else None, f"{message[:1].upper()}{message[1:]}.")


class SamplesForm(IntakeForm):
    """Samples that were made elsewhere, with what is said of them."""

    protocols = forms.MultipleChoiceField(
        required=False, help_text="that they are scored by, all of one dataset"
    )
    experiment = forms.ChoiceField(
        required=False,
        help_text="that they join, with its protocols; else they get one of their own",
    )
    name = forms.CharField(
        required=False, max_length=200, help_text="of the new experiment; by default the label"
    )
    label = forms.CharField(
        required=False,
        max_length=100,
        help_text="on boards; by default the system with its version",
    )
    manifest = forms.FileField(
        required=False,
        label="Manifest as a file",
        help_text="YAML or JSON, in place of the fields below; `python -m evaluation pack` writes one",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, what in manifests.TEXTS.items():
            widget = forms.Textarea({"rows": 2}) if name in AREAS else None
            self._add(name, forms.CharField(required=False, help_text=what, widget=widget))
        for name, what in manifests.COSTS.items():
            self._add(name, forms.CharField(required=False, help_text=f"{what}, as declared"))
        self._field("protocols").choices = [
            (row.fingerprint, f"{row.dataset}: {row.name} ({row.short})")
            for row in asking.protocols_to_choose()
        ]
        own = Experiment.objects.all() if is_admin(user) else user.experiment_set.all()
        joined = [(str(pk), name) for pk, name in own.values_list("pk", "name")[:200]]
        self._field("experiment").choices = [("", "a new one"), *joined]

    def _add(self, name: str, field: forms.Field) -> None:
        field.widget.attrs |= {"class": "select", "aria-describedby": f"{name}-about"}
        self.fields[name] = field

    def _field(self, name: str) -> Any:
        return self.fields[name]

    @property
    def said(self) -> list[forms.BoundField]:
        """Return the fields of the manifest's texts."""
        return [self[name] for name in manifests.TEXTS]

    @property
    def costs(self) -> list[forms.BoundField]:
        return [self[name] for name in manifests.COSTS]

    def data_of(self) -> dict[str, Any]:
        """Return what was typed, as `read_external` reads it; the form must be valid."""
        typed = self.cleaned_data
        data = {name: typed[name] or None for name in ("experiment", "name", "label")}
        return {**data, "protocols": typed["protocols"], "manifest": self._manifest()}

    def clean_manifest(self) -> Any:
        """Return what the manifest's file says, None without one."""
        file = self.cleaned_data["manifest"]
        if file is None:
            return None
        try:
            content = file.read(MOST_OF_MANIFEST + 1).decode()
            if len(content) > MOST_OF_MANIFEST:
                raise ValueError(f"expected at most {MOST_OF_MANIFEST:,} characters")
            return read_yaml(content)
        except (ValueError, TypeError, yaml.YAMLError) as error:
            raise forms.ValidationError(str(error)[:300]) from error

    def _manifest(self) -> Any:
        typed = self.cleaned_data
        if typed["manifest"] is not None:
            return typed["manifest"]
        said = {name: typed[name] for name in manifests.TEXTS if typed[name]}
        costs = {name: typed[name] for name in manifests.COSTS if typed[name]}
        return {**said, "costs": costs} if costs else said


class DatasetForm(IntakeForm):
    """Real images, and how they are to be prepared."""

    name = forms.CharField(max_length=200, help_text="for people; its slug is for machines")
    resolution = forms.IntegerField(
        required=False, min_value=1, max_value=4096, help_text="pixels a side; else as they come"
    )
    channels = forms.TypedChoiceField(
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "as they come"), ("1", "grey"), ("3", "RGB")],
        help_text="colours",
    )
    test_fraction = forms.FloatField(
        required=False,
        min_value=0.01,
        max_value=0.9,
        help_text="share of each class for the test split, where the images have none; else 0.2",
    )
    source = forms.CharField(
        required=False,
        max_length=1000,
        help_text="where the images come from; else the file's name",
    )
    licence = forms.CharField(required=False, max_length=1000, help_text="under which terms")


class ProtocolForm(IntakeForm):
    """How generated images of a dataset are to be scored."""

    dataset = forms.ChoiceField(help_text="whose train split is the reference")
    preset = forms.ChoiceField(required=False, help_text="extractor, metrics and number of images")
    extractor = forms.ChoiceField(required=False, help_text="in place of a preset")
    metrics = forms.CharField(
        required=False, max_length=500, help_text="names with commas between; else the preset's"
    )
    num_images = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text="that are scored; else the preset's",
    )
    labels = forms.CharField(
        required=False,
        max_length=5000,
        help_text="shares of conditional samples: reference, uniform, or a whole number for each class",
    )
    prompts = forms.ChoiceField(required=False, help_text="that images are asked with")
    images_per_prompt = forms.IntegerField(required=False, min_value=1, max_value=10_000)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: dict[str, Any] = {
            "dataset": [(slug, slug) for slug in Dataset.objects.values_list("slug", flat=True)],
            "preset": [
                ("", "none"),
                *((name, f"{name}: {each.help}") for name, each in PRESETS.items()),
            ],
            "extractor": [("", "none"), *((name, name) for name in EXTRACTORS)],
            "prompts": [
                ("", "none"),
                *((slug, slug) for slug in PromptSet.objects.values_list("slug", flat=True)),
            ],
        }
        for name, choices in chosen.items():
            field: Any = self.fields[name]
            field.choices = choices

    def clean(self) -> dict[str, Any]:
        typed: dict[str, Any] = super().clean() or self.cleaned_data
        if bool(typed.get("preset")) == bool(typed.get("extractor")):
            self.add_error("preset", "Expected a preset or an extractor, one of the two.")
        return typed

    def data_of(self) -> dict[str, Any]:
        """Return what was typed, as `asking.ask_protocol` takes it; the form must be valid."""
        typed = dict(self.cleaned_data)
        metrics = [name.strip() for name in typed["metrics"].split(",") if name.strip()]
        return {**typed, "metrics": metrics}
