"""Chat templates: what they may do, and what they may not."""

from __future__ import annotations

import time

import pytest

from guideway.replica.chat import ChatTemplateError, render_chat

PLAIN = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
HELLO = [{"role": "user", "content": "hello"}]


def test_a_conversation_becomes_the_text_of_its_template() -> None:
    assert render_chat(PLAIN, HELLO) == "[user]hello[assistant]"
    assert render_chat(PLAIN, HELLO, add_generation_prompt=False) == "[user]hello"


def test_the_system_prompt_comes_first_unless_the_messages_bring_their_own() -> None:
    assert render_chat(PLAIN, HELLO, "be brief").startswith("[system]be brief[user]")
    own = [{"role": "system", "content": "sing"}, *HELLO]
    assert "be brief" not in render_chat(PLAIN, own, "be brief")


def test_the_messages_of_the_caller_stay_as_they_are() -> None:
    messages = [dict(HELLO[0])]
    render_chat("{% for m in messages %}{% endfor %}", messages, "system")
    assert messages == HELLO


def test_templates_as_models_bring_them_work() -> None:
    template = (
        "{{- bos_token }}\n"
        "{%- set ns = namespace(n=0) %}\n"
        "{%- for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}\n"
        "    {%- set ns.n = ns.n + 1 %}{{ ns.n }}:{{ m['content'] | trim | upper }} {{ m | tojson }}\n"
        "{%- generation %}!{% endgeneration %}{%- endfor %}\n"
        "{%- if strftime_now is defined %}now{% endif %}{{ '-' * 3 }}{{ tools }}"
    )
    text = render_chat(template, [{"role": "user", "content": " é "}], special={"bos_token": "<s>"})
    assert text == '<s>1:É {"role": "user", "content": " é "}!---'


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% set x = messages.append(1) %}",
        "{{ raise_exception('only one turn, please') }}",
        "{% for m in messages %}",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{{ 'a' * 999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a'.center(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(90000) %}" + "x" * 100 + "{% endfor %}",
        "{% include '/etc/passwd' %}",
        "x" * 300_000,
        "",
    ],
)
def test_a_template_that_is_broken_greedy_or_nosy_is_one_clear_error(template: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ChatTemplateError, match="chat template"):
        render_chat(template, HELLO)
    assert time.monotonic() - begun < 5


def test_a_refusal_of_the_template_reaches_people() -> None:
    with pytest.raises(ChatTemplateError, match="only one turn, please"):
        render_chat("{{ raise_exception('only one turn, please') }}", HELLO)


HOSTILE = [
    "{{ self.__init__.__globals__.__builtins__.open(%r, 'w').write('x') }}",
    "{{ ''.__class__.__base__.__subclasses__()[0] }}{{ %r }}",
    "{{ cycler.__init__.__globals__.os.system('touch ' ~ %r) }}",
    "{{ joiner.__init__.__globals__.os.popen('touch ' ~ %r).read() }}",
    "{{ namespace.__init__.__globals__['os'].system('touch ' ~ %r) }}",
    "{{ lipsum.__globals__['os'].popen('touch ' ~ %r).read() }}",
    "{{ raise_exception.__globals__['__builtins__']['open'](%r, 'w') }}",
    "{{ range.__call__.__self__.__class__.__mro__[1].__subclasses__() }}{{ %r }}",
    "{{ messages.__class__.__mro__[-1].__subclasses__() | length }}{{ %r }}",
    "{{ (messages | attr('__class__')).__mro__ }}{{ %r }}",
    "{{ messages | map(attribute='__class__.__init__.__globals__') | list | first | attr('os') }}{{ %r.x.y }}",
    "{{ messages[0].get.__self__.__class__.__bases__[0].__subclasses__()[40](%r, 'w') }}",
    "{{ ''['__class__']['__mro__'][1]['__subclasses__']()[40](%r, 'w') }}",
    "{{ ('{0.__class__.__init__.__globals__}').format(namespace) }}{{ %r }}",
    "{{ '%%s' | format(namespace.__init__.__globals__.x) }}{{ %r }}",
    "{%% set f = namespace %%}{{ f.__new__.__globals__.os.remove(%r) }}",
    "{%% import 'os' as os %%}{{ os.system('touch ' ~ %r) }}",
    "{%% from '/etc/passwd' import x %%}{{ %r }}",
    "{%% extends %r %%}",
    "{%% macro m() %%}{{ caller.__globals__ }}{%% endmacro %%}{{ m.__globals__.os.system('touch ' ~ %r) }}",
    "{{ loop.__init__.__globals__['sys'].modules['os'].system('touch ' ~ %r) }}",
    "{%% for c in [].__class__.__base__.__subclasses__() %%}{{ c.__init__.__globals__.popen(%r) }}{%% endfor %%}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('touch ' ~ %r) }}",
    "{{ messages.append.__self__.clear() }}{{ messages.pop() }}{{ %r }}",
]
"""As in CVE-2024-34359 and its relatives: from an object at hand to ``os``."""


@pytest.mark.catalogue("B6")
@pytest.mark.parametrize("payload", HOSTILE)
def test_a_hostile_template_runs_no_code_and_changes_nothing(payload: str, tmp_path) -> None:
    mark = tmp_path / "touched"
    messages = [dict(HELLO[0])]
    with pytest.raises(ChatTemplateError, match="chat template"):
        render_chat(payload % str(mark), messages)
    assert not mark.exists() and messages == HELLO
