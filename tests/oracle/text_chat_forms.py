"""Chat templates in the forms that checkpoints of the families are published with, and conversations that reach all their branches.

The wording is ours; the constructs (namespaces, reversed loops, macros, tools, content in parts, raise_exception) are those of the
published ones.
"""

CHATML_WITH_TOOLS = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You help.' }}
    {%- endif %}
    {{- "\n\n# Functions\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\nAnswer with {\"name\": <name>, \"arguments\": <object>} in <tool_call>.<|im_end|>\n" }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
{%- else %}
    {{- '<|im_start|>system\nYou help.<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

THINKING_CHATML = r"""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ content ~ '<|im_end|>\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>assistant\n<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
            {{- '<tool_call>' }}
            {%- if call.function.arguments is string %}{{- call.function.arguments }}{%- else %}{{- call.function.arguments | tojson }}{%- endif %}
            {{- '</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (loop.previtem and loop.previtem.role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' ~ content ~ '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != "tool" %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""

ROLES_IN_TAGS = r"""{% set thinking_option = 'on' if enable_thinking else 'off' %}
{{- '<role>SYSTEM</role>' }}
{%- if messages and messages[0].role == 'system' %}{{- messages[0].content + '\n' }}{%- endif %}
{%- if tools %}
    {{- '# Tools\n' }}
    {%- for tool in tools %}{{- tool | tojson(indent=2) ~ '\n' }}{%- endfor %}
{%- endif %}
{{- 'thinking ' + thinking_option + '<|role_end|>' }}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "user" %}{{- '<role>HUMAN</role>' + content + '<|role_end|>' }}
    {%- elif message.role == "system" and not loop.first %}{{- '<role>SYSTEM</role>' + content + '<|role_end|>' }}
    {%- elif message.role == "assistant" %}
        {{- '<role>ASSISTANT</role>' + content }}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}{{- '\n<tool_call>' ~ call.function.name ~ ' ' ~ call.function.arguments | tojson ~ '</tool_call>' }}{%- endfor %}
        {%- endif %}
        {{- '<|role_end|>' }}
    {%- elif message.role == "tool" %}{{- '<role>OBSERVATION</role>' + content + '<|role_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<role>ASSISTANT</role>' }}{%- endif %}"""

BRACKETED = r"""{% set begin, end = '<[begin]>', '<[end]>' %}{% if messages|length > 0 and messages[0].role == 'system' %}{% set system, rest = messages[0].content, messages[1:] %}{% else %}{% set system, rest = 'You write code.', messages %}{% endif %}
{{ begin }}system
{{ system | trim }}

{{ end }}{% for message in rest %}
{% if message.role not in ['user', 'assistant'] %}{{ raise_exception('role ' ~ message.role ~ ' is not known') }}{% endif %}
{{ begin ~ message.role }}
{{ message['content'] | trim }}{{ end }}
{%- endfor %}
{% if add_generation_prompt %}
{{ begin }}assistant
{% endif %}
"""

TURNS_WITH_MACROS = r"""{%- macro describe(properties, required=[]) -%}
    {%- for name, property in properties | dictsort -%}
        {%- if not loop.first %},{% endif -%}
        {{- name }}:{ {%- if property is mapping -%}
            {%- if property.type is string -%}type:{{ property.type | upper }}{%- elif property.type is iterable -%}type:{{ property.type | map('upper') | join('|') }}{%- endif -%}
            {%- if property.description %},about:<|"|>{{ property['description'] | replace('\n', ' ') }}<|"|>{% endif -%}
            {%- if property.enum %},one of:[{{ property.enum | join(',') }}]{% endif -%}
            {%- if property['properties'] is defined %},in:{ {{- describe(property['properties']) -}} }{% endif -%}
            {%- if name in required %},required{% endif -%}
        {%- endif -%} }
    {%- endfor -%}
{%- endmacro -%}
{%- macro without_thought(text) -%}
    {%- set ns = namespace(out='') -%}
    {%- for part in text.split('</think>') -%}
        {%- set ns.out = ns.out + (part.split('<think>')[0] if '<think>' in part else part) -%}
    {%- endfor -%}
    {{- ns.out | trim -}}
{%- endmacro -%}
{{- bos_token -}}
{%- if tools or enable_thinking or (messages and messages[0].role in ['system', 'developer']) -%}
    {{- '<|turn>system\n' -}}
    {%- if enable_thinking -%}{{- '<|think|>' -}}{%- endif -%}
    {%- if messages[0].role in ['system', 'developer'] -%}
        {%- if messages[0].content is string -%}{{- messages[0].content | trim -}}
        {%- else -%}{%- for part in messages[0].content | selectattr('type', 'equalto', 'text') -%}{{- part.text -}}{%- endfor -%}{%- endif -%}
        {%- set messages = messages[1:] -%}
    {%- endif -%}
    {%- for tool in tools or [] -%}
        {{- '<|tool>' ~ tool.function.name ~ '{' -}}
        {%- set parameters = tool['function'].get('parameters', {}) -%}
        {{- describe(parameters.get('properties', {}), parameters.get('required', [])) -}}
        {{- '}<tool|>' -}}
    {%- endfor -%}
    {{- '<turn|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if loop.index0 > 0 and messages[loop.index0 - 1].role == message.role == 'user' -%}{{- raise_exception('two user turns in a row') -}}{%- endif -%}
    {%- set role = 'model' if message.role == 'assistant' else message.role -%}
    {{- '<|turn>' + role + '\n' -}}
    {%- if message.content is string -%}
        {{- without_thought(message.content) if role == 'model' else message.content | trim -}}
    {%- elif message.content is iterable and message.content is not mapping -%}
        {%- for part in message.content -%}
            {%- if part.type == 'text' -%}{{- part.text | trim -}}{%- elif part['type'] == 'image' -%}{{- '\n<|image|>\n' -}}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for call in message.get('tool_calls') or [] -%}
        {{- '<|call>' + call.function.name + '{' -}}
        {%- if call.function.arguments is mapping -%}
            {%- for key, value in call.function.arguments.items() -%}{{- key ~ ':' ~ (value | string if value is number else value | tojson) ~ ('' if loop.last else ',') -}}{%- endfor -%}
        {%- else -%}{{- call.function.arguments -}}{%- endif -%}
        {{- '}<call|>' -}}
    {%- endfor -%}
    {{- '<turn|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\n' -}}{%- endif -%}
"""

FORMS = [CHATML_WITH_TOOLS, THINKING_CHATML, ROLES_IN_TAGS, BRACKETED, TURNS_WITH_MACROS]

QUESTION = {"role": "user", "content": "What is 2 + 2?\n"}
RESULT = {"role": "tool", "name": "add", "tool_call_id": "a1", "content": "{\"result\": 4}"}


def call(arguments) -> dict:
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "a1", "type": "function", "function": {"name": "add", "arguments": arguments}}]}


CONVERSATIONS = [
    [QUESTION, call({"a": 2, "b": [1, "x", None, True, 2.5]}), RESULT, RESULT, {"role": "assistant", "content": "4"}, {"role": "user", "content": "thanks"}],
    [{"role": "system", "content": "S"}, QUESTION, call("{\"a\": 2}"), RESULT],
    [QUESTION, {"role": "assistant", "content": "4", "reasoning_content": "\ntwo and two\n"}, {"role": "user", "content": "<tool_response>5</tool_response>"}],
    [QUESTION, {"role": "assistant", "content": "a<think>b</think>c<think>d"}, QUESTION, {"role": "assistant", "content": "<think>\ne\n</think>\n\nf"}],
    [{"role": "system", "content": [{"type": "text", "text": "in parts"}]}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " look "}]}],
    [{"role": "developer", "content": "D"}, QUESTION, {"role": "assistant", "content": "\u4f60\u597d \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301\r\n"}, {"role": "other", "content": "?"}],
    [QUESTION, QUESTION],
    [{"role": "user"}],
    [{"role": "user", "content": None}],
]
TOOLS = [
    {"type": "function", "function": {"name": "add", "description": "Adds \"two\" <numbers> & more\nlines", "parameters": {
        "type": "object", "required": ["b"], "properties": {
            "b": {"type": "array", "description": "first\nsecond"}, "A": {"type": ["string", "null"], "enum": ["x", "y"]},
            "c": {"type": "object", "properties": {"z": {"type": "number"}}}, "d": True}}}},
    {"type": "function", "function": {"name": "now"}}]
