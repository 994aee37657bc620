"""Ollama's own Python package against the proxy.

usage: ollama_client.py URL TOKEN
"""

import asyncio
import json
import math
import sys

import ollama

URL, TOKEN = sys.argv[1:]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
CHAT, EMBEDDING = "llama3.2", "nomic-embed-text"
HELLO = [{"role": "user", "content": "Tell me about reciprocal rank fusion."}]
SAID = "You wrote: Tell me about reciprocal rank fusion."

client = ollama.Client(host=URL, headers=HEADERS)


def refused(status, call, *arguments, **options):
    """What a call that must be refused was told."""
    try:
        answer = call(*arguments, **options)
    except ollama.ResponseError as error:
        assert error.status_code == status, error
        return error.error
    raise AssertionError(f"it was answered: {answer}")


def lists():
    assert [model.model for model in client.list().models] == [f"{CHAT}:latest", f"{EMBEDDING}:latest"]
    shown = client.show(CHAT)
    assert shown.details.family == "llama" and shown.modelinfo["llama.context_length"] == 131072, shown
    client.generate(CHAT, "Hello")
    assert [model.model for model in client.ps().models] == [f"{CHAT}:latest"]


def generates():
    whole = client.generate(CHAT, "Hello there")
    assert whole.done and whole.done_reason == "stop" and whole.eval_count > 0, whole
    parts = list(client.generate(CHAT, "Hello there", stream=True))
    assert len(parts) > 2 and "".join(part.response for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def chats():
    whole = client.chat(CHAT, HELLO)
    assert (whole.message.role, whole.message.content, whole.done) == ("assistant", SAID, True), whole
    parts = list(client.chat(CHAT, HELLO, stream=True))
    assert "".join(part.message.content for part in parts) == SAID and parts[-1].eval_count == len(parts) - 1
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    structured = client.chat(CHAT, HELLO, format=schema, think=False)
    assert json.loads(structured.message.content) == {"answer": HELLO[0]["content"]}, structured
    few = client.chat(CHAT, HELLO, options={"num_predict": 2})
    assert (few.done_reason, few.eval_count) == ("length", 2), few


def embeds():
    one = client.embed(EMBEDDING, "a text").embeddings
    assert len(one) == 1 and len(one[0]) == 768 and math.isclose(math.hypot(*one[0]), 1, abs_tol=1e-4)
    two = client.embed(EMBEDDING, ["a text", "another"]).embeddings
    assert len(two) == 2 and two[0] == one[0]
    assert len(client.embed(EMBEDDING, "a text", dimensions=64).embeddings[0]) == 64
    assert len(client.embeddings(EMBEDDING, "a text").embedding) == 768
    too_long = refused(400, client.embed, EMBEDDING, "word " * 3000, truncate=False)
    assert too_long == "the input length exceeds the context length", too_long


def is_refused():
    assert refused(404, client.chat, "nope", HELLO) == "model 'nope' not found"
    assert refused(404, lambda: list(client.chat("nope", HELLO, stream=True))) == "model 'nope' not found"
    for change in (
        lambda: client.pull("llama3.2"),
        lambda: list(client.pull("llama3.2", stream=True)),
        lambda: client.push("llama3.2"),
        lambda: client.create("mine", from_="llama3.2"),
        lambda: client.copy("llama3.2", "mine"),
        lambda: client.delete("llama3.2"),
    ):
        assert "OLLAMA_PROXY_ADMIN=1" in refused(403, change)
    for headers in ({}, {"Authorization": "Bearer something-else-entirely"}):
        refused(401, ollama.Client(host=URL, headers=headers).list)


async def is_asynchronous():
    several = ollama.AsyncClient(host=URL, headers=HEADERS)
    answers = await asyncio.gather(*(several.chat(CHAT, HELLO) for _ in range(8)))
    assert all(answer.message.content == SAID for answer in answers)
    stream = await several.chat(CHAT, HELLO, stream=True)
    assert "".join([part.message.content async for part in stream]) == SAID


lists()
generates()
chats()
embeds()
is_refused()
asyncio.run(is_asynchronous())
print("everything is as it should be")
