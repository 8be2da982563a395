"""Shows that the tests of alerts would notice if a rule were wrong.

    python bites.py

Of each rule mistakes are made one by one: a comparison is left out, so that any value fires; something that is subtracted is; a
condition (`and`, `unless`, `or`) is; the waiting time (`for`) is. Some case of alerts_test.yaml must then fail: a case in which an alert is silent has to be close
enough to firing. Each mistake is tried with its own rule alone, and with the cases that feed what the rule looks at.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import alerts
import metrics

TESTS = metrics.ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
JOINT = re.compile(r"\b(and|unless|or)\b")
COMPARISON = re.compile(r">=|<=|==|!=|>|<")
SUBTRACTION = re.compile(r" - ")


def outermost(expression, pattern):
    """Where the pattern is found outside of all brackets and texts."""
    depth, at = 0, 0
    while at < len(expression):
        if expression[at] == '"':
            at = expression.index('"', at + 1) + 1
            continue
        depth += (expression[at] in "([{") - (expression[at] in ")]}")
        found = pattern.match(expression, at) if depth == 0 else None
        # A word begins where no other goes on.
        if found and not (found[0].isalpha() and at and (expression[at - 1].isalnum() or expression[at - 1] == "_")):
            yield found
            at = found.end()
        else:
            at += 1


def clauses(expression):
    """The conditions, and the words between them."""
    parts, words, since = [], [], 0
    for found in outermost(expression, JOINT):
        parts.append(expression[since:found.start()].strip())
        words.append(found[0])
        since = found.end()
    return [*parts, expression[since:].strip()], words


def joined(parts, words):
    return " ".join([parts[0], *(f"{word} {part}" for word, part in zip(words, parts[1:]))])


def mistakes(rule):
    """(what was done, the rule with it)."""
    parts, words = clauses(rule["expr"])
    for number, part in enumerate(parts):
        for found in outermost(part, COMPARISON):
            changed = [*parts[:number], part[:found.start()].strip(), *parts[number + 1:]]
            yield f"without the comparison {part[found.start():]}", {**rule, "expr": joined(changed, words)}
        for found in outermost(part, SUBTRACTION):
            # Up to what is subtracted next, or what the difference is compared with.
            ends = [other.start() for pattern in (SUBTRACTION, COMPARISON) for other in outermost(part, pattern) if other.start() > found.start()]
            rest = part[min(ends, default=len(part)):]
            changed = [*parts[:number], f"{part[:found.start()]} {rest}", *parts[number + 1:]]
            yield f"without{part[found.start():len(part) - len(rest)]}", {**rule, "expr": joined(changed, words)}
    for number, word in enumerate(words):
        fewer = joined(parts[:number + 1] + parts[number + 2:], words[:number] + words[number + 1:])
        yield f"without {word} {parts[number + 1]}", {**rule, "expr": fewer}
    if words and words[0] in ("and", "or"):
        yield f"without {parts[0]} {words[0]}", {**rule, "expr": joined(parts[1:], words[1:])}
    if "for" in rule:
        yield f"without for: {rule['for']}", {key: value for key, value in rule.items() if key != "for"}


def fires(sample, rule):
    """Whether this is one of the rule's own variant of its alert."""
    labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
    return labels.pop("alertname") == rule["alert"] and all(rule["labels"].get(name) == value for name, value in labels.items())


def concerned(cases, looked_at, rule):
    """The cases that feed what a rule looks at, with what is expected of it alone."""
    for case in cases:
        if looked_at & alerts.names_fed(case) and "promql_expr_test" in case:
            asked = [{**one, "exp_samples": [sample for sample in one["exp_samples"] if fires(sample, rule)]} for one in case["promql_expr_test"]]
            yield {key: value for key, value in case.items() if key in ("name", "interval", "input_series")} | {"promql_expr_test": asked}


def passes(tests, rules):
    """Whether all cases see what they expect."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": rules}]}))
        (Path(directory) / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}))
        run = subprocess.run(["promtool", "test", "rules", str(Path(directory) / "test.yaml")], capture_output=True, text=True)
    if run.returncode and "got:" not in run.stdout + run.stderr:
        sys.exit(f"promtool does not take these rules:\n{yaml.safe_dump(rules)}\n{run.stdout}{run.stderr}")
    return run.returncode == 0


def tried(rule, records, cases):
    """How many mistakes were made in a rule, and those that nothing notices."""
    looked_at = alerts.looked_at(rule["expr"], {record["record"]: record["expr"] for record in records})
    tests = list(concerned(cases, looked_at, rule))
    needed = [record for record in records if record["record"] in rule["expr"]]
    if not passes(tests, [*needed, rule]):
        return 0, ["fails its tests as it is"]
    made = list(mistakes(rule))
    return len(made), [what for what, wrong in made if passes(tests, [*needed, wrong])]


def main():
    rules = [rule for group in yaml.safe_load((metrics.FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    cases = yaml.safe_load(TESTS.read_text())["tests"]
    records, wanted = [rule for rule in rules if "record" in rule], [rule for rule in rules if "alert" in rule]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda rule: tried(rule, records, cases), wanted))
    unnoticed = [f"{rule['alert']} ({', '.join(rule['labels'].values())}): no case notices it {what}" for rule, (_, missed) in zip(wanted, outcomes) for what in missed]
    print("\n".join(unnoticed), end="\n" if unnoticed else "")
    print(f"{sum(count for count, _ in outcomes)} mistakes in {len(wanted)} rules, {len(unnoticed)} unnoticed")
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
