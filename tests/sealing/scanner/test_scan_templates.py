"""Chat templates: payloads are refused wherever they stand and however they are built; real shapes pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_rig import good_gguf, judged_files, rules

from guideway.sealing.scanner import templates

MARKER = "/tmp/guideway-a-template-has-run"
RUN = f"touch {MARKER}"
PAYLOADS = {
    "class of a text": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "subclasses": "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "globals of a function": f"{{{{ lipsum.__globals__['os'].popen('{RUN}').read() }}}}",
    "cycler": f"{{{{ cycler.__init__.__globals__.os.popen('{RUN}') }}}}",
    "joiner": f"{{{{ joiner.__init__.__globals__.os.system('{RUN}') }}}}",
    "namespace": f"{{{{ namespace.__init__.__globals__.os.popen('{RUN}') }}}}",
    "self": "{{ self.__init__.__globals__.__builtins__ }}",
    "a name of the template": "{{ self._TemplateReference__context.cycler }}",
    "builtins of a message": "{{ messages.__class__.__init__.__globals__['__builtins__']['eval'](\"1\") }}",
    "import": f"{{{{ ''.__class__.__base__.__import__('os').system('{RUN}') }}}}",
    "subscript": "{{ ''['__class__'] }}",
    "attr filter": "{{ ''|attr('__class__') }}",
    "attr filter without a dunder": "{{ messages|attr('pop') }}",
    "attr filter through map": "{{ ['']|map('attr', '__class__')|list }}",
    "attribute of map": "{{ ['']|map(attribute='__class__')|list }}",
    "attribute of selectattr": "{{ messages|selectattr('__init__')|list }}",
    "attribute path of groupby": "{{ messages|groupby('x.__class__') }}",
    "attribute that is not written out": "{{ messages|map(attribute=bos_token)|list }}",
    "joined by ~": "{{ ''['__cl' ~ 'ass__'] }}",
    "joined by +": "{{ ''['_' + '_class_' + '_'] }}",
    "joined by a filter": "{{ ''[['_', '_class_', '_']|join] }}",
    "joined before": "{% set name = ['_' , '_class_', '_']|join('') %}{{ ''[name] }}",
    "joined in a loop": "{% for name in [['_', '_class_', '_']|join] %}{{ ''[name] }}{% endfor %}",
    "joined in a block": "{% set name %}_{{ '_cl' }}ass_{{ '_' }}{% endset %}{{ ''[name] }}",
    "joined in with": "{% with name = '_%s_' % '_class_' %}{{ ''[name] }}{% endwith %}",
    "by a method": "{{ ''['_x_class_x_'.replace('x', '_')] }}",
    "by a format": "{{ ''['%c%cclass%c%c' % (95, 95, 95, 95)] }}",
    "hexadecimal": "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "unicode": "{{ ''['\\u005f\\u005fclass\\u005f\\u005f'] }}",
    "reversed": "{{ ''['__ssalc__'|reverse] }}",
    "format string": "{{ '{0.__class__}'.format(messages) }}",
    "format map": "{{ '{x}'.format_map(messages) }}",
    "generator frame": "{{ (messages|map('upper')).gi_frame.f_globals }}",
    "code of a function": "{{ raise_exception.func_code }}",
    "popen of a value": f"{{{{ messages[0].popen('{RUN}') }}}}",
    "config": "{{ config.items() }}",
    "request": "{{ request.application }}",
    "include": "{% include '/etc/passwd' %}",
    "import a template": "{% import 'x' as y %}",
    "from import": "{% from 'x' import y %}",
    "extends": "{% extends 'x' %}",
    "counting": "{% for i in range(10000000000) %}x{% endfor %}",
    "repeating": "{{ 'x' * 10000000000 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "in a macro": "{% macro a(x) %}{{ x.__class__ }}{% endmacro %}{{ a('') }}",
    "in a condition": "{{ 1 if ''.__class__ else 2 }}",
    "in a comparison": "{% if messages.__len__() == 1 %}{% endif %}",
    "in a default": "{{ x|default(''.__class__) }}",
    "in a test": "{{ ''.__class__ is defined }}",
    "in a filter block": "{% filter replace(''.__class__, 'x') %}x{% endfilter %}",
    "in a call block": "{% call(x) namespace(a=''.__class__) %}{% endcall %}",
    "broken": "{% for x in %}",
    "unbalanced": "{{ messages",
    "an unknown tag": "{% python %}import os{% endpython %}",
}


@pytest.fixture(autouse=True)
def _nothing_has_run():
    yield
    assert not Path(MARKER).exists()


@pytest.mark.catalogue("B6")
@pytest.mark.parametrize("case", PAYLOADS)
def test_payloads_are_refused(case, tmp_path):
    scan = judged_files(tmp_path, {"chat_template.jinja": PAYLOADS[case]})
    assert set(rules(scan)) == {"template"}, scan.findings


PAYLOAD = PAYLOADS["cycler"]
PLACES = {
    "a key": ("tokenizer_config.json", json.dumps({"chat_template": PAYLOAD})),
    "a list": ("tokenizer_config.json", json.dumps({"chat_template": [{"name": "default", "template": PAYLOAD}]})),
    "names": ("tokenizer_config.json", json.dumps({"chat_template": {"default": "x", "tools": PAYLOAD}})),
    "a file of its own": ("chat_template.json", json.dumps({"chat_template": PAYLOAD})),
    "a deep key": ("processor_config.json", json.dumps({"a": [{"b": {"chat_template": PAYLOAD}}]})),
    "behind another": ("x.json", f'{{"chat_template": {json.dumps(PAYLOAD)}, "chat_template": "fine"}}'),
    "before another": ("x.json", f'{{"chat_template": "fine", "chat_template": {json.dumps(PAYLOAD)}}}'),
    "settings of ours": ("serve.json", json.dumps({"template": PAYLOAD})),
    "another name": ("x.json", json.dumps({"prompt_template": PAYLOAD})),
    "escaped": ("x.json", '{"chat_template": "\\u007b\\u007b \'\'.__class__ \\u007d\\u007d"}'),
    "YAML": ("x.yaml", f"model:\n  chat_template: {json.dumps(PAYLOAD)}\n"),
    "folders": ("additional_chat_templates/tools.jinja", PAYLOAD),
    "a text by its content": ("prompt.txt", "{% if messages %}" + PAYLOAD + "{% endif %}"),
    "GGUF": ("model.gguf", good_gguf(tokenizer__chat_template=PAYLOAD)),
    "GGUF, a named one": ("model.gguf", good_gguf(tokenizer__chat_template__tools=PAYLOAD)),
}


@pytest.mark.catalogue("B6")
@pytest.mark.parametrize("place", PLACES)
def test_a_payload_is_found_wherever_templates_are_kept(place, tmp_path):
    scan = judged_files(tmp_path, dict([PLACES[place]]))
    assert set(rules(scan)) == {"template"}


GOOD = {
    "plain": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}",
    "with tools": """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\nCall within <tools></tools> tags:\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}<|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string
        and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if '</think>' in message.content %}
        {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
{%- endfor %}
""",
    "with a date": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- if builtin_tools is defined %}
{{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}{{- system_message }}<|eot_id|>""",
    "alternating": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}""",
    "with tool calls": """{%- set user_messages = messages | selectattr("role", "equalto", "user") | list %}
{%- for message in messages | rejectattr("role", "equalto", "system") %}{%- if message.tool_calls is not none %}
{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}
{%- if not tool_call.id is defined or tool_call.id|length != 9 %}
{{- raise_exception("Tool call IDs should be alphanumeric") }}{%- endif %}
{{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{%- break %}{%- endif %}
{%- endfor %}{%- endif %}{%- endfor %}""",
    "with macros": """{%- macro render_type(spec) -%}{%- if spec.type == "array" -%}{{- spec['items'].type + "[]" -}}
{%- else -%}{{- spec.type -}}{%- endif -%}{%- endmacro -%}
{%- for tool in tools -%}{%- for param_name, param in tool.parameters.properties.items() -%}
{{- param_name + ": " + render_type(param) -}}{%- for key in param|list -%}{{ param[key] }}{%- endfor -%}
{%- if param_name not in tool.parameters.required %}?{% endif -%}{%- endfor -%}{%- endfor -%}""",
    "with generation marks": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "with pictures": """{% for message in messages %}{% if message['content'] is string %}
{{ message['content'] }}{% else %}
{% for content in message['content'] %}{% if content['type'] == 'image' or 'image_url' in content %}
<|vision_start|><|image_pad|>
{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}""",
    "names of its own": "{% set config = namespace(n=0) %}{% set input = messages[-1] %}{{ config.n ~ input }}",
    "nothing but text": "You are a helpful assistant.",
    "a comment": "{# made by us #}{{ messages[0].content }}",
    "counting a little": "{% for i in range(messages|length - 1, -1, -1) %}{{ messages[i].content * 2 }}{% endfor %}",
}


@pytest.mark.parametrize("case", GOOD)
def test_templates_as_models_have_them_pass(case, tmp_path):
    files = {"chat_template.jinja": GOOD[case], "tokenizer_config.json": json.dumps({"chat_template": GOOD[case]})}
    scan = judged_files(tmp_path, files | {"model.gguf": good_gguf(tokenizer__chat_template=GOOD[case])})
    assert scan.findings == ()


def test_a_template_that_is_too_long_is_refused(tmp_path):
    long = "{% if x %}" + "x" * templates.LIMIT + "{% endif %}"
    files = {"chat_template.jinja": long, "tokenizer_config.json": json.dumps({"chat_template": long})}
    assert rules(judged_files(tmp_path, files)) == ["template", "template"]


@pytest.mark.parametrize(
    "deep",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if x %}" * 3000,
        "{{ " + "-" * 9000 + "1 }}",
        "{{ " + "a." * 20000 + "b }}",
        "{{ 1" + "+ 1" * 20000 + " }}",
    ],
)
def test_depth_is_no_way_out(deep, tmp_path):
    assert set(rules(judged_files(tmp_path, {"chat_template.jinja": deep + "{{ ''.__class__ }}"}))) == {"template"}


def test_prose_may_speak_of_templates(tmp_path):
    files = {
        "README.md": f"Write `{{% for x in y %}}`, never\n\n    {PAYLOAD}\n",
        "notes.txt": "Use {{ name }} or {% thing %}.\n",
    }
    assert judged_files(tmp_path, files).findings == ()


def test_tokens_that_look_like_marks_are_tokens(tmp_path):
    vocabulary = {"{{": 0, "{%": 1, "__class__": 2, "auto_map": 3, "template": 4, "_target_": 5, "trust_remote_code": 6}
    files = {"tokenizer.json": json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": ["{ {", "{ %"]}})}
    assert judged_files(tmp_path, files).findings == ()


def test_without_jinja_a_template_is_not_taken_on_trust(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "jinja2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    scan = judged_files(tmp_path, {"chat_template.jinja": GOOD["plain"]})
    assert rules(scan) == ["template-unread"] and "guideway[serve]" in scan.findings[0].try_this


@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{%",
                "%}",
                "{#",
                "#}",
                "if",
                "for",
                "in",
                "x",
                ".",
                "__class__",
                "[",
                "]",
                "(",
                ")",
                "|",
                "~",
                "+",
                "'",
                '"',
                "\\",
                "endif",
                "endfor",
                "attr",
                "1",
            ]
        ),
        max_size=25,
    )
)
def test_any_words_in_any_order_are_judged_without_an_error(words):
    text = " ".join(words)
    found = templates.faults(text)
    assert all(rule == "template" for rule, _ in found)
    assert found == templates.faults(text)
