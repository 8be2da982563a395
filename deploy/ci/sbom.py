"""Writes what each program is made of as a bill of materials, CycloneDX 1.6 in JSON.

    python3 deploy/ci/sbom.py [--target x86_64-unknown-linux-musl] [directory]     default: target/sbom
    python  deploy/ci/sbom.py --check <directory with CycloneDX's schemas>         validates, and proves that it bites

Crates are those that Cargo would build the program from, by Cargo.lock; what is only there to build it, such as procedural
macros, has the scope "excluded". The gateway's bill holds what the console's page is made of, by its package-lock.json. The
same sources give the same bytes. Needs cargo, no network once the crates are there; --check needs jsonschema and referencing.
"""

import argparse
import base64
import copy
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import uuid
from urllib.parse import quote

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "services/console"


def cargo(*command):
    return subprocess.run(["cargo", *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def tree(package, target, edges):
    """(name, version) of a package and of everything it depends on, with its own features alone."""
    lines = cargo("tree", "--locked", "--package", package, "--target", target, "--edges", edges, "--prefix", "none", "--format", "{p}").splitlines()
    return {(words[0], words[1].removeprefix("v")) for words in map(str.split, lines) if words}


def licences(expression):
    # Old manifests write OR as a slash.
    return {"licenses": [{"expression": expression.replace("/", " OR ")}]} if expression else {}


def crate(package, checksums, is_shipped):
    name, version = package["name"], package["version"]
    component = {"type": "library", "bom-ref": f"cargo:{name}@{version}", "name": name, "version": version}
    component["scope"] = "required" if is_shipped else "excluded"
    if package["source"]:
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    component |= licences(package["license"])
    if package["source"]:
        component["purl"] = f"pkg:cargo/{name}@{version}"
    return component


def crates(program, target):
    """Components and dependencies of a program; the first is the program itself."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", target))
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
    everything, shipped = tree(program, target, "normal,build"), tree(program, target, "normal,no-proc-macro")
    packages = {one["id"]: one for one in metadata["packages"] if (one["name"], one["version"]) in everything}
    components = [crate(one, checksums, (one["name"], one["version"]) in shipped) for one in packages.values()]
    ref = {id: f"cargo:{one['name']}@{one['version']}" for id, one in packages.items()}
    dependencies = []
    for node in metadata["resolve"]["nodes"]:
        if node["id"] in ref:
            used = [dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
            dependencies.append({"ref": ref[node["id"]], "dependsOn": sorted({ref[id] for id in used if id in ref})})
    components.sort(key=lambda one: (one["name"] != program, one["bom-ref"]))
    components[0]["type"] = "application"
    return components, dependencies


def page():
    """What is in the console's page: its lock file without what only builds or tests it."""
    lock = json.loads((CONSOLE / "package-lock.json").read_text())["packages"]
    used = {path: one for path, one in lock.items() if not one.get("dev")}
    ref = {path: f"npm:{name_of(path, one)}@{one['version']}" for path, one in used.items()}
    components, dependencies = [], []
    for path, one in sorted(used.items()):
        name, version = name_of(path, one), one["version"]
        component = {"type": "library", "bom-ref": ref[path], "name": name, "version": version, "scope": "required"}
        if path:
            algorithm, _, digest = one["integrity"].partition("-")
            component["hashes"] = [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": base64.b64decode(digest).hex()}]
        component |= licences(one.get("license"))
        if path:
            component["purl"] = f"pkg:npm/{quote(name, safe='/')}@{version}"
        components.append(component)
        wanted = [resolved(path, name, lock) for name in one.get("dependencies", {})]
        dependencies.append({"ref": ref[path], "dependsOn": sorted(ref[path] for path in wanted)})
    return components, dependencies


def name_of(path, package):
    return package.get("name") or path.rpartition("node_modules/")[2]


def resolved(path, name, lock):
    """Where Node.js finds a package: in the nearest directory above."""
    while True:
        place = f"{path}/node_modules/{name}".lstrip("/")
        if place in lock:
            return place
        if not path:
            sys.exit(f"services/console/package-lock.json has no {name}")
        path = path.rpartition("/node_modules/")[0] if "/node_modules/" in path else ""


def bill(program, target):
    components, dependencies = crates(program, target)
    if program == "weft-gateway":
        parts, edges = page()
        root = next(edge for edge in dependencies if edge["ref"] == components[0]["bom-ref"])
        root["dependsOn"] = sorted([*root["dependsOn"], parts[0]["bom-ref"]])
        components, dependencies = components + parts, dependencies + edges
    subject, *parts = components
    subject = {key: value for key, value in subject.items() if key != "scope"}
    dependencies.sort(key=lambda edge: edge["ref"])
    metadata = {"component": subject, "properties": [{"name": "weft:target", "value": target}]}
    made = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    if made:
        metadata = {"timestamp": moment(int(made)), **metadata}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": metadata, "components": parts, "dependencies": dependencies}
    # Named by what it holds, so that the same sources give the same bytes.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "serialNumber": f"urn:uuid:{number}", **document}


def moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def git(*command):
    run = subprocess.run(["git", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""


def programs():
    """The packages whose programs are given to others."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--no-deps"))
    shipped = [one for one in metadata["packages"] if any("bin" in target["kind"] for target in one["targets"])]
    places = {one["name"]: pathlib.Path(one["manifest_path"]).parent.relative_to(ROOT).parts[0] for one in shipped}
    return sorted(name for name, place in places.items() if place in ("services", "clients"))


def validator(schemas):
    import jsonschema
    import referencing

    def load(name):
        return json.loads((schemas / f"{name}.SNAPSHOT.schema.json").read_text())

    bases = {"spdx.schema.json": "spdx", "jsf-0.82.schema.json": "jsf-0.82", "cryptography-defs.schema.json": "cryptography-defs"}
    known = [(f"http://cyclonedx.org/schema/{name}", referencing.Resource.from_contents(load(file), referencing.jsonschema.DRAFT7)) for name, file in bases.items()]
    return jsonschema.Draft7Validator(load("bom-1.6"), registry=referencing.Registry().with_resources(known))


def problems(document, validate):
    yield from (f"{'.'.join(map(str, error.path))}: {error.message[:200]}" for error in validate.iter_errors(document))
    components = [document["metadata"]["component"], *document["components"]]
    refs = [one["bom-ref"] for one in components]
    yield from (f"{ref} is there twice" for ref in set(refs) if refs.count(ref) > 1)
    edges = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
    yield from (f"{ref} is no component" for ref in {*edges, *sum(edges.values(), [])} - set(refs))
    # Everything that is listed is there for a reason.
    reached, waiting = set(), [refs[0]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += edges.get(ref, [])
    yield from (f"nothing depends on {ref}" for ref in sorted(set(refs) - reached))
    for one in components:
        if "licenses" not in one:
            yield f"{one['bom-ref']} has no licence"
        if "purl" in one and not one.get("hashes"):
            yield f"{one['bom-ref']} comes from elsewhere and has no hash"


def mistakes(document):
    """Each must be noticed."""
    for plant in (
        lambda d: d.update(specVersion=1.6),
        lambda d: d.update(serialNumber="1"),
        lambda d: d["components"][0].update(type="crate"),
        lambda d: d["components"][0].update(licence="MIT"),
        lambda d: d["components"][0].pop("name"),
        lambda d: d["components"][0].pop("licenses"),
        lambda d: next(one for one in d["components"] if "purl" in one).pop("hashes"),
        lambda d: next(one for one in d["components"] if "hashes" in one)["hashes"][0].update(content="xyz"),
        lambda d: d["components"].append(d["components"][0]),
        lambda d: d["components"].pop(),
        lambda d: d["dependencies"].remove(next(edge for edge in d["dependencies"] if edge["ref"] == d["metadata"]["component"]["bom-ref"])),
    ):
        wrong = copy.deepcopy(document)
        plant(wrong)
        yield wrong


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("directory", nargs="?", type=pathlib.Path)
    arguments.add_argument("--target", default="x86_64-unknown-linux-musl")
    arguments.add_argument("--check", type=pathlib.Path)
    asked = arguments.parse_args()
    bills = {program: bill(program, asked.target) for program in programs()}
    if not asked.check:
        place = asked.directory or pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "sbom"
        place.mkdir(parents=True, exist_ok=True)
        for program, document in bills.items():
            path = place / f"{program}.cdx.json"
            path.write_text(json.dumps(document, indent=1) + "\n")
            print(f"{path}: {len(document['components'])} components")
        return
    validate = validator(asked.check)
    found = [f"{program}: {problem}" for program, document in bills.items() for problem in problems(document, validate)]
    found += [f"mistake {n} is not noticed" for n, wrong in enumerate(mistakes(bills["weft-gateway"])) if not [*problems(wrong, validate)]]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(bills)} bills, {sum(len(document['components']) for document in bills.values())} components: {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
