"""The `openai` Python client against a running cluster: chat and completions, streaming and not.

Usage: openai_client_test.py TESSERA
"""
import sys

import openai

from running_cluster import RunningCluster

QUESTION = [{"role": "user", "content": "A farm has 19 goats and 18 spiders. How many legs do they have in total?"}]
PROMPT = f"<|im_start|>user\n{QUESTION[0]['content']}<|im_end|>\n<|im_start|>assistant\n"
MODEL = "tiny-sdar"


def text_of_stream(stream) -> tuple[str, str, list]:
    """Text, finish reason and all chunks."""
    chunks = list(stream)
    text, reason = "", ""
    for chunk in chunks:
        for choice in chunk.choices:
            content = choice.delta.content if hasattr(choice, "delta") else choice.text
            text += content or ""
            reason = choice.finish_reason or reason
    return text, reason, chunks


def check_chat(client: openai.OpenAI) -> str:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    answer = whole.choices[0].message.content
    assert whole.choices[0].message.role == "assistant" and whole.choices[0].finish_reason == "stop"
    assert answer.strip().endswith("220"), answer  # 19*4 + 18*8
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.model_extra["tessera"]["nfe"] > 0

    stream = client.chat.completions.create(
        model="default", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True})
    text, reason, chunks = text_of_stream(stream)
    assert (text, reason) == (answer, "stop"), (text, reason)
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    return answer


def check_edits(client: openai.OpenAI, answer: str):
    """Chunks about provisional tokens do not disturb who does not know them."""
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, stream=True,
        extra_body={"decoding": {"stream": "edits", "accept_threshold": 1.0}})
    text, _, chunks = text_of_stream(stream)
    assert text == answer, text
    events = [chunk.model_extra["diffusion"] for chunk in chunks if not chunk.choices]
    assert {"open", "set", "commit"} <= {event["type"] for event in events}
    assert [event["seq"] for event in events] == list(range(len(events)))


def check_completions(client: openai.OpenAI):
    options = {"model": MODEL, "max_tokens": 12, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(prompt=PROMPT, **options)
    assert whole.object == "text_completion" and whole.choices[0].text
    text, reason, _ = text_of_stream(client.completions.create(prompt=PROMPT, stream=True, **options))
    assert (text, reason) == (whole.choices[0].text, whole.choices[0].finish_reason)

    tokens = client.post("http://" + client.base_url.netloc.decode() + "/tokenize",
                         body={"prompt": PROMPT}, cast_to=object)["tokens"]
    options["extra_body"] = {"ignore_eos": True, "return_token_ids": True}
    by_ids = client.completions.create(prompt=tokens, **options)
    assert by_ids.choices[0].text == whole.choices[0].text
    assert len(by_ids.choices[0].model_extra["token_ids"]) == by_ids.usage.completion_tokens
    several = client.completions.create(prompt=[PROMPT, tokens], n=2, **options)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert {choice.text for choice in several.choices} == {whole.choices[0].text}


def check_sampling(client: openai.OpenAI):
    def sample(**more):
        answer = client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_completion_tokens=16, temperature=20, n=3, **more)
        return [choice.message.content for choice in answer.choices], answer.usage.model_extra["tessera"]["seed"]

    texts, seed = sample(seed=7)
    assert seed == 7 and len(set(texts)) == 3, texts
    assert sample(seed=7)[0] == texts
    drawn, drawn_seed = sample()
    assert sample(seed=drawn_seed)[0] == drawn, "a drawn seed is returned and can be used again"
    stopped = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stop=["spiders"])
    assert "spiders" not in stopped.choices[0].message.content and stopped.choices[0].finish_reason == "stop"
    cut = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=3)
    assert cut.usage.completion_tokens == 3 and cut.choices[0].finish_reason == "length"


def check_errors(client: openai.OpenAI):
    def refusal(kind, **request):
        try:
            client.chat.completions.create(**({"model": MODEL, "messages": QUESTION} | request))
        except kind as error:
            return error
        raise AssertionError(f"{request} was accepted")

    assert refusal(openai.NotFoundError, model="gpt-4").code == "model_not_found"
    for request in ({"logprobs": True}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
                    {"response_format": {"type": "json_object"}}):
        error = refusal(openai.BadRequestError, **request)
        assert error.code == "unsupported_parameter" and error.param in request, error
    assert refusal(openai.BadRequestError, temperature=-1).param == "temperature"
    assert refusal(openai.BadRequestError, extra_body={"decoding": {"acept_threshold": 1}}).param == (
        "decoding.acept_threshold")
    long = [{"role": "user", "content": "many words " * 5000}]
    assert refusal(openai.BadRequestError, messages=long).code == "context_length_exceeded"


def main():
    with RunningCluster(sys.argv[1], "--tp", "1") as cluster:
        client = openai.OpenAI(base_url=cluster.url + "/v1", api_key="none", max_retries=0, timeout=60)
        assert [model.id for model in client.models.list()] == [MODEL]
        check_edits(client, check_chat(client))
        check_completions(client)
        check_sampling(client)
        check_errors(client)
    assert cluster.exit_code == 0, cluster.exit_code


main()
