"""The recipes, as they are printed, with real servers around them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import weft
from rig import ROOT, Gateway, Rig, free_port, in_loop, stored, until, until_async

COOKBOOK = ROOT / "docs/cookbook"


def program(page: str, name: str, folder: Path) -> Path:
    """Writes the program of a page to a file of its name."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", (COOKBOOK / page).read_text(), re.M | re.S)
    (code,) = (code for file, code in blocks if file == name)
    path = folder / name
    path.write_text(code)
    return path


@contextlib.contextmanager
def running(command: list[str], folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "out").open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, env={**os.environ, **env}, stdout=out, stderr=out)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise


def kinds(gateway: Gateway, execution: str) -> list[str]:
    return [event["type"] for event in stored(gateway, f"execution:{execution}")]


def test_fastapi(memory: Gateway, tmp_path: Path) -> None:
    program("fastapi.md", "main.py", tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port), "--log-level", "warning"]

    def start() -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/reports",
            json.dumps({"pages": 3, "user": "ada"}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 202
            return str(json.load(answer)["executionId"])

    def is_up() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=2):
            return True
        return False

    @in_loop
    async def watch() -> None:
        answered, cancelled, left = [await asyncio.to_thread(start) for _ in range(3)]
        async with weft.Subscriber(
            memory.http, rooms={f"execution:{each}": "0" for each in (answered, cancelled, left)}
        ) as subscriber:
            asked = ended = 0
            async for message in subscriber:
                assert isinstance(message, weft.Event)
                ended += message.is_terminal
                if message.type == "user_input:required":
                    asked += 1
                    execution = message.execution_id or ""
                    if execution == answered:
                        await subscriber.provide_input(execution, message.data["requestId"], "yes")
                    elif execution == cancelled:
                        await subscriber.cancel(execution, "enough")
                if asked == 3 and ended == 2:
                    break
        executions.extend([answered, cancelled, left])

    executions: list[str] = []
    with running(command, tmp_path, WEFT_GATEWAY_URL=memory.http):
        until(is_up, "the API is up")
        watch()
    answered, cancelled, left = executions
    assert kinds(memory, answered)[-3:] == ["user_input:provided", "log", "execution:completed"]
    assert memory.get(f"/api/executions/{answered}")["nodes"]["collect"]["output"] == {"pages": 3}
    assert stored(memory, f"execution:{cancelled}")[-1]["data"] == {"reason": "enough"}
    # The server has ended, and told so.
    assert kinds(memory, left)[-1] == "execution:cancelled"


def test_celery(rig: Rig, memory: Gateway, tmp_path: Path) -> None:
    broker = rig.broker("redis")
    program("celery.md", "tasks.py", tmp_path)
    env = {"WEFT_GATEWAY_URL": memory.http, "CELERY_BROKER_URL": f"{broker.url}/1"}
    worker = [sys.executable, "-m", "celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "warning"]
    with running(worker, tmp_path, **env):
        code = "from tasks import resize; print(resize.delay(['a.png', 'broken.png'], 'ada').id)"
        sent = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True
        )
        assert sent.returncode == 0, sent.stderr
        task = sent.stdout.strip()

        def is_done() -> bool:
            with contextlib.suppress(OSError):
                return bool(memory.get(f"/api/executions/{task}.1")["status"] == "completed")
            return False

        until(is_done, "the second attempt is completed")
    first, second = (memory.get(f"/api/executions/{task}.{attempt}") for attempt in (0, 1))
    assert (first["status"], first["error"]) == ("failed", "OSError: broken.png cannot be read")
    assert first["nodes"]["broken.png"]["status"] == "failed"
    assert second["result"] == {"resized": 2}


def module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    made = importlib.util.module_from_spec(found)
    found.loader.exec_module(made)
    return made


@in_loop
async def test_temporal(memory: Gateway, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Activities run as a worker runs them; one is tried twice."""
    import dataclasses

    from temporalio.testing import ActivityEnvironment

    recipe: Any = module(program("temporal.md", "activities.py", tmp_path_factory.mktemp("temporal")))
    execution = weft.uuid7()

    def environment(activity_id: str, attempt: int = 1) -> ActivityEnvironment:
        made = ActivityEnvironment()
        made.info = dataclasses.replace(made.info, workflow_run_id=execution, activity_id=activity_id, attempt=attempt)
        return made

    async with weft.Publisher(memory.http) as publisher:
        pages = recipe.Pages(publisher)
        await environment("1").run(pages.started, "ada")
        for attempt in (1, 2):
            size = await environment("2", attempt).run(pages.fetch, recipe.Page("https://a.example", "ada"))
        for attempt in (1, 2):
            with pytest.raises(ValueError, match="not an https"):
                await environment("3", attempt).run(pages.fetch, recipe.Page("ftp://a.example", "ada"))
        await environment("4").run(pages.ended, "ada", size)
    await until_async(lambda: kinds(memory, execution)[-1:] == ["execution:completed"], "its end is stored")
    assert kinds(memory, execution)[:3] == ["execution:started", "node:started", "node:completed"]
    assert memory.get(f"/api/executions/{execution}")["result"] == 17
