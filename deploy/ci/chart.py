"""Renders the chart as Helm does, without a cluster: what the other checks share."""

from pathlib import Path

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "weft"
RELEASE = {"name": "weft", "namespace": "events"}


class Refused(Exception):
    """Helm would not install this."""


def ci_values():
    """Name and values of every file in the chart's ci directory."""
    return {path.name.removesuffix("-values.yaml"): load(path) for path in sorted(CHART.glob("ci/*-values.yaml"))}


def load(path):
    return yaml.safe_load(Path(path).read_text())


def render_texts(values, is_install=True, **release):
    """Manifests by template, as texts; the notes among them."""
    chart = helm.Chart.load(CHART)
    release = {**RELEASE, **release}
    try:
        chart.validate_schema(values)
        return chart.render(values, is_install=is_install, is_upgrade=not is_install, **release)
    except helm.HelmError as error:
        raise Refused(str(error)) from error


def render(values, **more):
    """All objects, in the order of the templates."""
    objects = []
    for name, text in sorted(render_texts(values, **more).items()):
        if name.endswith(".yaml"):
            objects += [document for document in yaml.safe_load_all(text) if document]
    return objects


def merged(values, change):
    """`values` with `change` laid over it, as Helm does with several files."""
    if not isinstance(values, dict) or not isinstance(change, dict):
        return change
    return {key: merged(values.get(key), change[key]) if key in change else values[key] for key in {**values, **change}}


def is_test(item):
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


def title(item):
    return f"{item['kind']}/{item['metadata']['name']}"


def find(objects, kind, name):
    found = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    if len(found) != 1:
        raise KeyError(f"{len(found)} objects {kind}/{name}")
    return found[0]
