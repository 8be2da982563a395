"""Holds alerts to their tests and runbooks.

    python alerts.py

Each alert has a case in which it fires, each of its variants too, and a case in which it is silent although it has the same
metrics; how close that is to firing, bites.py looks at.
Each has a runbook that names it, and each runbook an alert; docs/OPERATIONS.md and alertmanager.yaml name only alerts that
exist, and the former only files that do.
"""

import re
import sys

import yaml

import metrics

RUNBOOKS = metrics.ROOT / "docs" / "runbooks"


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name.removeprefix("Weft")).lower()


def looked_at(expression, recorded):
    """The metrics that a rule looks at, those of recorded ones for them."""
    for name, record in recorded.items():
        expression = expression.replace(name, record)
    return set(re.findall(r"\b((?:weft|process|container|kube)_\w+|up)\b", expression))


def names_fed(case):
    return {re.match(r"[\w:]+", series["series"])[0] for series in case["input_series"]}


def firing_in(case):
    """The labels of the alerts that fire in it."""
    samples = [sample for asked in case.get("promql_expr_test", []) for sample in asked["exp_samples"]]
    return [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in samples]


def main():
    rules = [rule for group in yaml.safe_load((metrics.FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    alerts = [rule for rule in rules if "alert" in rule]
    cases = yaml.safe_load((metrics.ROOT / "deploy/prometheus/alerts_test.yaml").read_text())["tests"]
    fired, silent, needed = set(), {}, {}
    named = {rule["alert"]: looked_at(rule["expr"], recorded) for rule in alerts}
    cases = [(case, names_fed(case), firing_in(case)) for case in cases]
    for case, fed, firing in cases:
        for labels in firing:
            fired.add((labels["alertname"], labels["severity"], labels.get("long") or labels.get("above")))
            needed.setdefault(labels["alertname"], []).append(fed & named[labels["alertname"]])
    for case, fed, firing in cases:
        for name in named.keys() - {labels["alertname"] for labels in firing}:
            if any(metrics_of_it <= fed for metrics_of_it in needed.get(name, [])):
                silent.setdefault(name, case["name"])
    failures = []
    for rule in alerts:
        name, labels, notes = rule["alert"], rule["labels"], rule["annotations"]
        if (name, labels["severity"], labels.get("long") or labels.get("above")) not in fired:
            failures.append(f"{name} ({labels}): no test in which it fires")
        if name not in silent:
            failures.append(f"{name}: no test in which it is silent")
        if labels["severity"] not in ("page", "ticket") or not {"summary", "description", "runbook"} <= set(notes):
            failures.append(f"{name}: needs a severity, a summary, a description and a runbook")
        if notes["runbook"] != f"docs/runbooks/{kebab(name)}.md":
            failures.append(f"{name}: its runbook should be docs/runbooks/{kebab(name)}.md")
        page = metrics.ROOT / notes["runbook"]
        if not page.is_file() or not page.read_text().startswith(f"# {name}\n"):
            failures.append(f"{name}: {notes['runbook']} is not its runbook")
    names = {rule["alert"] for rule in alerts}
    index = (RUNBOOKS / "README.md").read_text()
    for page in RUNBOOKS.glob("*.md"):
        if page.name != "README.md" and page.read_text().split("\n")[0].removeprefix("# ") not in names:
            failures.append(f"{page.name}: there is no such alert")
        if page.name != "README.md" and f"({page.name})" not in index:
            failures.append(f"{page.name}: is not in the index")
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not (RUNBOOKS / link).is_file():
                failures.append(f"{page.name}: {link} is not there")
    routes = (metrics.ROOT / "deploy/prometheus/alertmanager.yaml").read_text()
    failures += [f"alertmanager.yaml: there is no alert {name}" for name in sorted(set(re.findall(r"\bWeft[A-Z]\w+", routes)) - names)]
    guide = metrics.ROOT / "docs" / "OPERATIONS.md"
    for name in set(re.findall(r"\bWeft[A-Z]\w+", guide.read_text())) - names:
        failures.append(f"OPERATIONS.md: there is no alert {name}")
    for link in re.findall(r"\]\(([^)#:]+)", guide.read_text()):
        if not (guide.parent / link).exists():
            failures.append(f"OPERATIONS.md: {link} is not there")
    for block in re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.S):
        yaml.safe_load(block)
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{len(names)} alerts in {len(alerts)} rules, {len(cases)} cases")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
