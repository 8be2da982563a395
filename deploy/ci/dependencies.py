"""Checks what comes into the programs, by the rules of deny.toml: licences, banned crates, sources. Also that unsafe code is
forbidden in every crate of ours, and that docs/SECURITY.md gives a reason for every crate that one of ours names.

    python3 deploy/ci/dependencies.py             checks
    python3 deploy/ci/dependencies.py --bites     proves that each check fails when there is something to find

Needs cargo and Python 3.11 or later, and no network once the crates are there.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    members = set(metadata["workspace_members"])
    ours = [package for package in metadata["packages"] if package["id"] in members]
    return {
        "deny": tomllib.loads((ROOT / "deploy/ci/deny.toml").read_text()),
        "ours": ours,
        "others": [package for package in metadata["packages"] if package["id"] not in members],
        "lints": tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["lints"]["rust"],
        "manifests": {package["name"]: tomllib.loads(pathlib.Path(package["manifest_path"]).read_text()) for package in ours},
        "sources": {path: path.read_text() for package in ours for path in rust_files(package)},
        "security": (ROOT / "docs/SECURITY.md").read_text(),
    }


def rust_files(package):
    place = pathlib.Path(package["manifest_path"]).parent
    return [path for path in place.rglob("*.rs") if "target" not in path.parts]


def is_allowed(expression, allowed):
    """Evaluates an SPDX expression. Old ones write OR as a slash."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def either():
        nonlocal at
        answer = both()
        while at < len(words) and words[at] == "OR":
            at += 1
            answer = both() or answer
        return answer

    def both():
        nonlocal at
        answer = one()
        while at < len(words) and words[at] == "AND":
            at += 1
            answer = one() and answer
        return answer

    def one():
        nonlocal at
        word = words[at]
        at += 1
        if word == "(":
            answer = either()
            at += 1
            return answer
        if words[at : at + 1] == ["WITH"]:
            word = f"{word} WITH {words[at + 1]}"
            at += 2
        return word in allowed

    return either() and at == len(words)


def licences(what):
    rules = what["deny"]["licenses"]
    exceptions = {exception["name"]: exception["allow"] for exception in rules["exceptions"]}
    for package in what["others"]:
        allowed = set(rules["allow"]) | set(exceptions.get(package["name"], []))
        licence = package["license"]
        if not licence or not is_allowed(licence, allowed):
            yield f"{package['name']} {package['version']}: the licence {licence} is not allowed"
    names = {package["name"] for package in what["others"]}
    yield from (f"deny.toml: nothing called {name} is used, so it needs no exception" for name in exceptions if name not in names)


def bans(what):
    banned = {ban["name"] for ban in what["deny"]["bans"]["deny"]}
    yield from (f"{package['name']} {package['version']} is banned" for package in what["others"] if package["name"] in banned)
    for package in what["ours"]:
        for dependency in package["dependencies"]:
            if dependency["req"] == "*" and not dependency.get("path"):
                yield f"{package['name']}: {dependency['name']} has no version"


def sources(what):
    allowed = {f"registry+{registry}" for registry in what["deny"]["sources"]["allow-registry"]}
    for package in what["others"]:
        if package["source"] not in allowed:
            yield f"{package['name']} {package['version']} comes from {package['source'] or 'a path outside the repository'}"


def unsafe_code(what):
    if what["lints"].get("unsafe_code") != "forbid":
        yield "Cargo.toml: unsafe_code is not forbidden"
    for name, manifest in what["manifests"].items():
        if manifest.get("lints") != {"workspace": True}:
            yield f"{name}: does not take the workspace's lints"
    for path, text in what["sources"].items():
        if re.search(r"^\s*(pub )?unsafe (fn|impl|trait|extern)\b|\bunsafe\s*\{", text, re.MULTILINE):
            yield f"{path.relative_to(ROOT)}: has unsafe code"


def reasons(what):
    ours = {package["name"] for package in what["ours"]}
    named = {dependency["name"] for package in what["ours"] for dependency in package["dependencies"]} - ours
    table = what["security"].partition("## Dependencies")[2]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    yield from (f"docs/SECURITY.md: gives no reason for {name}" for name in sorted(named - told))
    yield from (f"docs/SECURITY.md: {name} is not used" for name in sorted(told - named))


CHECKS = [licences, bans, sources, unsafe_code, reasons]


def mistakes(what):
    """One for each check, and for each way in which it can fail."""
    package = what["others"][0]
    with_package = lambda **changes: {**what, "others": [{**package, **changes}, *what["others"][1:]]}
    ours = copy.deepcopy(what["ours"])
    ours[0]["dependencies"][0] = {"name": "anything", "req": "*", "path": None}
    path = ROOT / "shared/event/src/lib.rs"
    yield licences, with_package(license="GPL-3.0-only")
    yield licences, with_package(license="MIT AND GPL-3.0-only")
    yield licences, with_package(license="(MIT OR Apache-2.0) AND GPL-3.0-only")
    yield licences, with_package(license=None)
    yield licences, {**what, "others": [other for other in what["others"] if other["name"] != "webpki-root-certs"]}
    yield bans, with_package(name="rsa")
    yield bans, {**what, "ours": ours}
    yield sources, with_package(source="git+https://example.org/x")
    yield sources, with_package(source=None)
    yield unsafe_code, {**what, "lints": {"unsafe_code": "deny"}}
    yield unsafe_code, {**what, "manifests": {"weft-event": {}}}
    yield unsafe_code, {**what, "sources": {path: "fn f() { unsafe { g() } }"}}
    yield reasons, {**what, "ours": ours}
    yield reasons, {**what, "security": what["security"].replace("| `ring` |", "| `other` |")}


def main():
    what = load()
    found = [problem for check in CHECKS for problem in check(what)]
    if "--bites" in sys.argv:
        found += [f"{check.__name__} misses mistake {n}" for n, (check, wrong) in enumerate(mistakes(what)) if not [*check(wrong)]]
    print(*found, sep="\n", end="\n" if found else "")
    crates = len({package["name"] for package in what["others"]})
    print(f"{crates} crates of others, {len(what['ours'])} of ours: {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
