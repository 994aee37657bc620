"""The official MCP client against /mcp.

usage: mcp_client.py URL TOKEN MODE REPOSITORY

MODE is `legacy` (the client introduces itself first: up to 2025-11-25) or `auto` (it finds out, and speaks the newest
generation of the protocol if the server does).
"""

import asyncio
import contextlib
import logging
import sys

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

URL, TOKEN, MODE, REPOSITORY = sys.argv[1:]
TOOLS = ["memory_search", "memory_briefing", "memory_add", "memory_get", "memory_forget", "memory_recent"]
FACT = "Webhooks are retried with exponential backoff and jitter, never at once."
TIMEOUT = 60


@contextlib.asynccontextmanager
async def connected(token=TOKEN, **headers):
    headers["Authorization"] = f"Bearer {token}"
    async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT) as http:
        async with Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=MODE) as client:
            yield client


async def called(client, tool, **arguments):
    """The data of a call that must go well; its text says the same."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.content[0].type == "text" and result.content[0].text, result
    return result.structured_content


async def tells_of_itself(client):
    modern = client.protocol_version == "2026-07-28"
    assert modern == (MODE == "auto"), client.protocol_version
    assert client.server_capabilities.tools is not None and client.server_capabilities.resources is not None
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == TOOLS, listed
    for tool in listed:
        hints = tool.annotations
        said = [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
        assert all(hint is not None for hint in said), tool
        assert hints.destructive_hint == (tool.name == "memory_forget") and not hints.open_world_hint, tool
        assert hints.read_only_hint == (tool.name not in ("memory_add", "memory_forget")), tool
        assert tool.description and tool.input_schema["type"] == "object", tool


async def learns(client):
    """The id of what it was told."""
    added = await called(client, "memory_add", repository=REPOSITORY, text=FACT, kind="convention", id=f"{MODE}-1")
    assert added["status"] == "accepted", added
    again = await called(client, "memory_add", repository=REPOSITORY, text=FACT, kind="convention", id=f"{MODE}-1")
    assert again["status"] == "duplicate", again
    async with asyncio.timeout(TIMEOUT):
        while True:
            found = await called(client, "memory_search", query="webhooks backoff", repository=REPOSITORY)
            if found["memories"]:
                break
            await asyncio.sleep(0.02)
    (memory,) = found["memories"]
    assert memory["text"] == FACT and memory["kind"] == "convention", memory
    return memory["id"]


async def answers(client, memory):
    whole = await called(client, "memory_get", id=memory)
    assert (whole["text"], whole["repository"]) == (FACT, REPOSITORY), whole
    briefed = await called(client, "memory_briefing", repository=REPOSITORY, query="how are webhooks retried?")
    assert FACT in briefed["text"], briefed
    recent = await called(client, "memory_recent", repository=REPOSITORY)
    assert [one["id"] for one in recent["memories"]] == [memory], recent


async def has_resources(client, memory):
    listed = (await client.list_resources()).resources
    assert listed, "there is no resource of the recent history"
    templates = (await client.list_resource_templates()).resource_templates
    assert templates, "there is no resource of a repository"
    for resource in listed:
        contents = (await client.read_resource(str(resource.uri))).contents
        assert FACT in contents[0].text, contents
    of_one = next(template.uri_template for template in templates if "{id}" in template.uri_template)
    assert FACT in (await client.read_resource(of_one.replace("{id}", memory))).contents[0].text
    try:
        raise AssertionError(await client.read_resource("memory://nothing-of-this-name"))
    except MCPError as error:
        assert "no resource" in error.error.message, error


async def refuses(client):
    for tool, arguments in (
        ("memory_search", {"query": ""}),
        ("memory_search", {"query": "x", "limit": 0}),
        ("memory_get", {"id": "no-such-memory"}),
        ("memory_add", {"repository": REPOSITORY, "text": "x", "no_such_argument": 1}),
        ("memory_forget", {"reason": "neither ids nor a query"}),
    ):
        result = await client.call_tool(tool, arguments)
        assert result.is_error and result.content[0].text, (tool, arguments, result)


async def forgets(client, memory):
    looked = await called(client, "memory_forget", query="webhooks backoff", repository=REPOSITORY, reason="a try")
    assert looked["dry_run"] and [one["id"] for one in looked["forgotten"]] == [memory], looked
    gone = await called(client, "memory_forget", ids=[memory], reason="a try")
    assert not gone["dry_run"] and [one["id"] for one in gone["forgotten"]] == [memory], gone
    left = await called(client, "memory_recent", repository=REPOSITORY)
    assert left["memories"] == [], left


async def is_refused(token, status, **headers):
    """The client does not get in, and is told so by this status."""
    try:
        async with connected(token, **headers) as client:
            raise AssertionError(f"it was let in: {client.protocol_version}")
    except* MCPError:
        pass
    request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers |= {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    answer = httpx2.post(f"{URL}/mcp", headers=headers, json=request)
    assert answer.status_code == status, answer


async def main():
    async with connected() as client:
        await tells_of_itself(client)
        memory = await learns(client)
        await answers(client, memory)
        await has_resources(client, memory)
        await refuses(client)
        await forgets(client, memory)
    await is_refused("something-else-entirely", 401)
    await is_refused(TOKEN, 403, Origin="https://pages.example")
    await is_refused(TOKEN, 403, Host="pages.example")


# It warns of the refusals that are wanted here.
logging.disable(logging.WARNING)
asyncio.run(main())
print("everything is as it should be")
