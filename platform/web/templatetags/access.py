"""What templates ask about who may do what."""

from django import template
from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from experiments.models import Experiment
from experiments.ownership import may_change

register = template.Library()


@register.filter
def changeable_by(experiment: Experiment, user: User | AnonymousUser) -> bool:
    """Return whether the account may cancel and retry the experiment and its jobs."""
    return may_change(user, experiment)
