"""Renders k8s/base from the chart, and holds overlays and components to what the chart renders for the same wish.

    python manifests.py            fails on drift
    python manifests.py --write    writes k8s/base, the brokers and autoscalers of the overlays, and the components

The overlays' kustomization.yaml and patches are written by people; `kubectl kustomize` (or kustomize) must make of them
exactly the objects that the chart makes of the values beside them. So it must of components laid upon an overlay.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

import chart
import semantics

K8S = chart.ROOT / "k8s"
HEAD = "# Rendered from helm/weft by deploy/ci/manifests.py; changes belong there.\n"
OVERLAYS = ("dev", "redis", "prod")
# What each file of a component holds.
COMPONENTS = {"monitoring": {"monitors.yaml": "PodMonitor", "alerts.yaml": "PrometheusRule"}, "ingress": {"ingress.yaml": "Ingress"}}
# The overlay that they are tried with.
BENEATH = "prod"
# Marks of Helm that mean nothing without it.
FOREIGN_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def values(name, *components):
    paths = [K8S / "base", *([K8S / "overlays" / name] if name != "base" else []), *(K8S / "components" / each for each in components)]
    found = {}
    for path in paths:
        found = chart.merged(found, chart.load(path / "values.yaml"))
    return found


def plain(item):
    """The object without marks of Helm and without a namespace of its own."""
    labels = item["metadata"].get("labels", {})
    for label in FOREIGN_LABELS:
        labels.pop(label, None)
    item["metadata"].pop("namespace", None)
    return item


def wanted(name, *components):
    return [plain(item) for item in chart.render(values(name, *components), name="weft", is_install=False) if not chart.is_test(item)]


def is_broker(item):
    return item["metadata"]["labels"].get("app.kubernetes.io/component") in ("nats", "redis")


def is_autoscaler(item):
    return item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _):
        return True


def text(item):
    return yaml.dump(item, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=120)


def files():
    """Path and content of everything that is rendered."""
    found, names = {}, []
    for item in wanted("base"):
        component = item["metadata"]["labels"]["app.kubernetes.io/component"]
        names.append(f"{component}-{item['kind'].lower()}.yaml")
        found[K8S / "base" / names[-1]] = HEAD + text(item)
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names}
    found[K8S / "base" / "kustomization.yaml"] = HEAD + text(kustomization)
    for name in OVERLAYS:
        for file, is_its in (("broker.yaml", is_broker), ("autoscaler.yaml", is_autoscaler)):
            items = [item for item in wanted(name) if is_its(item)]
            if items:
                found[K8S / "overlays" / name / file] = HEAD + "---\n".join(text(item) for item in items)
    for component, kinds in COMPONENTS.items():
        for file, kind in kinds.items():
            items = [item for item in wanted(BENEATH, component) if item["kind"] == kind]
            found[K8S / "components" / component / file] = HEAD + "---\n".join(text(item) for item in items)
    return found


def composed():
    """What kustomize makes of each component upon an overlay, and of all of them together, with their names."""
    for components in (*((each,) for each in COMPONENTS), tuple(COMPONENTS)):
        with tempfile.TemporaryDirectory(dir=K8S, prefix=".check-") as directory:
            parts = {"resources": [f"../overlays/{BENEATH}"], "components": [f"../components/{each}" for each in components]}
            (Path(directory) / "kustomization.yaml").write_text(yaml.safe_dump({"kind": "Kustomization", **parts}))
            yield components, kustomize(Path(directory))


def kustomize(path):
    own = Path(os.environ.get("WEFT_CACHE", chart.ROOT / ".cache" / "ops")) / "bin" / "kustomize"
    if own.is_file():
        command = [own, "build"]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    else:
        sys.exit("needs kubectl or kustomize")
    run = subprocess.run([*command, str(path)], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{path.relative_to(chart.ROOT)}: {run.stderr}")
    return [item for item in yaml.safe_load_all(run.stdout) if item]


def without_order(item):
    """Orders that say nothing; that a variable stands before what refers to it is a rule of its own."""
    if item["kind"] in semantics.WORKLOADS:
        spec = item["spec"]["template"]["spec"]
        parts = [container.get(key, []) for container in spec["containers"] for key in ("env", "ports", "volumeMounts")]
        for part in [*parts, spec.get("volumes", [])]:
            part.sort(key=lambda entry: entry["name"])
    return item


def differences(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(set(left) | set(right)):
            yield from differences(left.get(key), right.get(key), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right)):
            yield from differences(*pair, f"{path}[{index}]")
    elif left != right:
        yield f"{path.lstrip('.')}: kustomize {left!r}, chart {right!r}"


def main():
    failures = []
    for path, content in files().items():
        if "--write" in sys.argv:
            path.write_text(content)
        elif not path.is_file() or path.read_text() != content:
            failures.append(f"{path.relative_to(chart.ROOT)} is not what the chart renders; run python deploy/ci/manifests.py --write")
    if "--write" in sys.argv:
        for path in set((K8S / "base").glob("*.yaml")) - set(files()) - {K8S / "base" / "values.yaml"}:
            path.unlink()
    for name in ("base", *OVERLAYS):
        failures += drift(name, kustomize(K8S / "base" if name == "base" else K8S / "overlays" / name), wanted(name))
    for components, made in composed():
        failures += drift(f"{BENEATH} with {' and '.join(components)}", made, wanted(BENEATH, *components))
    print("\n".join(failures), end="\n" if failures else "")
    print(f"base, {len(OVERLAYS)} overlays and {len(COMPONENTS)} components")
    sys.exit(1 if failures else 0)


def drift(name, items, meant):
    """Where what kustomize makes is something else than what the chart makes, or does not fit together."""
    # Overlays choose a namespace; the chart leaves that to `helm install`.
    made = {chart.title(item): plain(item) for item in items if item["kind"] != "Namespace"}
    yield from (f"{name}: {problem}" for problem in semantics.problems(list(made.values())))
    made = {title: without_order(item) for title, item in made.items()}
    meant = {chart.title(item): without_order(item) for item in meant}
    yield from (f"{name}: {title} is made by one of the two only" for title in sorted(set(made) ^ set(meant)))
    for title in sorted(set(made) & set(meant)):
        yield from (f"{name}: {title}: {difference}" for difference in differences(made[title], meant[title]))


if __name__ == "__main__":
    main()
