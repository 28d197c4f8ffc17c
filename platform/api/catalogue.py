"""What the REST interface says of datasets, prompts and protocols."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.models import Dataset, PromptSet, Protocol
from evaluation.protocols.metrics import METRICS


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    url = serializers.HyperlinkedIdentityField(view_name="api:dataset-detail", lookup_field="slug")
    classes = serializers.ListField(child=serializers.CharField())
    has_captions = serializers.BooleanField(read_only=True)
    distinct_words = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="of the captions of the train split"
    )
    longest_caption = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="words of the longest of the train split"
    )
    unknown_words = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="words of the test split that train has not"
    )

    class Meta:
        model = Dataset
        fields = [
            "slug",
            "url",
            "name",
            "resolution",
            "channels",
            "classes",
            "has_captions",
            "distinct_words",
            "longest_caption",
            "unknown_words",
            "train_size",
            "test_size",
            "train_lossy",
            "test_lossy",
            "digest",
            "train_digest",
            "test_digest",
            "source",
            "licence",
            "preparation",
            "created_at",
        ]


class PromptSerializer(serializers.Serializer[Any]):
    """What some of the images are asked with."""

    id = serializers.CharField()
    text = serializers.CharField()
    group = serializers.CharField()
    claims = serializers.DictField(required=False, help_text="what an image can be checked for")


class PromptSetSerializer(serializers.ModelSerializer[PromptSet]):
    url = serializers.HyperlinkedIdentityField(
        view_name="api:promptset-detail", lookup_field="slug"
    )
    size = serializers.IntegerField(read_only=True, help_text="prompts")
    prompts = PromptSerializer(many=True, source="record.prompts", read_only=True)

    class Meta:
        model = PromptSet
        fields = ["slug", "url", "name", "digest", "size", "prompts", "created_at"]


class MetricSerializer(serializers.Serializer[Any]):
    """A metric of a protocol under the only name its values may be shown."""

    name = serializers.ChoiceField(choices=list(METRICS))
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    higher_is_better = serializers.BooleanField()
    corner = serializers.ChoiceField(choices=["quality", "coverage", "memorisation"])
    headline = serializers.BooleanField(help_text="whether boards show it at first")
    parameters = serializers.DictField()


class ProtocolSerializer(serializers.ModelSerializer[Protocol]):
    url = serializers.HyperlinkedIdentityField(
        view_name="api:protocol-detail", lookup_field="fingerprint"
    )
    leaderboard = serializers.HyperlinkedIdentityField(
        view_name="api:leaderboard-detail", lookup_field="fingerprint"
    )
    dataset = serializers.SlugRelatedField[Dataset](slug_field="slug", read_only=True)
    prompt_set = serializers.SlugRelatedField[PromptSet](
        slug_field="slug", read_only=True, allow_null=True
    )
    record = serializers.DictField()
    facts = serializers.DictField()
    metrics = serializers.SerializerMethodField()

    class Meta:
        model = Protocol
        fields = [
            "fingerprint",
            "url",
            "name",
            "dataset",
            "prompt_set",
            "extractor",
            "num_images",
            "metrics",
            "record",
            "facts",
            "leaderboard",
            "created_at",
        ]

    @extend_schema_field(MetricSerializer(many=True))
    def get_metrics(self, protocol: Protocol) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "label": protocol.metric_label(name),
                "higher_is_better": protocol.metric(name).higher_is_better,
                "corner": protocol.metric(name).corner,
                "headline": protocol.metric(name).headline,
                "parameters": parameters,
            }
            for name, parameters in protocol.record["metrics"].items()
        ]


class PromptRecordSerializer(serializers.Serializer[Any]):
    """Prompts as files have them; the digest is of this."""

    version = serializers.IntegerField()
    prompts = PromptSerializer(many=True)


class WholeProtocolSerializer(ProtocolSerializer):
    """A protocol with its prompts: all that `python -m evaluation score --protocol` needs of it."""

    prompts = serializers.SerializerMethodField()

    class Meta(ProtocolSerializer.Meta):
        fields = [*ProtocolSerializer.Meta.fields, "prompts"]

    @extend_schema_field(PromptRecordSerializer(allow_null=True))
    def get_prompts(self, protocol: Protocol) -> dict[str, Any] | None:
        return None if protocol.prompt_set is None else dict(protocol.prompt_set.record)
