"""OpenAI's own Python package against the proxy, which leads it to what Ollama makes of OpenAI's API.

usage: openai_client.py URL TOKEN
"""

import base64
import struct
import sys

import openai

URL, TOKEN = sys.argv[1:]
CHAT, EMBEDDING = "llama3.2", "nomic-embed-text"
HELLO = [{"role": "user", "content": "Tell me about reciprocal rank fusion."}]
SAID = "You wrote: Tell me about reciprocal rank fusion."

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=0)


def lists():
    assert [model.id for model in client.models.list()] == [f"{CHAT}:latest", f"{EMBEDDING}:latest"]


def chats():
    whole = client.chat.completions.create(model=CHAT, messages=HELLO)
    assert whole.choices[0].message.content == SAID and whole.choices[0].finish_reason == "stop", whole
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = client.chat.completions.create(
        model=CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == SAID and len(said) > 3, chunks
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    structured = client.chat.completions.create(
        model=CHAT,
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    )
    assert "reciprocal rank fusion" in structured.choices[0].message.content, structured


def embeds():
    texts = ["a text", "another"]
    # without a word about it the package asks for base64, and decodes it
    usual = client.embeddings.create(model=EMBEDDING, input=texts).data
    floats = client.embeddings.create(model=EMBEDDING, input=texts, encoding_format="float").data
    encoded = client.embeddings.create(model=EMBEDDING, input=texts, encoding_format="base64").data
    assert [one.index for one in usual] == [0, 1] and len(usual[0].embedding) == 768
    for one, plain, packed in zip(usual, floats, encoded):
        decoded = struct.unpack("<768f", base64.b64decode(packed.embedding))
        assert list(one.embedding) == list(decoded)
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, plain.embedding))


def responds():
    answer = client.responses.create(model=CHAT, input=HELLO[0]["content"])
    assert (answer.output_text, answer.status) == (SAID, "completed"), answer
    assert client.responses.create(model=CHAT, input="Hello there", max_output_tokens=2).usage.output_tokens == 2


def is_refused():
    try:
        client.chat.completions.create(model="nope", messages=HELLO)
        raise AssertionError("a model that is not there answered")
    except openai.NotFoundError as error:
        assert error.body["message"] == "model 'nope' not found", error.body
    try:
        openai.OpenAI(base_url=f"{URL}/v1", api_key="something-else-entirely", max_retries=0).models.list()
        raise AssertionError("another key was taken")
    except openai.AuthenticationError as error:
        assert error.status_code == 401
    try:
        client.files.list()
        raise AssertionError("a route that Ollama does not have was answered")
    except openai.PermissionDeniedError as error:
        assert error.status_code == 403


lists()
chats()
embeds()
responds()
is_refused()
print("everything is as it should be")
