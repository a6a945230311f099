"""The fence around templates of tasks: what a row says can be read, and nothing else can be reached."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError, UndefinedError

from guideway.pipeline.stages.suites.fence import Fence


class Picture:
    """What a cell of a row may be that does things."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, name: str) -> str:
        (self.path / name).write_text("it was called")
        return name


def written(template: str, **row: object) -> str:
    return Fence({"shout": str.upper}).from_string(template).render(**row)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ question.strip() }}?", "why?"),
        ("{% for one in choices %}{{ loop.index }}{{ one }}{% endfor %}", "1a2b"),
        ("{{ choices | join(', ') | shout }}", "A, B"),
        ("{{ about.topic }} {{ about['topic'] }}", "sky sky"),
        ("{% set n = namespace(k=1) %}{% set n.k = n.k + 1 %}{{ n.k }}", "2"),
        ("{{ day.year }}", "2026"),
        ("{{ '%s %s' | format('a', 'b') }}", "a b"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m('a') }}", "[a]"),
    ],
)
def test_what_tasks_write_is_written(template, text):
    row = {"question": " why ", "choices": ["a", "b"], "about": {"topic": "sky"}, "day": datetime.date(2026, 1, 2)}
    assert written(template, **row) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ (1).__class__.__base__.__subclasses__() }}",
        "{{ question | attr('__class__') }}",
        "{{ '{0.__class__}'.format(question) }}",
        "{{ [question] | map(attribute='__class__') | first }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner.__init__.__globals__['os'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{% set _ = choices.append('x') %}",
        "{{ namespace.__init__ }}",
        "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
        "{{ lipsum() }}",
        "{% include '/etc/hostname' %}",
        "{% import 'os' as os %}",
    ],
)
def test_nothing_leads_from_a_row_to_the_process(template):
    with pytest.raises((SecurityError, UndefinedError, TypeError)):
        written(template, question="x", choices=["a"])


@pytest.mark.parametrize("way", ["picture.save('x')", "picture['save']('x')", "(picture | attr('save'))('x')"])
def test_what_is_no_plain_data_can_do_nothing(way, tmp_path):
    with pytest.raises(SecurityError, match="attribute 'save' of 'Picture' object is unsafe"):
        written("{{ " + way + " }}", picture=Picture(tmp_path))
    assert not list(tmp_path.iterdir())
