"""Reading and sending the submission form as a browser without JavaScript does."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from django.test import Client

FORM = "/submit/experiment/"
ADD = "/admin/experiments/experiment/add/"  # leads to it
THREE = "?entry=gan.sngan&entry=vae.conv&entry=diffusion.ddpm"
Typed = dict[str, list[str]]


@dataclass
class Form:
    """What a form would send, its buttons, and the text under each field that is marked."""

    values: Typed = field(default_factory=dict)
    limits: dict[str, dict[str, str | None]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)


class Reader(HTMLParser):
    """Collects the controls of the form that submits an experiment, or of the admin's page of one."""

    def __init__(self) -> None:
        super().__init__()
        self.form = Form()
        self.inside = False
        self.select = ""
        self.textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name, value = found.get("name") or "", found.get("value") or ""
        if tag == "form":
            self.inside = found.get("id") in ("experiment_form", "submission")
        if not self.inside:
            return
        if tag == "input":
            self._input(found, name, value)
        elif tag == "button" and name:
            self.form.buttons.append((name, value))
        elif tag == "select":
            self.select = name
        elif tag == "textarea":
            self.textarea = name
            self.form.values[name] = [""]
        elif tag == "option" and self.select:
            self.form.choices.setdefault(self.select, []).append(value)
            if "selected" in found or self.select not in self.form.values:
                self.form.values[self.select] = [value]  # the first where none is selected

    def _input(self, found: dict[str, str | None], name: str, value: str) -> None:
        self.form.limits[name] = found
        if found.get("type") != "checkbox":
            self.form.values[name] = [value]
        elif "checked" in found:
            self.form.values.setdefault(name, []).append(value or "on")

    def handle_data(self, data: str) -> None:
        if self.textarea:
            self.form.values[self.textarea][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            text = self.form.values[self.textarea][0]
            self.form.values[self.textarea] = [text.replace("\r\n", "\n").removeprefix("\n")]
            self.textarea = ""
        if tag == "select":
            self.select = ""
        if tag == "form":
            self.inside = False


def read_form(html: str) -> Form:
    reader = Reader()
    reader.feed(html)
    return reader.form


def open_form(client: Client, query: str = THREE) -> Form:
    """Return the form, by default with a GAN, a VAE and a diffusion model."""
    return read_form(client.get(FORM + query).content.decode())


def filled(form: Form, **typed: str | list[str]) -> Typed:
    """Return what the form sends after some fields were changed; `__` in a name stands for `.`."""
    changes = {
        name.replace("__", "."): [value] if isinstance(value, str) else value
        for name, value in typed.items()
    }
    return {**form.values, **changes}
