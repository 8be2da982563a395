"""Holds dashboards and alerts to docs/METRICS.md, and that page to the code.

    python metrics.py

Every metric, label and label value that a query names must be in the page, or in exporters.yaml where it is another program's; every
metric of the page must be in the code, and the other way round; every one is on a dashboard. Counters are read by rate or increase only, and
each dashboard keeps to a few rules of form.
"""

import copy
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "helm" / "weft" / "files"
# Labels that Prometheus or the chart gives to every series.
COMMON = {"namespace", "job", "instance", "pod", "container", "le"}
EXPORTERS = Path(__file__).with_name("exporters.yaml")
# Prometheus' own.
OWN = {"up": ("gauge", {}), "ALERTS": ("gauge", dict.fromkeys(("alertname", "alertstate", "severity")))}
ROW = re.compile(r"^\| `((?:weft|process)_\w+)` \| (gauge|counter|histogram) \| (.*?) \| ")
USE = re.compile(r"\b([a-zA-Z_][\w:]*)\s*(\{[^}]*\})?")
MADE = re.compile(r'(?:\b(?:counter|gauge|histogram)!\(\s*|\bconst \w+: &str = )"(weft_[a-z_]+)"')
GROUPING = "(?:by|without|on|ignoring|group_left|group_right)"
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
WORDS = set("sum avg min max count by without on ignoring group_left group_right rate increase irate histogram_quantile absent "
            "max_over_time min_over_time avg_over_time clamp_min time and or unless offset bool vector label_values".split())


def documented():
    """Type and labels (with their values where they are listed) of every metric in docs/METRICS.md."""
    found = {}
    for line in (ROOT / "docs" / "METRICS.md").read_text().splitlines():
        row = ROW.match(line)
        if row:
            labels = {}
            for part in row[3].split(";"):
                names = re.findall(r"`([^`]+)`", part)
                if ":" not in part:
                    labels.update(dict.fromkeys(names))
                elif names:
                    labels[names[0]] = None if "or " in part.split(":", 1)[-1] else set(names[1:])
            found[row[1]] = (row[2], labels)
    return found


def foreign():
    """The same of other programs' metrics, as their exporters say."""
    listed = [exporter["metrics"] for exporter in yaml.safe_load(EXPORTERS.read_text()).values()]
    return {name: (kind, dict.fromkeys(labels)) for metrics in listed for name, (kind, *labels) in metrics.items()}


def in_code():
    """Names of metrics in the sources, tests left out."""
    found = set()
    for path in [*ROOT.glob("shared/*/src/**/*.rs"), *ROOT.glob("services/*/src/**/*.rs")]:
        text = path.read_text().split("#[cfg(test)]")[0]
        found |= set(MADE.findall(text))
    return found


def base(name, known):
    if name in known:
        return name
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if stem != name and known.get(stem, ("",))[0] == "histogram" else None


