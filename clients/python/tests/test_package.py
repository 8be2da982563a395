"""What is published: the files of the wheel, the optional dependencies, and the examples in words."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

import weft
from rig import ROOT, Gateway, Rig, stored
from weft.errors import EXTRAS

HERE = Path(__file__).resolve().parents[1]
README = HERE / "README.md"


def blocks(page: Path) -> list[tuple[str, str]]:
    """The Python of a page, each with the line where it begins."""
    text = page.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)
    return [(f"{page.name}:{text[: each.start()].count(chr(10)) + 1}", each[1]) for each in found]


@pytest.mark.parametrize("code", [pytest.param(code, id=at) for at, code in blocks(README)])
def test_the_examples_of_the_readme_run(code: str, memory: Gateway) -> None:
    code = code.replace("http://127.0.0.1:3001", memory.http)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    if "nobody answered" in code:
        assert run.stdout == "nobody answered\n"
        assert stored(memory, "execution:exec-5")[-1]["type"] == "execution:failed"
    elif "execution.offsets" in code:
        assert "execution:completed {'result': {'ok': True}" in run.stdout


def table(name: str) -> dict[str, str]:
    """Code and "come back?" of a table in the protocol's page."""
    page = (ROOT / "docs/PROTOCOL.md").read_text()
    part = page[page.index(f"<!-- {name}:") :]
    rows = [line.strip("|").split("|") for line in part[: part.index("<!-- end -->")].splitlines() if line[:1] == "|"]
    return {row[0].strip(" `"): row[-1].strip() for row in rows[2:]}


def test_codes_are_those_of_the_protocol() -> None:
    from weft.told import CLOSES, LATER

    errors = table("errors")
    assert len(errors) > 15
    # A command is refused while its gateway leaves; the same may be asked at the next one.
    assert {code for code, back in errors.items() if back in ("later", "yes")} == LATER
    ours = {"yes": "yes", "later": "later", "no": "no", "token": "with a new token"}
    # Overloaded: yes, but not at once.
    assert {**{str(code): ours[back] for code, back in CLOSES.items()}, "1013": "yes"} == table("closes")


def test_everything_that_is_offered_is_there() -> None:
    assert [name for name in weft.__all__ if not hasattr(weft, name)] == []
    with pytest.raises(AttributeError):
        _ = weft.nothing


def test_a_missing_dependency_says_what_to_install() -> None:
    offered = {f"{wanted}; extra == '{extra}'" for extra, of in EXTRAS.items() for wanted in of}
    assert {one for one in requires("weft-client") or [] if "extra == 'all'" not in one} == offered
    for name, extra, use in (
        ("httpx", "http", "weft.Publisher('http://a')"),
        ("nats", "nats", "weft.Publisher('nats://a')"),
        ("redis", "redis", "weft.Publisher('redis://a')"),
        ("websockets", "ws", "weft.Subscriber('http://a')"),
    ):
        code = f"import sys; sys.modules['{name}'] = None\nimport weft\n{use}"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert f"{name} is missing, which the extra [{extra}] brings: pip install '{EXTRAS[extra][0]}'" in run.stderr


def test_the_wheel_holds_what_is_needed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(HERE)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("weft_client-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"weft/py.typed", "weft/__init__.py", "weft/lua/publish.lua", "weft/lua/store_head.lua"} <= names
    assert not [name for name in names if "test" in name]


def vermin(*sources: Path) -> subprocess.CompletedProcess[str]:
    """Tells whether sources need more than Python 3.9: its grammar, its modules, their functions and arguments."""
    command = [str(Path(sys.executable).with_name("vermin")), "--no-tips", "--violations", "-t=3.9-"]
    return subprocess.run([*command, *map(str, sources)], capture_output=True, text=True, timeout=120)


def test_the_sources_are_python_3_9(tmp_path: Path) -> None:
    found = vermin(HERE / "src")
    assert found.returncode == 0, found.stdout
    newer = tmp_path / "newer.py"
    for code in ("import asyncio\n\nasyncio.timeout(1)\n", "import tomllib\n", "match 1:\n    case _:\n        pass\n"):
        newer.write_text(code)
        assert vermin(newer).returncode != 0, code


def test_the_examples_of_moving_run(rig: Rig) -> None:
    """All of them follow `exec-1`, or publish what they read."""
    memory = rig.gateway()
    run = ("log", {"level": "info", "message": "m"}), ("execution:completed", {"result": 1})
    for kind, data in (("execution:started", {}), *run):
        memory.post("/api/events", {"type": kind, "executionId": "exec-1", "data": data})
    said = {}
    for page in sorted((ROOT / "docs/moving").glob("*.md")):
        for at, code in blocks(page):
            code = code.replace("127.0.0.1:3001", memory.address)
            ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
            assert ran.returncode == 0, f"{at}: {ran.stderr}"
            said[page.name] = ran.stdout.splitlines()
    assert said["event-broadcaster.md"][-1] == "execution:completed {'result': 1}"
    assert said["fastapi-executions.md"] == ["status completed", "completion "]
    assert said["log-viewer.md"] == ["info greet hello"]
