"""The form on an experiment's page that changes its tags."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from experiments import services
from experiments.models import Experiment
from experiments.ownership import require_change
from experiments.tags.words import read_words, typed_words
from web.experiment import show


@require_POST
@login_required
def tag(request: HttpRequest, pk: int) -> HttpResponse:
    """Give an experiment the tags that were typed; show what is wrong beside the field."""
    experiment = get_object_or_404(Experiment, pk=pk)
    require_change(request.user, experiment)
    typed = request.POST.get("tags", "")
    try:
        words = read_words(typed_words(typed))
    except ValueError as error:
        text = str(error)
        wrong = f"{text[:1].upper()}{text[1:]}."
        return show(request, pk, status=400, typed_tags=typed, tags_error=wrong)
    if services.change_tags(experiment, words, user=request.user):
        messages.success(request, "The tags are changed.")
    else:
        messages.info(request, "It has these tags already.")
    return redirect(experiment)