def flaws(expression, known, recorded=()):
    """What is wrong with one query, as sentences."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', lambda text: '"' + "x" * (len(text[0]) - 2) + '"', expression)
    grouped = {label.strip() for group in re.findall(rf"\b{GROUPING}\s*\(([^)]*)\)", bare) for label in group.split(",") if label.strip()}
    bare = re.sub(rf"\b{GROUPING}\s*\([^)]*\)", lambda text: " " * len(text[0]), bare)
    bare = re.sub(r"\[[^\]]*\]", lambda text: " " * len(text[0]), bare)
    allowed = set(COMMON)
    for use in USE.finditer(bare):
        name = use[1]
        if name in WORDS or re.match(r"^(x+|\d)", name) and use[2] is None or name in recorded:
            continue
        metric = base(name, known)
        if metric is None:
            yield f"{name} is neither in docs/METRICS.md nor in exporters.yaml"
            continue
        kind, labels = known[metric]
        allowed |= set(labels)
        matchers = expression[use.start(2) : use.end(2)] if use[2] else ""
        for label, operator, value in MATCHER.findall(matchers):
            if label not in labels and label not in COMMON:
                yield f"{metric} has no label {label}"
            elif labels.get(label):
                for one in value.split("|") if "~" in operator else [value]:
                    if re.match(r"^[\w:-]+$", one) and one not in labels[label]:
                        yield f"{metric} has no {label}={one}"
        is_counter = kind == "counter" or name != metric
        before = expression[: use.start()].rstrip()
        if is_counter and not re.search(r"\b(rate|increase)\($", before):
            # An alert may ask whether a series has just appeared.
            if f"{name} unless {name} offset" not in expression:
                yield f"{name} is a counter and read without rate or increase"
        if not is_counter and re.search(r"\b(rate|increase)\($", before):
            yield f"{name} is no counter"
    for label in sorted(grouped - allowed):
        yield f"no metric here has the label {label}"
    if re.search(r"\bor\s+(on\s*\([^)]*\)\s*)?vector\(", expression):
        yield "or vector() hides that there is no data"


def panels(board):
    for item in board["panels"]:
        yield from [item, *item.get("panels", [])]


def form(name, board):
    """The rules of form for a dashboard."""
    variables = {one["name"] for one in board["templating"]["list"]}
    if not {"datasource", "namespace", "instance"} <= variables:
        yield "lacks one of the variables datasource, namespace, instance"
    if board["editable"] or not board["uid"] or not board["description"]:
        yield "must not be editable, and needs a uid and a description"
    ids = [item["id"] for item in panels(board)]
    if len(ids) != len(set(ids)):
        yield "two panels have one id"
    taken = {}
    for item in panels(board):
        if item["type"] == "row":
            continue
        title = item["title"]
        if not item["description"].endswith("."):
            yield f"{title}: needs a description"
        if not item["fieldConfig"]["defaults"].get("unit"):
            yield f"{title}: needs a unit"
        if not item["targets"]:
            yield f"{title}: asks nothing"
        place = item["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if taken.setdefault((x, y), title) != title or x > 23:
                    yield f"{title}: lies upon {taken[x, y]}"
                    break
        for one in item["targets"]:
            if re.search(r"\[\d+[sm]\]", one["expr"]):
                yield f"{title}: must use $__rate_interval"
            for used in re.findall(r"\$(\w+)", one["expr"]):
                if used not in variables and not used.startswith("__"):
                    yield f"{title}: there is no variable {used}"


def boards():
    return {path.name: json.loads(path.read_text()) for path in sorted(FILES.glob("dashboards/*.json"))}


def shown(known):
    """Metrics that some panel asks for."""
    asked = [one["expr"] for board in boards().values() for item in panels(board) for one in item.get("targets", [])]
    return {base(use[0], known) for expression in asked for use in USE.findall(expression)}


def queries():
    """(where, query) of everything that is asked."""
    for name, board in boards().items():
        for item in panels(board):
            for one in item.get("targets", []):
                yield f"{name}, {item['title']}", one["expr"]
        for one in board["annotations"]["list"]:
            yield f"{name}, {one['name']}", one["expr"]
        for one in board["templating"]["list"]:
            if one["type"] == "query":
                yield f"{name}, variable {one['name']}", re.sub(r"^label_values\((.*),\s*\w+\)$", r"\1", one["definition"])
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alerts.yaml, {rule.get('alert', rule.get('record'))}", rule["expr"]


def syntax(asked):
    """Lets Prometheus' own parser read every query."""
    rules = []
    for number, (_, expression) in enumerate(asked):
        for variable, value in (("$__rate_interval", "5m"), ("$namespace", ".*"), ("$instance", ".*"), ("$job", ".*")):
            expression = expression.replace(variable, value)
        rules.append({"record": f"asked:{number}", "expr": expression})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}, file)
        file.flush()
        run = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
    if run.returncode != 0:
        yield run.stdout + run.stderr


# Each of these queries must be refused.
MISTAKES = [
    "sum(weft_gateway_conections)",
    'sum(rate(weft_gateway_repairs_total{cause="tall"}[5m]))',
    'sum(rate(weft_gateway_repairs_total{reason="tail"}[5m]))',
    "sum(weft_gateway_deliveries_total)",
    "sum(rate(weft_gateway_connections[5m]))",
    "sum by (room) (weft_gateway_rooms)",
    "sum(weft_gateway_rooms) or vector(0)",
    "rate(weft_gateway_connections_bucket[5m])",
    "sum(gnatsd_varz_conections)",
    "sum by (server_name) (gnatsd_varz_mem)",
    'kube_deployment_status_replicas_available{name="weft"}',
    "rate(redis_memory_used_bytes[5m])",
    "sum(redis_commands_processed_total)",
]


def main():
    known, code, failures = documented(), in_code(), []
    recorded = {rule["record"] for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"] if "record" in rule}
    failures += [f"docs/METRICS.md names {name}, which is not in the code" for name in sorted(set(known) - code) if not name.startswith("process_")]
    failures += [f"{name} is in the code and not in docs/METRICS.md" for name in sorted(code - set(known))]
    asked, others = list(queries()), foreign()
    offered = {**known, **others, **OWN}
    for where, expression in asked:
        failures += [f"{where}: {flaw}" for flaw in flaws(expression, offered, recorded)]
    named = {use[0] for _, expression in asked for use in USE.findall(expression)}
    failures += [f"{name} of exporters.yaml is asked for nowhere" for name in sorted(set(others) - named)]
    for name, board in boards().items():
        failures += [f"{name}: {flaw}" for flaw in form(name, board)]
    failures += [f"{name} is on no dashboard" for name in sorted(set(known) - shown(known))]
    failures += list(syntax(asked))
    for mistake in MISTAKES:
        if not list(flaws(mistake, offered)):
            failures.append(f"this mistake is not noticed: {mistake}")
    broken = copy.deepcopy(boards()["fleet.json"])
    broken["panels"][1]["description"] = ""
    if not list(form("fleet.json", broken)):
        failures.append("a panel without a description is not noticed")
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{len(known)} metrics of ours, {len(others)} of others, {len(asked)} queries of {len(boards())} dashboards and the alerts")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
