"""Renders chat templates with jinja2 as Hugging Face transformers sets it up, and writes the results.

Usage: text_make_chat_goldens.py OUT.json [MODEL_DIR ...]      (needs jinja2)

One entry per (template, context): "expected" is the text, or null where jinja2 raises.
"""
import json
import pathlib
import sys

import jinja2
import text_chat_forms
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception

USER = {"role": "user", "content": "What is 2 + 2?\n"}
CONVERSATIONS = [
    [USER],
    [{"role": "system", "content": "Be brief. \U0001f600"}, USER],
    [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"}, {"role": "user", "content": "  And 3 + 3? <&\">"}],
    [USER, {"role": "assistant", "content": ""}, {"role": "tool", "content": "{\"a\": 1}"}, {"role": "user", "content": "é 中文"}],
    [{"role": "assistant", "content": "first"}, USER],
    [],
]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds \"two\" numbers", "parameters": {"a": 1, "b": [1.5, None, True]}}}]
EXTRAS = [{}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False}, {"tools": TOOLS, "add_generation_prompt": True}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

# One construct each; x, text, numbers, mapping and rows come from CONTEXT.
CONTEXT = {"x": 7, "text": "  Hello, World hello\n", "numbers": [3, 1, 2, 3], "mapping": {"b": 1, "A": "two", "c": None}, "flag": True, "nothing": None,
           "rows": [{"k": "a", "v": 1}, {"k": "B", "v": 2}, {"k": "a"}], "ratio": 0.1, "big": 1e16, "unicode": "naïve Ünïcode 中"}
EXPRESSIONS = """
x + 1|x - 10|x * 2|x / 2|x // 2|-x // 2|x % 3|-x % 3|x ** 2|ratio + 0.2|big|1 / 3|2.0|not x|x and text|nothing or x|flag and nothing
x == 7.0|x != 7|1 < x < 10|1 < x > 10|x in numbers|2 in numbers|5 not in numbers|'b' in mapping|'ell' in text|x is odd|x is even|x is defined|y is defined|y is undefined
nothing is none|x is number|text is string|mapping is mapping|numbers is iterable|numbers is sequence|flag is boolean|flag is true|x is divisibleby 7|x is eq 7|x is not none
numbers[0]|numbers[-1]|numbers[9]|numbers[1:]|numbers[:-1]|numbers[::-1]|text[2:7]|text[-6:]|text[::-1]|mapping.b|mapping['A']|mapping.zzz|mapping.get('q', 5)|mapping.items()|list
mapping|numbers|[1, 'a', none, true, 1.5]|(1,)|(1, 2)|{'k': [1]}|'a' ~ x ~ nothing|'it\\'s'|["it's", 'say "x"', 'both \\'"']|text.strip()|text.split()|text.split(',')|text.split('l', 1)
text.rsplit('l', 1)|text.upper()|text.lower()|text.strip().title()|text.strip().capitalize()|text.replace('l', 'L')|text.replace('l', 'L', 1)|text.lstrip()|text.rstrip()|'xxaxx'.strip('x')
text.startswith('  H')|text.endswith(('x', '\\n'))|'abc'.find('c')|'a-b'.split('-')|'12'.isdigit()|'-'.join(['a', 'b'])|'a\\nb'.splitlines()|'aXbX'.count('X')|unicode.upper()|unicode[3]
text|trim|text|trim|length|numbers|length|unicode|length|mapping|length|numbers|first|numbers|last|numbers|join(', ')|numbers|sort|numbers|sort(reverse=true)|numbers|unique|list
numbers|sum|numbers|max|numbers|min|numbers|reverse|list|mapping|dictsort|mapping|items|list|mapping|list|rows|map(attribute='k')|list|rows|map(attribute='k')|join('-')
numbers|map('string')|join|rows|selectattr('k', 'equalto', 'a')|list|length|rows|rejectattr('k', 'eq', 'a')|map(attribute='v')|list|rows|selectattr('v')|list|length|numbers|select('odd')|list
numbers|reject('gt', 2)|list|y|default('d')|nothing|default('d')|nothing|default('d', true)|''|default('d', boolean=true)|mapping|tojson|mapping|tojson(indent=2)|rows|tojson(indent=4)|text|tojson
[]|tojson|{}|tojson(indent=2)|unicode|tojson|[1,2]|tojson(separators=(',', ':'))|mapping|tojson(sort_keys=true)|'3'|int + 1|'x'|int|'2.5'|float|3.7|int|2.5|round|3.14159|round(2)|(-5)|abs
'a' if x else 'b'|'a' if nothing|x if y is defined else 'none'|text|upper|text|lower|'ab cd'|title|'abc'|capitalize|'a\\nb'|indent|'a\\nb\\n\\nc'|indent(2, true)|x|string + 'a'|range(3)|list
range(5, 0, -2)|list|dict(a=1, b=2)|'%s' == '%s'|[1,2]+[3]|'ab' * 3|[0] * 2|x is sameas 7|text is lower|[[1, 2], [3]]|length|none|true|False|None|y.z|numbers.foo|raise_exception('no')|text + 1|1 < 'a'
(rows|first).k|rows[0]['k']|not flag or x|1 - -1|2 + 3 * 4|(2 + 3) * 4|2 ** 3 ** 2|-2 ** 2|'a' ~ 1 + 2|x is defined and y is not defined|'abc'|reverse|'ABC'|lower|first
"""
STATEMENTS = [
    "{% for n in numbers %}{{ loop.index }}:{{ n }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for n in [] %}x{% else %}empty{% endfor %}",
    "{% for n in numbers if n > 1 %}{{ loop.index0 }}/{{ loop.length }}={{ n }} {% endfor %}",
    "{% for n in numbers %}{% if n == 1 %}{% continue %}{% endif %}{% if loop.index == 4 %}{% break %}{% endif %}{{ n }}{% endfor %}",
    "{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for n in numbers %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }} {{ loop.cycle('a', 'b') }}{{ loop.first }}{{ loop.revindex }}{% endfor %}",
    "{% set ns = namespace(found=false, n=0) %}{% for n in numbers %}{% set ns.n = ns.n + n %}{% set ns.found = true %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "{% set a = 1 %}{% for n in numbers %}{% set a = n %}{% endfor %}{{ a }}",
    "{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}",
    "{% set a, b = (1, 2) %}{{ b }}{{ a }}",
    "{% set block %}hello {{ x }}{% endset %}[{{ block }}]",
    "{% set block | upper | trim %} hello {{ x }} {% endset %}[{{ block }}]",
    "{% filter upper %}abc{{ x }}{% endfilter %}",
    "{% macro m(a, b=2, c='z') %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, c='q') }}{{ m() }}",
    "{% macro outer() %}<{{ caller() }}>{% endmacro %}{% call outer() %}in{{ x }}{% endcall %}",
    "{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}",
    "{% with a = 1, b = x %}{{ a + b }}{% endwith %}{{ a is defined }}",
    "{% if x > 10 %}a{% elif x > 5 %}b{% else %}c{% endif %}",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "a\n{{- x -}}\nb\n{# comment #}\nc\n",
    "{% raw %}{{ not }} {% if %}{% endraw %}",
    "  {%+ if true %}x{% endif %}\n",
    "{{ '{{' }} {{ \"}}\" }}",
    "{% for n in numbers recursive %}{{ n }}{% if n == 3 and loop.depth == 1 %}[{{ loop([9]) }}]{% endif %}{% endfor %}",
    "{{ y.z.w }}",
    "{% for n in 5 %}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{{ unknown_function() }}",
    "trailing newline\n",
    "{% set x = x + 1 %}{{ x }}",
]


