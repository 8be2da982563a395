"""Checks that deploy/docker/Dockerfile copies what Cargo and the console's build want, and that its context holds it.

    python dockerfile.py

A workspace whose members are not all there does not build at all. Nothing is built here: that needs Docker.
"""

import fnmatch
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"


def sources():
    return {
        "dockerfile": (DOCKER / "Dockerfile").read_text(),
        "ignore": (DOCKER / "Dockerfile.dockerignore").read_text().split(),
        "members": tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"],
        "node": json.loads((ROOT / "services/console/package.json").read_text())["engines"]["node"],
    }


def wanted(what):
    """Directories by the stage that wants them."""
    members = [member.removesuffix("/*") for member in what["members"]]
    return {"build": ["Cargo.toml", "Cargo.lock", *members], "console": ["services/console", "clients/typescript/src"]}


def is_in(path, places):
    return any(path == place or path.startswith(f"{place}/") for place in places)


def stages(text):
    for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        image, _, name = stage.splitlines()[0].partition(" AS ")
        yield name, image, [source for line in re.findall(r"^COPY (?!--from)(.*)$", stage, re.MULTILINE) for source in line.split()[:-1]], stage


def is_ignored(path, rules):
    """The last rule that speaks of a path or of what it is in decides."""
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        spoken = [fnmatch.fnmatch(part, pattern) for part in parts] if "**/" in rule else [fnmatch.fnmatch("/".join(parts[: n + 1]), pattern) for n in range(len(parts))]
        if any(spoken):
            ignored = not rule.startswith("!")
    return ignored


def problems(what):
    found = {name: (image, copied, text) for name, image, copied, text in stages(what["dockerfile"])}
    for stage, paths in wanted(what).items():
        _, copied, _ = found[stage]
        yield from (f"the stage {stage} does not copy {path}" for path in paths if not is_in(path, copied))
        # A directory is there if anything below it is.
        below = lambda path: any(rule.startswith(f"!{path}/") for rule in what["ignore"])
        yield from (f"the context does not hold {path}" for path in paths if is_ignored(path, what["ignore"]))
        yield from (f"the context does not hold {path}" for path in copied if is_ignored(path, what["ignore"]) and not below(path))
    for path in ("services/console/dist/index.html", "services/console/node_modules/a", "target/a", "shared/dialect/fuzz/target/a", ".git/a"):
        if not is_ignored(path, what["ignore"]):
            yield f"the context holds {path}"
    build = found["build"][2]
    taken = build.find("COPY --from=console")
    if not 0 <= taken < build.find("cargo build") or "services/console/dist services/console/dist" not in build:
        yield "the console is not there when the gateway is compiled"
    least = int(re.search(r"\d+", what["node"])[0])
    if int((re.match(r"node:(\d+)\.\d+\.\d+-", found["console"][0]) or ["", "0"])[1]) < least:
        yield f"the image of the stage console is no pinned Node.js {least} or later"


# Each must be noticed.
MISTAKES = [
    lambda what: what["members"].append("clients/other"),
    lambda what: what["ignore"].remove("!services"),
    lambda what: what["ignore"].remove("**/dist"),
    lambda what: what["ignore"].remove("**/node_modules"),
    lambda what: what.update(dockerfile=what["dockerfile"].replace("COPY shared shared", "")),
    lambda what: what.update(dockerfile=what["dockerfile"].replace("COPY --from=console", "# ")),
    lambda what: what.update(dockerfile=what["dockerfile"].replace("node:20", "node:18")),
    lambda what: what.update(dockerfile=what["dockerfile"].replace("COPY clients/typescript/src", "# ")),
]


def main():
    failures = [*problems(sources())]
    for number, plant in enumerate(MISTAKES):
        wrong = sources()
        before = len([*problems(wrong)])
        plant(wrong)
        if len([*problems(wrong)]) <= before:
            failures.append(f"mistake {number} is not noticed")
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{len(MISTAKES)} planted mistakes")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
