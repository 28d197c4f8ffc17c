"""Every page: it answers, is well formed, is ours alone, and says what to do when it is empty."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Role
from catalog.models import Protocol
from evaluation.protocols.extractor_specs import INCEPTION, INCEPTION_2015_SHA256
from experiments.models import Evaluation, Experiment
from experiments.progress import jobs_needed
from tests import factories
from tests.web import html, scenes

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["anonymous", "signed in"])
def reader(request: pytest.FixtureRequest) -> Client:
    client = Client()
    if request.param == "signed in":
        client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def test_every_page_answers_and_is_well_formed(reader: Client) -> None:
    factories.make_worker()
    found = scenes.addresses(scenes.finished_comparison(failing=True), scenes.running_comparison())

    for address in found:
        page = html.get(reader, address)

        assert len(page.all("h1")) == 1, address
        assert page.one("head").one("title").text
        assert page.one("main").text


def test_headings_never_skip_a_level(client: Client) -> None:
    for address in scenes.addresses(scenes.finished_comparison(), scenes.running_comparison()):
        levels = [int(e.tag[1]) for e in html.get(client, address).walk() if e.tag in HEADINGS]

        assert levels[0] == 1, address
        steps = [after - before for before, after in pairwise(levels)]
        assert max(steps, default=0) <= 1, (address, levels)


HEADINGS = {"h1", "h2", "h3", "h4"}


def test_pages_load_nothing_from_elsewhere_and_hold_no_inline_code(reader: Client) -> None:
    for address in scenes.addresses(scenes.finished_comparison(), scenes.running_comparison()):
        for element in html.get(reader, address).walk():
            for name, value in element.attributes.items():
                where = f"{address}: <{element.tag} {name}={value!r}>"
                assert not name.startswith("on"), where
                assert name != "style", where
                if name in {"src", "href", "action", "formaction", "data-source", "hx-get"}:
                    assert value.startswith(("/", "#", "?")) and not value.startswith("//"), where
            assert element.tag != "style", address
            if element.tag == "script" and "src" not in element.attributes:
                assert element.attributes["type"] == "application/json", address


def test_images_say_what_they_show_and_controls_have_names(reader: Client) -> None:
    for address in scenes.addresses(scenes.finished_comparison(), scenes.running_comparison()):
        page = html.get(reader, address)

        assert all("alt" in image.attributes for image in page.all("img")), address
        for control in page.all("button"):
            assert control.text or control.attributes.get("aria-label"), address
        for meter in page.all("progress"):
            assert meter.attributes["aria-label"], address
        for head in page.all("th"):
            assert head.attributes.get("scope"), (address, head.text)


WORKER = "celery -A config worker -n all@%h -Q gpu,default -c 1 --max-tasks-per-child 1"


def test_plotly_is_named_only_where_there_are_charts(client: Client) -> None:
    for address in scenes.addresses(scenes.finished_comparison()):
        page = html.get(client, address)
        scripts = [s for s in page.all("script") if "data-plotly" in s.attributes]

        assert bool(scripts) == bool([e for e in page.walk() if "data-chart" in e.attributes])
        assert not [s for s in page.all("script") if "plotly" in s.attributes.get("src", "")]


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("/", "python manage.py register_dataset digits --digits"),
        ("/", "python manage.py register_protocol digits"),
        ("/", "python manage.py createsuperuser"),
        ("/", "python manage.py register_dataset photos --folder photos/ --resolution 32"),
        ("/", WORKER),
        ("/", "python manage.py demo"),
        ("/experiments/", "python manage.py demo"),
        ("/datasets/", "python manage.py register_dataset NAME --archive FILE.zip"),
        ("/workers/", WORKER),
        ("/leaderboards/", "No board yet."),
    ],
)
def test_an_empty_page_says_what_to_do_next(client: Client, address: str, advice: str) -> None:
    assert advice in html.get(client, address).one("main").text


def test_steps_that_are_done_are_ticked_and_vanish_with_the_first_experiment(
    client: Client,
) -> None:
    factories.make_protocol()
    steps = html.get(client, "/").all("li", class_name="step")
    assert ["step-done" in s.attributes["class"] for s in steps] == [
        *[False] * 2,
        True,
        True,
        False,
    ]

    factories.make_experiment()
    assert not html.get(client, "/").all("li", class_name="step")


def test_the_step_to_a_protocol_names_the_dataset_that_is_there(client: Client) -> None:
    dataset = factories.make_dataset()

    assert f"register_protocol {dataset.slug}" in html.get(client, "/").text


def test_an_experiments_total_counts_jobs_that_do_not_exist_yet(client: Client) -> None:
    run = factories.make_run()
    experiment = run.entry.experiment

    page = html.get(client, experiment.get_absolute_url())

    assert jobs_needed(experiment) > 1
    assert f"0 of {jobs_needed(experiment)} jobs done" in page.text


def test_a_sheet_of_small_images_is_enlarged_without_smoothing(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page = html.get(client, scene.experiment.get_absolute_url())
    link = page.all("a", class_name="grid-link")[0].attributes["href"]

    assert ".png" in html.get(client, link).one("img", class_name="grid-large").attributes["src"]
    assert client.get(link.replace("sample-grid", "password")).status_code == 404


def test_long_names_do_not_push_columns_off_lists(client: Client) -> None:
    experiment = factories.make_experiment(
        name="n" * 200, entries=[{"algorithm": "vae.conv", "label": "l" * 100}]
    )

    row = html.get(client, "/experiments/").one("tbody")
    page = html.get(client, experiment.get_absolute_url())

    assert "name" in row.one("th").attributes["class"].split()
    assert row.one("span", class_name="family").attributes["title"].startswith("l" * 100)
    page.one("h3", class_name="contender-name", title="l" * 100)


def test_jobs_that_nobody_can_take_are_pointed_out(client: Client) -> None:
    factories.make_experiment()
    factories.make_worker(queues=["default"])

    text = html.get(client, "/").one("main").text

    assert "Jobs wait in the queue gpu , and no worker is online for it." in text
    assert "-n gpu@%h -Q gpu -c 1 --max-tasks-per-child 1" in text
    assert "-Q default" not in text


@pytest.mark.parametrize(
    "address",
    [
        "/runs/999/",
        "/experiments/999/",
        "/leaderboards/abc/",
        "/protocols/abc/",
        "/datasets/abc/",
        "/jobs/",
    ],
)
def test_what_is_not_there_is_a_404_in_the_sites_frame(client: Client, address: str) -> None:
    page = html.get(client, address, 404)

    assert page.one("h1").text == "Nothing at this address"
    assert "Resolver404" not in page.text


def test_without_public_reading_pages_lead_to_the_login(client: Client, settings: Settings) -> None:
    settings.PUBLIC_READ = False
    scene = scenes.running_comparison()
    more = [f"/samples/{scene.sample_sets[0].pk}.png", f"/runs/{scene.run.pk}/losses.json"]
    more.append(f"/runs/{scene.run.pk}/live/status/")

    for address in [*scenes.addresses(scene), *more]:
        response = client.get(address)
        assert response.status_code == 302, address
        assert response["Location"] == f"/login/?next={address}"

    client.force_login(factories.make_user())
    assert client.get("/").status_code == 200


def test_a_live_part_whose_session_ended_reloads_the_page(
    client: Client, settings: Settings
) -> None:
    settings.PUBLIC_READ = False

    response = client.get("/live/activity/", headers={"HX-Request": "true"})

    assert response["HX-Refresh"] == "true"
    assert not response.content


def test_the_list_of_experiments_counts_what_it_shows(client: Client) -> None:
    scene = scenes.finished_comparison(failing=True)
    other = factories.make_experiment()

    rows = html.get(client, "/experiments/").one("tbody").all("tr")
    assert [row.one("th").text for row in rows] == [other.name, scene.experiment.name]
    assert "7/8" in rows[1].text and "1 failed" in rows[1].text

    for query, shown in (("status=failed", scene.experiment), ("status=queued", other)):
        page = html.get(client, f"/experiments/?{query}")
        assert [r.one("th").text for r in page.one("tbody").all("tr")] == [shown.name]
        assert "Showing 1 of 1" in page.text
    slug = other.dataset.slug
    page = html.get(client, f"/experiments/?dataset={slug}")
    assert [r.one("th").text for r in page.one("tbody").all("tr")] == [other.name]
    assert "No experiment matches." in html.get(client, "/experiments/?status=running").text


def test_a_long_list_says_how_much_of_it_is_shown(client: Client) -> None:
    dataset = factories.make_dataset()
    Experiment.objects.bulk_create(
        Experiment(name=f"Number {index}", dataset=dataset, budget_images=1, seeds=[0])
        for index in range(53)
    )

    first = html.get(client, "/experiments/")
    assert "Showing 1–50 of 53" in first.text
    link = first.one("a", rel="next").attributes["href"]
    assert "Showing 51–53 of 53" in html.get(client, f"/experiments/{link}").text


def test_no_page_asks_a_query_per_row(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    scene = scenes.finished_comparison(seeds=3, failing=True)
    factories.make_worker()
    limits = {
        "/": 22,  # one for each kind of job that a worker holds
        "/experiments/": 9,  # two for tags
        "/workers/": 18,  # a list for each kind of job that runs, and that waits
        scene.experiment.get_absolute_url(): 18,  # of which nothing is left to do
        f"/leaderboards/{scene.protocol.fingerprint}/": 8,
        scene.run.get_absolute_url(): 12,
    }
    for address, limit in limits.items():
        with django_assert_max_num_queries(limit):
            client.get(address)


def test_protocols_are_compared_in_words(client: Client) -> None:
    one = factories.make_protocol()
    two = factories.make_protocol(dataset=one.dataset, num_images=50)
    address = f"/protocols/{one.fingerprint}/?with={two.fingerprint}"

    page = html.get(client, address)

    # among those of its dataset, and as the one that was asked for
    verdicts = page.all("div", class_name="verdict")
    for verdict in verdicts:
        everything = verdict.all("ul", class_name="differences")[-1]
        assert [item.text for item in everything.all("li")] == one.differences(two)
    assert "num images: 100 and 50" in one.differences(two)
    assert len(verdicts) == 2
    same = html.get(client, f"/protocols/{one.fingerprint}/?with={one.fingerprint}")
    assert "The two are the same protocol." in same.text
    html.get(client, f"/protocols/{one.fingerprint}/?with=abc", 404)


def verdicts(page: html.Element) -> list[str]:
    return [verdict.text for verdict in page.all("div", class_name="verdict")]


def test_a_protocols_page_says_how_labels_are_drawn(client: Client) -> None:
    dataset = factories.make_dataset(classes=("a", "b"))
    ruled = factories.make_protocol(dataset=dataset, class_counts=(7, 3))
    before = factories.make_protocol(dataset=dataset)
    bare = factories.make_protocol(dataset=factories.make_dataset(classes=()), extractor=INCEPTION)

    def page(protocol: Protocol) -> str:
        return html.get(client, f"/protocols/{protocol.fingerprint}/").text

    assert "of conditional samples: in the reference's shares of 2 classes (7 : 3)" in page(ruled)
    assert "images labels: in the reference's shares of 2 classes (7 : 3) and in turn" in page(
        ruled
    )
    assert "of conditional samples: in turn over the model's classes" in page(before)
    assert "of conditional samples" not in page(bare)


def test_a_protocols_page_shows_its_prompts(client: Client) -> None:
    few = factories.make_protocol(prompts=factories.make_prompts("a red circle", "a <dog>"))
    many = factories.make_protocol(
        dataset=factories.make_dataset(test_size=500),
        prompts=factories.make_prompts(*(f"{i} dogs" for i in range(250))),
    )

    page = html.get(client, f"/protocols/{few.fingerprint}/").text
    long = html.get(client, f"/protocols/{many.fingerprint}/").text

    assert "image i is asked with prompt i mod 2: 50 images each" in page
    assert "All 2 prompts a red circle all a <dog> all" in page
    assert "200 of 250 prompts" in long and "199 dogs" in long and "200 dogs" not in long


def test_a_protocols_page_says_why_the_other_boards_of_its_dataset_stand_apart(
    client: Client,
) -> None:
    dataset = factories.make_dataset()
    one, two = (factories.make_protocol(dataset=dataset, name=name) for name in ("One", "Two"))
    far = factories.make_protocol(dataset=dataset, name="Far", extractor=INCEPTION, num_images=50)
    factories.make_protocol(name="of another dataset")

    page = html.get(client, f"/protocols/{one.fingerprint}/")

    to_far, to_two = page.all("div", class_name="verdict")
    assert to_two.text.startswith(
        f"Not comparable with Two {two.short} : 1 difference, each with the value of One {one.short} first."
    )
    assert "extractor weights" in to_two.text and to_two.all("details") == []
    assert to_two.one("a").attributes["href"] == f"/protocols/{two.fingerprint}/"
    assert to_far.one("summary").text == f"All {len(one.differences(far))} differences"
    telling, everything = to_far.all("ul", class_name="differences")
    assert len(everything.all("li")) == len(one.differences(far)) > 4
    assert [item.text.split(":")[0] for item in telling.all("li")] == [
        "extractor name", "num images", "extractor weights sha256",
    ]  # fmt: skip
    assert "of another dataset" not in " ".join(verdicts(page))


def test_a_protocol_alone_has_no_board_to_stand_apart_from(client: Client) -> None:
    protocol = factories.make_protocol()

    page = html.get(client, f"/protocols/{protocol.fingerprint}/")

    assert verdicts(page) == []
    assert f"{protocol.dataset.name} has no other protocol." in page.text


def test_the_boards_of_one_experiment_say_why_they_may_not_be_compared(client: Client) -> None:
    dataset = factories.make_dataset()
    protocols = [
        factories.make_protocol(dataset=dataset, name=name, num_images=number)
        for name, number in (("A", 50), ("B", 60), ("C", 70))
    ]
    several = factories.make_experiment(protocols=protocols)
    alone = factories.make_experiment(protocols=protocols[:1])

    found = verdicts(html.get(client, several.get_absolute_url()))

    assert len(found) == 2
    assert found[0].startswith("Not comparable with A") and "num images: 60 and 50" in found[0]
    assert found[1].startswith("Not comparable with B") and "num images: 70 and 60" in found[1]
    assert verdicts(html.get(client, alone.get_absolute_url())) == []


def test_a_dataset_states_its_source_licence_and_classes(client: Client) -> None:
    dataset = factories.make_dataset(
        source="UCI", licence="CC BY 4.0", classes=["cat", "dog"], preparation="cropped"
    )

    facts = html.get(client, f"/datasets/{dataset.slug}/").one("dl").text

    for fact in ("UCI", "CC BY 4.0", "cat, dog", "cropped", dataset.digest):
        assert fact in facts


def test_workers_are_online_or_late_with_what_they_do(client: Client) -> None:
    here = factories.make_worker(name="celery@here", memory_bytes=0)
    factories.make_worker(name="celery@gone", alive=False)
    late = timezone.now() - timedelta(minutes=10)
    factories.make_worker(name="celery@late", last_seen=late)
    run = factories.make_run(status="running", worker=here)

    rows = {r.one("th").text: r for r in html.get(client, "/workers/").one("tbody").all("tr")}

    assert "online" in rows["celery@here"].text and "late" in rows["celery@late"].text
    assert "gone" in rows["celery@gone"].all("td")[0].text
    assert rows["celery@here"].one("a", href=run.get_absolute_url()).text == run.entry.label
    assert "50 %" in rows["celery@here"].text
    assert rows["celery@here"].one("span", title="not reported").text == "–"


def test_another_sites_protocol_of_inception_may_say_fid_and_a_classifiers_never(
    client: Client,
) -> None:
    scene = scenes.finished_comparison()
    for address in scenes.addresses(scene):
        if address.startswith("/glossary/"):
            continue  # which says what the word means, of no number
        text = html.get(client, address).text
        assert "FID" not in text and "KID" not in text, address
    board = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/").text
    assert "FD[classifier] ↓" in board and "PR[classifier] recall ↑" in board

    from_inception = factories.make_protocol(
        extractor="inception-v3-compat", weights_sha256=INCEPTION_2015_SHA256
    )
    factories.make_experiment(protocols=[from_inception])
    known = html.get(client, f"/leaderboards/{from_inception.fingerprint}/").text
    assert "FID ↓" in known and "FD[" not in known


def test_a_long_training_shows_some_of_its_previews_and_says_how_many(client: Client) -> None:
    run = factories.make_run(status="completed")
    for number in range(1, 101):
        checkpoint = factories.make_checkpoint(run=run, images_seen=number)
        checkpoint.preview = f"runs/{run.pk}/preview-{number}.png"
        checkpoint.save()

    page = client.get(run.get_absolute_url()).content.decode()

    assert "24 of 100 checkpoints, evenly spaced." in page
    shown = re.findall(r"Grid of samples after (\d+) images", page)
    assert (len(shown), shown[0], shown[-1]) == (24, "1", "100")


def test_what_was_chosen_of_an_experiment_is_kept_between_pages_of_entries(client: Client) -> None:
    labels = [f"n{place}" for place in range(14)]  # and four controls: two pages
    experiment = factories.make_experiment(
        entries=[{"algorithm": "gan.sngan", "label": label} for label in labels], seeds=[0, 1]
    )
    address = experiment.get_absolute_url()

    page = html.get(client, f"{address}?seed=1&sort=-fd&columns=fd")

    links = {link.attributes["href"] for link in page.all("a", rel="next") if link.text == "after"}
    assert links == {"?seed=1&sort=-fd&columns=fd&page=2"}
    boxes = [each.attributes for each in page.all("input") if each.attributes["name"] == "columns"]
    assert [box["value"] for box in boxes if "checked" in box] == ["fd"]
    html.get(client, address + links.pop())


def test_boards_of_an_experiment_are_shown_as_they_stood_on_a_day(client: Client) -> None:
    protocol = factories.make_protocol(metrics=["fd"])
    experiment = factories.make_experiment(
        protocols=[protocol], entries=[{"algorithm": "vae.conv", "label": name} for name in "ab"]
    )
    early, late = factories.contenders_of(experiment)
    for entry in (early, late):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 3.5}])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    Experiment.objects.update(created_at=day)
    of_early = Evaluation.objects.filter(sample_set__entry=early)
    assert of_early.update(finished_at=day) == 1

    page = html.get(client, f"{experiment.get_absolute_url()}?as_of=2020-01-01")

    assert "As it stood at the end of 2020-01-01" in page.text
    cells = {
        row.attributes["data-entry"]: row.text for row in page.all("tr", data_kind="generator")
    }
    assert "3.5" in cells["a"] and "3.5" not in cells["b"]
    wrong = client.get(f"{experiment.get_absolute_url()}?as_of=yesterday")
    assert wrong.status_code == 404
