"""Holds every WEFT_ variable in the chart, k8s/, the compose file and the documentation of operating to the programs.

    python settings.py

A variable that no program reads is a mistake: it would be set and do nothing. Which program reads it counts too.
"""

import re
import sys
import tomllib

import yaml

import chart

ROOT = chart.ROOT
DECLARED = re.compile(r'env = "(WEFT_[A-Z0-9_]+)"')


def settings(program):
    """Variables that a program reads: its own, and those of the crates that take settings for it."""
    found = set()
    manifest = tomllib.loads((ROOT / "services" / program / "Cargo.toml").read_text())
    shared = [ROOT / "shared" / name.removeprefix("weft-") for name in manifest["dependencies"] if name.startswith("weft-")]
    for crate in [ROOT / "services" / program, *shared]:
        for path in (crate / "src").rglob("*.rs"):
            found |= set(DECLARED.findall(path.read_text()))
    return found


def used():
    """(where, program, variable)"""
    releases = {f"{name}-values.yaml": chart.render(values) for name, values in chart.ci_values().items()}
    for path in sorted((ROOT / "k8s").rglob("*.yaml")):
        documents = [item for item in yaml.safe_load_all(path.read_text()) if item]
        releases[str(path.relative_to(ROOT))] = [item for item in documents if isinstance(item, dict) and item.get("kind") == "Deployment"]
    for where, objects in releases.items():
        for item in objects:
            if item["kind"] == "Deployment":
                for container in item["spec"]["template"]["spec"]["containers"]:
                    for entry in container.get("env", []):
                        yield where, container["name"], entry["name"]
    compose = ROOT / "deploy" / "compose" / "compose.yaml"
    if compose.is_file():
        for name, service in yaml.safe_load(compose.read_text())["services"].items():
            for variable in service.get("environment", {}):
                yield "compose.yaml", name.rsplit("-", 1)[0] if name[-1].isdigit() else name, variable


def main():
    known = {program: settings(program) for program in ("gateway", "executor")}
    everything = set().union(*known.values())
    failures, count = [], 0
    for where, program, variable in used():
        if variable.startswith("WEFT_"):
            count += 1
            if variable not in known.get(program, set()):
                failures.append(f"{where}: {program} does not read {variable}")
    pages = [ROOT / "helm/weft/README.md", ROOT / "helm/weft/values.yaml", ROOT / "docs/OPERATIONS.md", *sorted((ROOT / "docs/runbooks").glob("*.md"))]
    for path in pages:
        for variable in re.findall(r"\bWEFT_[A-Z0-9_]+\b", path.read_text() if path.is_file() else ""):
            count += 1
            if variable not in everything:
                failures.append(f"{path.relative_to(ROOT)}: no program reads {variable}")
    if not {"WEFT_LISTEN", "WEFT_AUTH", "WEFT_BUS"} <= known["gateway"] or "WEFT_EXECUTOR_LISTEN" in known["gateway"] or "WEFT_AUTH" in known["executor"]:
        failures.append("the settings of the programs cannot be told apart any more: repair this check")
    print("\n".join(sorted(set(failures))), end="\n" if failures else "")
    print(f"{len(everything)} settings, {count} uses")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
