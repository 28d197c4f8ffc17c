"""What generators are trained on and how they are scored: datasets and protocols, both frozen."""

from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from catalog.stored import BucketError, DamagedError, StoredFile, digest_of
from evaluation.protocols import prompts, record as protocols
from evaluation.protocols.agreement import ClipIdentity
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.labels import Rule, in_words
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import metric_label, recorded_metric
from evaluation.protocols.notes import image_notes, lossy_note, resize_notes

__all__ = ["Dataset", "PromptSet", "Protocol", "StoredFile"]

LOSSY = "images known to come from lossy files; empty = registered before they were counted"
EXTRACTORS = "extractors"  # the folder of their weights in the data folder
is_sha256 = RegexValidator(r"\A[0-9a-f]{64}\Z", "expected 64 lower-case hexadecimal digits")


class FrozenError(ValueError):
    """A change of something that results already depend on."""


class FrozenModel(models.Model):
    """A row whose fields named in FROZEN never change once it is written."""

    FROZEN: ClassVar[tuple[str, ...]] = ()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row.

        Raises:
            FrozenError: if a field in FROZEN would change.
        """
        if not self._state.adding:
            written = type(self)._base_manager.filter(pk=self.pk).values(*self.FROZEN).first() or {}
            changed = [name for name, value in written.items() if value != getattr(self, name)]
            if changed:
                raise FrozenError(
                    f"{self}: {', '.join(changed)} cannot change; results depend on it, register "
                    "another one instead"
                )
        super().save(*args, **kwargs)


class Dataset(FrozenModel):
    """Real images in two splits, prepared once and known by their content.

    `digest` is the sha256 of what both splits hold (pixels, labels, classes, captions), whatever the
    file format; `train_digest` and `test_digest` are those of the two files.
    """

    FROZEN = (
        "slug",
        "resolution",
        "channels",
        "classes",
        "captions",
        "train_size",
        "test_size",
        "digest",
        "train_digest",
        "test_digest",
        "preparation",
        "created_at",
    )

    slug = models.SlugField(max_length=100, db_index=False)
    name = models.CharField(max_length=200)
    resolution = models.PositiveIntegerField(help_text="pixels a side")
    channels = models.PositiveSmallIntegerField(help_text="1 = grey, 3 = RGB")
    classes = models.JSONField(
        default=list, blank=True, help_text="names in label order; empty = unlabelled"
    )
    captions = models.JSONField(
        null=True, editable=False, help_text="what they are in each split; empty = images without"
    )
    train_size = models.PositiveIntegerField(help_text="images")
    test_size = models.PositiveIntegerField(help_text="images")
    train_lossy = models.PositiveIntegerField(null=True, editable=False, help_text=LOSSY)
    test_lossy = models.PositiveIntegerField(null=True, editable=False, help_text=LOSSY)
    digest = models.CharField(max_length=64, validators=[is_sha256])
    train_digest = models.CharField(max_length=64, validators=[is_sha256])
    test_digest = models.CharField(max_length=64, validators=[is_sha256])
    source = models.TextField(blank=True, help_text="where the images come from")
    licence = models.TextField(blank=True)
    preparation = models.TextField(blank=True, help_text="what was done to the images, in words")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["slug"], name="dataset_slug_unique"),
            models.UniqueConstraint(fields=["digest"], name="dataset_content_unique"),
            models.CheckConstraint(
                condition=Q(channels__in=[1, 3]), name="dataset_is_grey_or_colour"
            ),
            models.CheckConstraint(
                condition=Q(resolution__gt=0), name="dataset_resolution_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(train_size__gt=0, test_size__gt=0), name="dataset_has_both_splits"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_captions(self) -> bool:
        return self.captions is not None

    @property
    def distinct_words(self) -> int | None:
        """Return how many words the captions of the train split are made of."""
        return None if self.captions is None else int(self.captions["train"]["words"])

    @property
    def longest_caption(self) -> int | None:
        """Return the words of the longest caption of the train split."""
        return None if self.captions is None else int(self.captions["train"]["longest"])

    @property
    def unknown_words(self) -> int | None:
        """Return how many words of the test split no caption of the train split has."""
        return None if self.captions is None else int(self.captions["unknown"])

    @property
    def kind(self) -> str:
        """Return what images are asked for by, in words: "10 classes", "captions of 25 words"."""
        classes = f"{self.num_classes} classes" if self.classes else ""
        captions = f"captions of {self.distinct_words:,} words" if self.captions else ""
        return ", ".join(filter(None, [classes, captions])) or "unlabelled"

    @property
    def folder(self) -> Path:
        return dataset_folder(self.digest)

    @property
    def train_path(self) -> Path:
        return self.folder / "train.npz"

    @property
    def test_path(self) -> Path:
        return self.folder / "test.npz"

    @property
    def notes(self) -> list[str]:
        """Return what happened to the images before they came here, and what it means."""
        parts = (
            (self.train_lossy, self.train_size, "train images"),
            (self.test_lossy, self.test_size, "test images"),
        )
        found = [lossy_note(lossy, size, what) for lossy, size, what in parts if lossy]
        return found + resize_notes(self.preparation, self.resolution)

    def count_lossy(self, train: int, test: int) -> None:
        """Note how many images come from lossy files, unless that is known."""
        if self.train_lossy is None:
            self.train_lossy, self.test_lossy = train, test
            self.save(update_fields=["train_lossy", "test_lossy"])

    def verify(self) -> None:
        """Read both files whole and compare their sha256 with the registered ones.

        Raises:
            DamagedError: if a file is missing or differs; it names the file.
            BucketError: if a bucket has the files and does not answer.
        """
        for path, digest in (
            (self.train_path, self.train_digest),
            (self.test_path, self.test_digest),
        ):
            try:
                found = digest_of(path, digest)
            except BucketError:
                raise
            except OSError as error:
                raise DamagedError(f"{self.slug}: {path}: {error.strerror or error}") from error
            if found != digest:
                raise DamagedError(
                    f"{self.slug}: {path}: has sha256 {found}, but {digest} was registered"
                )


class PromptSet(FrozenModel):
    """What generated images are asked for in words, addressed by the sha256 of its canonical JSON."""

    FROZEN = ("slug", "record", "digest", "created_at")

    slug = models.SlugField(max_length=100, db_index=False)
    name = models.CharField(max_length=200)
    record = models.JSONField(help_text="the prompts in their order")
    digest = models.CharField(max_length=64, validators=[is_sha256])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["slug"], name="promptset_slug_unique"),
            models.UniqueConstraint(fields=["digest"], name="promptset_content_unique"),
        ]

    def __str__(self) -> str:
        return self.slug

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row.

        Raises:
            FrozenError: if the prompts would change.
            ProtocolError: if the digest is not that of the prompts.
        """
        if self._state.adding and self.parsed().digest() != self.digest:
            raise ProtocolError("digest", "expected that of the prompts")
        super().save(*args, **kwargs)

    @property
    def size(self) -> int:
        return len(self.record["prompts"])

    def parsed(self) -> prompts.PromptSet:
        return prompts.PromptSet.from_record(self.record)


