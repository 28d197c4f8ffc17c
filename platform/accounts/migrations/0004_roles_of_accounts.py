from typing import Any

from django.db import migrations


def give_roles(apps: Any, schema_editor: Any) -> None:
    """Let everybody go on with what they did: superusers administer, the others submit."""
    users = apps.get_model("accounts", "User").objects.all()
    users.filter(is_superuser=True).update(role="admin", is_staff=True)
    users.filter(is_superuser=False).update(role="submitter", is_staff=True)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_roles_and_audit"),
    ]

    operations = [
        migrations.RunPython(give_roles, migrations.RunPython.noop),
    ]