def render(template, context):
    try:
        return ENVIRONMENT.from_string(template).render(**context)
    except Exception:  # what jinja2 refuses, for whatever reason, must be refused
        return None


def expressions():
    """The lines hold expressions separated by | that are not filters: cut where the rest still compiles."""
    for line in EXPRESSIONS.strip().splitlines():
        parts = line.split("|")
        current = parts[0]
        filters = set(ENVIRONMENT.filters)
        for part in parts[1:]:
            name = part.split("(")[0].split(" ")[0]
            if name in filters:
                current += "|" + part
            else:
                yield current
                current = part
        yield current


def main(out, model_dirs):
    cases = []
    for text in expressions():
        cases.append(("{{ " + text + " }}", CONTEXT))
    cases += [(text, CONTEXT) for text in STATEMENTS]
    published = [(pathlib.Path(directory) / "chat_template.jinja").read_text(encoding="utf-8") for directory in model_dirs]
    extras = [*EXTRAS, {"tools": text_chat_forms.TOOLS, "enable_thinking": True}]
    for template in dict.fromkeys(published + text_chat_forms.FORMS):
        for messages in CONVERSATIONS + text_chat_forms.CONVERSATIONS:
            for extra in extras:
                cases.append((template, {**TOKENS, **extra, "messages": messages}))
    templates = sorted({template for template, _ in cases})
    contexts = []
    for _, context in cases:
        if context not in contexts:
            contexts.append(context)
    entries = [{"template": templates.index(t), "context": contexts.index(c), "expected": render(t, c)} for t, c in cases]
    lines = [json.dumps(part, ensure_ascii=False) for part in (contexts, templates, entries)]
    document = '{"contexts":\n%s,\n"templates":\n%s,\n"cases":\n%s}\n' % tuple(line.replace(', {"template"', ',\n{"template"') for line in lines)
    pathlib.Path(out).write_text(document, encoding="utf-8")
    print(len(entries), "cases,", sum(e["expected"] is None for e in entries), "refused")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