class Protocol(FrozenModel):
    """How generated images are scored, addressed by the sha256 of its canonical record."""

    FROZEN = (
        "dataset_id",
        "prompt_set_id",
        "record",
        "fingerprint",
        "extractor",
        "extractor_weights",
        "num_images",
        "created_at",
    )

    name = models.CharField(max_length=200)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="protocols")
    prompt_set = models.ForeignKey(
        PromptSet,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="protocols",
        help_text="what images are asked with; empty = labels, or nothing",
    )
    record = models.JSONField(help_text="everything that decides a value")
    fingerprint = models.CharField(max_length=64, validators=[is_sha256])
    extractor = models.CharField(max_length=100)
    extractor_weights = models.CharField(
        max_length=500, blank=True, help_text="file, relative to the data folder"
    )
    facts = models.JSONField(default=dict, blank=True, help_text="for people; not in the record")
    num_images = models.PositiveIntegerField(help_text="generated images that are scored")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["dataset", "name", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fingerprint"], name="protocol_fingerprint_unique"),
            models.CheckConstraint(
                condition=Q(num_images__gt=0), name="protocol_scores_at_least_one_image"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row.

        Raises:
            FrozenError: if something that decides a value would change.
            ProtocolError: if the fingerprint is not that of the record.
        """
        if self._state.adding and self.parsed().fingerprint() != self.fingerprint:
            raise ProtocolError("fingerprint", "expected that of the record")
        super().save(*args, **kwargs)

    @property
    def short(self) -> str:
        return protocols.short(self.fingerprint)

    @property
    def label(self) -> str:
        return f"{self.name} ({self.short})"

    @property
    def board_name(self) -> str:
        """Return what the protocol's board is called: whose images, and how they are judged."""
        return f"{self.dataset.name} · {self.name}"

    @property
    def image_notes(self) -> list[str]:
        """Return what pages say of the real images: lossy files among them, resizing."""
        return self.dataset.notes or image_notes(self.record)

    @property
    def metrics(self) -> list[str]:
        return list(self.record["metrics"])

    @property
    def weights_path(self) -> Path | None:
        """The extractor's weights file, None if it needs none."""
        return settings.DATA_DIR / self.extractor_weights if self.extractor_weights else None

    @property
    def extractor_files(self) -> Path | None:
        """What belongs to the extractor: the folder that is its own, or the one file."""
        path = self.weights_path
        is_alone = path is None or path.parent == settings.DATA_DIR / EXTRACTORS
        return path if is_alone or path is None else path.parent

    @property
    def clip_files(self) -> Path | None:
        """The folder of the CLIP-like model that judges agreement, None if none does."""
        found = ClipIdentity.of(self.record["metrics"])
        return None if found is None else settings.DATA_DIR / EXTRACTORS / found.folder

    def parsed(self) -> protocols.Protocol:
        return protocols.Protocol.from_record(self.record)

    @property
    def label_rule(self) -> Rule | None:
        """How labels of conditional samples are drawn, None = in turn, as before rules were said."""
        found: Rule | None = self.record["images"].get("labels")
        return found

    @property
    def labels_in_words(self) -> str:
        """Return how labels of conditional samples are drawn, "" for a dataset without labels."""
        is_labelled = bool(self.label_rule or self.dataset.classes)
        return in_words(self.label_rule) if is_labelled else ""

    @property
    def refusal(self) -> str:
        """Return why nothing new can be scored under the protocol, "" if it can.

        The record of an earlier version stays readable and its board stays, and so do those of
        packages that are no longer installed.
        """
        try:
            self.parsed().check_packages()
        except ProtocolError as error:
            return str(error)
        return ""

    def metric(self, name: str) -> MetricSpec:
        """Return what is known of a metric, whatever is installed now."""
        return recorded_metric(name, self.record["metrics"].get(name, {}))

    def metric_label(self, metric: str) -> str:
        return self.label_of(self.metric(metric))

    def label_of(self, spec: MetricSpec) -> str:
        identity = self.record["extractor"]
        return metric_label(spec, identity["name"], identity["weights_sha256"])

    def differences(self, other: "Protocol") -> list[str]:
        """Return in words why values under the two may not be compared; empty if they may."""
        if self.fingerprint == other.fingerprint:
            return []
        found = []
        for protocol in (self, other):
            try:
                found.append(protocol.parsed())
            except ProtocolError as error:
                return [f"{protocol.label}: {error}"]
        return protocols.differences(*found)


def dataset_folder(digest: str) -> Path:
    folder: Path = settings.DATA_DIR / "datasets" / digest[:16]
    return folder
