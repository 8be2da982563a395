"""Validates what the chart renders, and k8s/, against the schemas of Kubernetes and of the custom resources, strictly.

    python schemas.py [--without-crds]

Schemas of Kubernetes come with the package kubernetes-validate. Those of custom resources are read from the CRDs in the
Go modules of their projects (`go mod download`); unknown fields are refused in both.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

import chart
import manifests

VERSIONS = ("1.30", "1.34", "1.37")
MODULES = {
    "github.com/prometheus-operator/prometheus-operator@v0.79.2": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ],
    "github.com/kedacore/keda/v2@v2.17.2": ["config/crd/bases/keda.sh_scaledobjects.yaml"],
    "sigs.k8s.io/gateway-api@v1.2.1": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
}
CUSTOM_GROUPS = ("monitoring.coreos.com", "keda.sh", "gateway.networking.k8s.io")
# One mistake for each kind of schema; each must be refused.
MISTAKES = [
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "apProtocol": "x"}]}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": "two"}},
    {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"}, "spec": {"selector": {}, "podMetricsEndpoint": []}},
    {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "a"}, "spec": {"scaleTargetRef": {"name": "a"}}},
    {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "a"}, "spec": {"rules": [{"timeouts": {"request": "soon"}}]}},
]


def strict(schema):
    """The same schema without room for unknown fields."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value if key in ("enum", "default", "example") else strict(value) for key, value in schema.items()}
    # A property may itself be called "properties"; only a map of schemas closes an object.
    fields = schema.get("properties")
    if isinstance(fields, dict) and schema.get("type") == "object" and "additionalProperties" not in schema:
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    return schema


@functools.cache
def custom_schemas():
    found = {}
    go = os.environ.get("GO", "go")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "go.mod").write_text("module schemas\n")
        for module, paths in MODULES.items():
            run = subprocess.run([go, "mod", "download", "-json", module], cwd=directory, capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"{module} cannot be downloaded: {run.stdout}{run.stderr}")
            base = Path(json.loads(run.stdout)["Dir"])
            for path in paths:
                crd = yaml.safe_load((base / path).read_text())
                for version in crd["spec"]["versions"]:
                    key = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                    schema = strict(version["schema"]["openAPIV3Schema"])
                    schema["properties"]["metadata"] = {"type": "object"}
                    found[key] = jsonschema.Draft7Validator(schema)
    return found


def is_custom(item):
    return item["apiVersion"].split("/")[0] in CUSTOM_GROUPS


def flaws_of_custom(item):
    validator = custom_schemas().get((item["apiVersion"], item["kind"]))
    if validator is None:
        return ["no schema is known"]
    return [f"{'.'.join(map(str, flaw.absolute_path))}: {flaw.message}" for flaw in validator.iter_errors(item)]


def flaws_of_core(item, version):
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as flaw:
        return [f"{'.'.join(map(str, flaw.path))}: {flaw.message}"]
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.VersionNotSupportedError) as error:
        return [str(error)]
    return []


def main():
    with_crds = "--without-crds" not in sys.argv
    sources = {f"{name}-values.yaml": chart.render(values) for name, values in chart.ci_values().items()}
    for path in (manifests.K8S / "base", *(manifests.K8S / "overlays" / name for name in manifests.OVERLAYS)):
        sources[str(path.relative_to(chart.ROOT))] = manifests.kustomize(path)
    sources |= {f"k8s with {' and '.join(components)}": made for components, made in manifests.composed()}
    failures, core, custom = 0, 0, 0
    for source, objects in sources.items():
        for item in objects:
            if is_custom(item):
                flaws = flaws_of_custom(item) if with_crds else []
                custom += with_crds
            else:
                flaws = [f"{version}: {flaw}" for version in VERSIONS for flaw in flaws_of_core(item, version)]
                core += 1
            for flaw in flaws:
                failures += 1
                print(f"{source}: {chart.title(item)}: {flaw}")
    for item in MISTAKES:
        if is_custom(item) and not with_crds:
            continue
        if not (flaws_of_custom(item) if is_custom(item) else flaws_of_core(item, VERSIONS[0])):
            failures += 1
            print(f"this mistake is not noticed: {item}")
    print(f"{core} objects against Kubernetes {', '.join(VERSIONS)}, {custom} custom resources")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
