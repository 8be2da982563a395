"""What schemas cannot see: how the objects of one release fit together.

    python semantics.py            checks the chart with every CI values file, and that each rule bites

`problems(objects)` is a list of sentences; an empty one is good.
"""

import copy
import re
import sys
from urllib.parse import urlsplit

import chart

QUANTITY = re.compile(r"^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")
WORKLOADS = ("Deployment", "StatefulSet")
# Of a grace period, beyond the drain and the least that follows it. The chart's own margin is 15 s.
GRACE_SPARE_SECS_MAX = 60
# A variable that says where to listen, and the port of the container that it must be.
LISTENERS = (
    ("WEFT_LISTEN", "http"),
    ("WEFT_EXECUTOR_LISTEN", "http"),
    ("WEFT_ADMIN_LISTEN", "admin"),
    ("WEFT_PEER_LISTEN", "peers"),
    ("WEFT_CONTROL_LISTEN", "control"),
)


def matches(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def workloads(objects):
    return [item for item in objects if item["kind"] in WORKLOADS]


def templates(objects):
    """(title, pod template) of everything that makes pods, tests included."""
    for item in objects:
        if item["kind"] in WORKLOADS:
            yield chart.title(item), item["spec"]["template"]
        elif item["kind"] == "Pod":
            yield chart.title(item), item


def environment(container):
    return {entry["name"]: entry for entry in container.get("env", [])}


def labels_of(template):
    return template["metadata"].get("labels", {})


def check_selectors(objects):
    pods = [labels_of(template) for _, template in templates(objects)]
    for item in workloads(objects):
        if not matches(item["spec"]["selector"]["matchLabels"], labels_of(item["spec"]["template"])):
            yield f"{chart.title(item)}: its selector does not match its pods"
    for item in objects:
        spec = item.get("spec", {})
        selector = {
            "Service": lambda: spec.get("selector"),
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
            "PodMonitor": lambda: spec["selector"]["matchLabels"],
        }.get(item["kind"], lambda: None)()
        if selector is not None:
            count = sum(matches(selector, labels) for labels in pods)
            if count != 1:
                yield f"{chart.title(item)}: selects the pods of {count} workloads, not of one"
    services = [item for item in objects if item["kind"] == "Service"]
    for item in objects:
        if item["kind"] == "ServiceMonitor":
            wanted = item["spec"]["selector"]["matchLabels"]
            if sum(matches(wanted, service["metadata"]["labels"]) for service in services) != 1:
                yield f"{chart.title(item)}: does not select exactly one service"


def check_monitors(objects):
    """What Prometheus reads, and under which name: alerts and dashboards know the jobs by it."""
    services = [item for item in objects if item["kind"] == "Service"]
    for item in objects:
        if item["kind"] not in ("PodMonitor", "ServiceMonitor"):
            continue
        component = item["metadata"]["labels"].get("app.kubernetes.io/component")
        wanted = item["spec"]["selector"]["matchLabels"]
        endpoints = item["spec"].get("podMetricsEndpoints" if item["kind"] == "PodMonitor" else "endpoints", [])
        if not endpoints:
            yield f"{chart.title(item)}: reads nothing"
        for endpoint in endpoints:
            if endpoint.get("path") != "/metrics" or endpoint.get("port") != "admin":
                yield f"{chart.title(item)}: does not read /metrics of the admin port"
            if {"targetLabel": "job", "replacement": f"weft-{component}"} not in endpoint.get("relabelings", []):
                yield f"{chart.title(item)}: alerts do not know its job"
        if wanted.get("app.kubernetes.io/component") != component:
            yield f"{chart.title(item)}: does not read {component}"
        if item["kind"] == "ServiceMonitor":
            ports = [port["name"] for service in services if matches(wanted, service["metadata"]["labels"]) for port in service["spec"]["ports"]]
            for endpoint in endpoints:
                if endpoint.get("port") not in ports:
                    yield f"{chart.title(item)}: wants port {endpoint.get('port')}, which its service does not have"


def check_routes(objects):
    for item in objects:
        if item["kind"] != "HTTPRoute":
            continue
        if not item["spec"].get("parentRefs"):
            yield f"{chart.title(item)}: belongs to no Gateway"
        for rule in item["spec"]["rules"]:
            if not rule.get("backendRefs"):
                yield f"{chart.title(item)}: leads nowhere"
            # A WebSocket is one long request.
            if any(value != "0s" for value in rule.get("timeouts", {}).values()):
                yield f"{chart.title(item)}: its timeouts cut connections"


def port_names(template):
    return {port["name"]: port["containerPort"] for c in template["spec"]["containers"] for port in c.get("ports", [])}


def check_ports(objects):
    everything = list(templates(objects))
    for name, template in everything:
        names = port_names(template)
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {})
                port = (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port")
                if port is not None and port not in names and port not in names.values():
                    yield f"{name}: its {probe} asks port {port}, which it does not have"
    for item in objects:
        if item["kind"] == "Service":
            wanted = [port["targetPort"] for port in item["spec"]["ports"]]
            chosen = [t for _, t in everything if matches(item["spec"].get("selector"), labels_of(t))]
        elif item["kind"] == "PodMonitor":
            wanted = [endpoint["port"] for endpoint in item["spec"]["podMetricsEndpoints"]]
            selector = item["spec"]["selector"]["matchLabels"]
            chosen = [t for _, t in everything if matches(selector, labels_of(t))]
        elif item["kind"] == "NetworkPolicy":
            wanted = [port["port"] for rule in item["spec"].get("ingress", []) for port in rule.get("ports", [])]
            selector = item["spec"]["podSelector"]["matchLabels"]
            chosen = [t for _, t in everything if matches(selector, labels_of(t))]
        else:
            continue
        for template in chosen:
            for port in wanted:
                if port not in port_names(template) and port not in port_names(template).values():
                    yield f"{chart.title(item)}: wants port {port}, which its pods do not have"
    services = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Service"}
    for item in objects:
        if item["kind"] == "Ingress":
            for rule in item["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    ports = services.get(backend["name"], {}).get("spec", {}).get("ports", [])
                    if backend["port"].get("name") not in [port["name"] for port in ports]:
                        yield f"{chart.title(item)}: its backend {backend['name']} has no such port"
        if item["kind"] == "HTTPRoute":
            for rule in item["spec"]["rules"]:
                for backend in rule["backendRefs"]:
                    ports = services.get(backend["name"], {}).get("spec", {}).get("ports", [])
                    if backend["port"] not in [port["port"] for port in ports]:
                        yield f"{chart.title(item)}: its backend {backend['name']} has no such port"


def check_drain(objects):
    for item in workloads(objects):
        spec = item["spec"]["template"]["spec"]
        for container in spec["containers"]:
            window = environment(container).get("WEFT_DRAIN_SECS")
            if window is None:
                continue
            hook = container.get("lifecycle", {}).get("preStop", {})
            if hook and "sleep" not in hook:
                yield f"{chart.title(item)}: its preStop needs a shell"
            pause = hook.get("sleep", {}).get("seconds", 0)
            delay = int(environment(container).get("WEFT_DRAIN_DELAY_SECS", {"value": 0})["value"])
            needed = pause + delay + int(window["value"]) + 5
            if spec["terminationGracePeriodSeconds"] < needed:
                yield f"{chart.title(item)}: is killed before it has left: its grace period is below {needed} s"
            # What hangs is to be killed soon after it should have left: a node that is drained waits for it.
            if spec["terminationGracePeriodSeconds"] > needed + GRACE_SPARE_SECS_MAX:
                yield f"{chart.title(item)}: its grace period is far beyond its drain, {needed} s"
        if "minReadySeconds" in item["spec"]:
            if item["spec"].get("progressDeadlineSeconds", 600) <= item["spec"]["minReadySeconds"]:
                yield f"{chart.title(item)}: gives up before a pod can be available"


def check_scaling(objects):
    targets = {}
    for item in objects:
        if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            targets[item["spec"]["scaleTargetRef"]["name"]] = item
    for name, scaler in targets.items():
        if name not in [item["metadata"]["name"] for item in workloads(objects)]:
            yield f"{chart.title(scaler)}: its target {name} is not there"
        if scaler["kind"] == "HorizontalPodAutoscaler":
            metrics = scaler["spec"]["metrics"]
            behaviour = scaler["spec"]["behavior"]
        else:
            metrics = scaler["spec"]["triggers"]
            behaviour = scaler["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
            if any(t["type"] == "prometheus" for t in metrics) and not is_kept_when_silent(scaler["spec"], metrics):
                yield f"{chart.title(scaler)}: reads a silent Prometheus as nobody connected"
            if any(t["type"] == "prometheus" and "weft_gateway_connections{" not in t["metadata"]["query"] for t in metrics):
                yield f"{chart.title(scaler)}: does not count connections"
        if not metrics:
            yield f"{chart.title(scaler)}: has nothing to go by"
        if any(policy["value"] > 1 for policy in behaviour["scaleDown"]["policies"] if policy["type"] == "Pods"):
            yield f"{chart.title(scaler)}: takes several gateways at once"
    for item in workloads(objects):
        if item["kind"] == "Deployment" and item["spec"].get("replicas", 0) < 1 and item["metadata"]["name"] not in targets:
            yield f"{chart.title(item)}: has no replicas"


def is_kept_when_silent(spec, triggers):
    """An error of Prometheus, and an answer without a value, leave as many pods as there are."""
    fallback = spec.get("fallback", {})
    keeps = fallback.get("behavior") == "currentReplicasIfHigher" and fallback.get("replicas", 0) >= spec.get("minReplicaCount", 0)
    return keeps and all(t["metadata"].get("ignoreNullValues") == "false" for t in triggers if t["type"] == "prometheus")


def check_disruption(objects):
    budgets = [item["spec"]["selector"]["matchLabels"] for item in objects if item["kind"] == "PodDisruptionBudget"]
    for item in workloads(objects):
        if item["kind"] != "Deployment":
            continue
        if not any(matches(budget, labels_of(item["spec"]["template"])) for budget in budgets):
            yield f"{chart.title(item)}: has no disruption budget"
        update = item["spec"]["strategy"].get("rollingUpdate", {})
        if update.get("maxUnavailable") != 0 or not update.get("maxSurge"):
            yield f"{chart.title(item)}: a rollout takes a pod away before its successor serves"


def check_probes(objects):
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            live, ready = container.get("livenessProbe", {}), container.get("readinessProbe", {})
            if live.get("httpGet") and live.get("httpGet") == ready.get("httpGet"):
                yield f"{name}: liveness and readiness ask the same"
            if live.get("httpGet", {}).get("path") == "/readyz":
                yield f"{name}: is restarted when it is not ready"


def check_security(objects):
    for name, template in templates(objects):
        spec = template["spec"]
        pod = spec.get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            yield f"{name}: may run as root"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: holds a token of the cluster"
        if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
            yield f"{name}: shares a namespace of the node"
        for container in spec["containers"]:
            security = container.get("securityContext", {})
            if not security.get("readOnlyRootFilesystem"):
                yield f"{name}: can write to its root filesystem"
            if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
                yield f"{name}: can gain privileges"
            if security.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{name}: keeps capabilities"
            if container["image"].endswith(":latest") or not re.search(r"(:[^/]+|@sha256:[0-9a-f]{64})$", container["image"]):
                yield f"{name}: its image has no version"


def check_resources(objects):
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            resources = container.get("resources", {})
            limits, requests = resources.get("limits", {}), resources.get("requests", {})
            if "memory" not in limits:
                yield f"{name}: has no limit of memory"
            if "cpu" in limits:
                yield f"{name}: its CPU is limited, which delays every client at once"
            if not {"cpu", "memory"} <= set(requests):
                yield f"{name}: requests no CPU or memory"
            for kind in (limits, requests):
                for resource, quantity in kind.items():
                    if not QUANTITY.match(str(quantity)):
                        yield f"{name}: {resource} {quantity!r} is no quantity"


def check_settings(objects):
    claims = {
        chart.title(item): [claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])]
        for item in workloads(objects)
    }
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            env = environment(container)
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for variable, port in LISTENERS:
                address = env.get(variable, {}).get("value")
                if address and not address.startswith("127.") and int(address.rsplit(":", 1)[1]) != ports.get(port):
                    yield f"{name}: {variable} is not its port {port}"
            listen = env.get("WEFT_EXECUTOR_LISTEN", {}).get("value", "127.0.0.1:1")
            if not listen.startswith("127.") and "WEFT_EXECUTOR_TOKEN_FILE" not in env:
                yield f"{name}: the executor's door is open: no WEFT_EXECUTOR_TOKEN_FILE off loopback"
            mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            for variable, entry in env.items():
                path = entry.get("value", "")
                if variable.endswith("_FILE") and not any(path.startswith(mount + "/") for mount in mounts):
                    yield f"{name}: {variable} names {path}, where nothing is mounted"
            if len({entry["name"] for entry in container.get("env", [])}) != len(container.get("env", [])):
                yield f"{name}: a variable is set twice"
        volumes = claims.get(name, []) + [volume["name"] for volume in template["spec"].get("volumes", [])]
        for container in template["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name}: mounts {mount['name']}, which is no volume"


SECRETS = re.compile(r"(^|_)(SECRET|TOKEN|PASSWORD|KEY|CREDENTIALS)(_|$)")
# Before any of them is looked at; each suffices alone.
KEYS = ("WEFT_JWT_SECRET", "WEFT_JWT_SECRET_FILE", "WEFT_JWT_PUBLIC_KEY_FILE", "WEFT_JWKS_URL")


def check_secrets(objects):
    for name, template in templates(objects):
        spec = template["spec"]
        for container in spec["containers"]:
            for variable, entry in environment(container).items():
                value = entry.get("value", "")
                if value and SECRETS.search(variable) and not variable.endswith("_FILE"):
                    yield f"{name}: {variable} holds a secret that everybody can read"
                if re.search(r"://[^/]*@", value):
                    yield f"{name}: {variable} is a URL with a password that everybody can read"
        volumes = {volume["name"]: volume["secret"] for volume in spec.get("volumes", []) if "secret" in volume}
        for volume, secret in volumes.items():
            # Files may come from the user's own values, as Kubernetes has them; ours must be for the group at most.
            if secret.get("defaultMode", 0o440 if volume in foreign(spec) else 0o644) & 0o337:
                yield f"{name}: the secret in {volume} can be read by others or written"
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] in volumes and not mount.get("readOnly"):
                    yield f"{name}: mounts the secret in {mount['name']} for writing"
                if mount["name"] in volumes and "subPath" in mount:
                    yield f"{name}: does not see when the secret in {mount['name']} changes"


def foreign(spec):
    """Volumes that are mounted outside /etc/weft: not the chart's."""
    mounts = [mount for container in spec["containers"] for mount in container.get("volumeMounts", [])]
    return {mount["name"] for mount in mounts if not mount["mountPath"].startswith("/etc/weft/")}


def check_access(objects):
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            env = environment(container)
            if "WEFT_LISTEN" not in env or env["WEFT_LISTEN"].get("value", "").startswith("127."):
                continue
            value = lambda variable: env.get(variable, {}).get("value")
            has_keys = any(variable in env for variable in KEYS)
            if value("WEFT_AUTH") == "off" and value("WEFT_ALLOW_ANONYMOUS_REMOTE") != "true":
                yield f"{name}: does not start: WEFT_AUTH=off listens on loopback only"
            if value("WEFT_AUTH") == "off" and has_keys or value("WEFT_AUTH") == "jwt" and not has_keys:
                yield f"{name}: does not start: keys and WEFT_AUTH={value('WEFT_AUTH')}"
            if value("WEFT_AUTH") not in ("off", "jwt"):
                yield f"{name}: does not start: WEFT_AUTH is not set"
            if value("WEFT_AUTH") == "jwt" and value("WEFT_ALLOW_ANONYMOUS_REMOTE") == "true":
                yield f"{name}: says both that clients authenticate and that they need not"
            if "WEFT_PEER_LISTEN" in env and "WEFT_FLEET_KEY_FILE" not in env:
                yield f"{name}: does not start: gateways that pass requests on need WEFT_FLEET_KEY_FILE"
            if ("WEFT_CONTROL_LISTEN" in env) != ("WEFT_CONTROL_TOKEN_FILE" in env):
                yield f"{name}: does not start: the control listener and its token belong together"


def check_references(objects):
    """Kubernetes fills in variables that stand before, and leaves others as they are."""
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            known = set()
            for entry in container.get("env", []):
                for wanted in re.findall(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", entry.get("value", "")):
                    if wanted not in known:
                        yield f"{name}: {entry['name']} refers to {wanted}, which does not stand before it"
                known.add(entry["name"])


def policies_of(objects, template):
    for item in objects:
        if item["kind"] == "NetworkPolicy" and matches(item["spec"]["podSelector"]["matchLabels"], labels_of(template)):
            yield item


def is_port(port, wanted, template):
    return port in (wanted, port_names(template).get(wanted))


def check_inner_ports(objects):
    """What is not for clients is reached by nobody but those it is for."""
    for name, template in templates(objects):
        for inner in ("peers", "control", "admin"):
            if inner not in port_names(template):
                continue
            for item in objects:
                if item["kind"] == "Service" and matches(item["spec"].get("selector"), labels_of(template)):
                    ports = item["spec"]["ports"]
                    if any(is_port(port["targetPort"], inner, template) for port in ports) and (len(ports) > 1 or inner == "peers"):
                        yield f"{chart.title(item)}: offers {inner} of {name} to clients"
            for policy in policies_of(objects, template):
                rules = policy["spec"].get("ingress", [])
                to_it = [rule for rule in rules if not rule.get("ports") or any(is_port(port["port"], inner, template) for port in rule["ports"])]
                if any(not rule.get("from") for rule in to_it):
                    yield f"{chart.title(policy)}: lets everybody reach {inner}"
                sources = [source for rule in to_it for source in rule.get("from", [])]
                itself = [source for source in sources if matches(source.get("podSelector", {}).get("matchLabels"), labels_of(template))]
                if inner == "peers" and (not itself or len(itself) != len(sources)):
                    yield f"{chart.title(policy)}: not exactly the gateways themselves reach {inner}"
                egress = policy["spec"].get("egress", [])
                if inner == "peers" and "Egress" in policy["spec"]["policyTypes"] and not is_out(egress, template, port_names(template)[inner]):
                    yield f"{chart.title(policy)}: gateways cannot connect to {inner}"
            if inner == "control" and not any(True for _ in policies_of(objects, template)):
                yield f"{name}: {inner} is open to the cluster"


def is_out(egress, template, port):
    return any("ports" not in rule or any(is_port(one["port"], port, template) for one in rule["ports"]) for rule in egress)


def check_snippets(objects):
    """Raw configuration of a proxy is a way into it (CVE-2021-25742); of HAProxy one fixed line is let through."""
    for item in objects:
        for name, value in item["metadata"].get("annotations", {}).items():
            if name.endswith("-snippet") and (name, value) != ("haproxy.org/backend-config-snippet", "http-request set-log-level silent"):
                yield f"{chart.title(item)}: its annotation {name} is raw configuration"


def check_outwards(objects):
    """What settings name must be reachable under the policy."""
    for name, template in templates(objects):
        for policy in policies_of(objects, template):
            if "Egress" not in policy["spec"]["policyTypes"]:
                continue
            for container in template["spec"]["containers"]:
                bus = environment(container).get("WEFT_BUS", {}).get("value", "")
                for port in re.findall(r":(\d+)(?=[,/?]|$)", bus):
                    if not is_out(policy["spec"]["egress"], template, int(port)):
                        yield f"{name}: its policy keeps it from the broker, port {port}"
                for variable in ("WEFT_JWKS_URL", "WEFT_AUTHORIZE_URL", "WEFT_OTLP_ENDPOINT"):
                    url = urlsplit(environment(container).get(variable, {}).get("value", ""))
                    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
                    if port and not is_out(policy["spec"]["egress"], template, port):
                        yield f"{name}: its policy keeps it from {variable}, port {port}"


def check_inwards(objects):
    """Pods of the release that talk to its gateways are let in by them."""
    services = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Service"}
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            said = [entry.get("value", "") for entry in container.get("env", [])] + container.get("command", [])
            for url in map(urlsplit, (text for text in said if re.match(r"^https?://[\w.-]+:\d+$", text))):
                if url.hostname not in services:
                    continue
                wanted = next(one["targetPort"] for one in services[url.hostname]["spec"]["ports"] if one["port"] == url.port)
                for other, target in templates(objects):
                    if matches(services[url.hostname]["spec"]["selector"], labels_of(target)):
                        for policy in policies_of(objects, target):
                            if not is_in(policy["spec"].get("ingress", []), target, wanted, labels_of(template)):
                                yield f"{chart.title(policy)}: keeps {name} from {other}"


def is_in(ingress, template, port, labels):
    """Whether pods with these labels, of the same namespace, may connect to a port."""
    to_it = [rule for rule in ingress if not rule.get("ports") or any(is_port(one["port"], port, template) for one in rule["ports"])]
    sources = [source for rule in to_it for source in rule.get("from", [{"podSelector": {"matchLabels": {}}}])]
    selected = [source["podSelector"].get("matchLabels", {}) for source in sources if "podSelector" in source and "namespaceSelector" not in source]
    return any(not wanted or matches(wanted, labels) for wanted in selected)


def check_accounts(objects):
    made = [item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"]
    for item in workloads(objects):
        wanted = item["spec"]["template"]["spec"].get("serviceAccountName")
        if wanted and made and wanted.startswith(item["metadata"]["name"]) and wanted not in made:
            yield f"{chart.title(item)}: its service account {wanted} is not there"


def check_names(objects):
    seen = set()
    for item in objects:
        if chart.title(item) in seen:
            yield f"{chart.title(item)}: is there twice"
        seen.add(chart.title(item))
        if len(item["metadata"]["name"]) > 63:
            yield f"{chart.title(item)}: its name is too long for a label"


CHECKS = [value for key, value in sorted(globals().items()) if key.startswith("check_")]


def problems(objects):
    return [problem for check in CHECKS for problem in check(objects)]


def main():
    # Which reads this module.
    import mutants

    failures = 0
    for name, values in chart.ci_values().items():
        for problem in problems(chart.render(values)):
            failures += 1
            print(f"{name}: {problem}")
    for release, planted in mutants.MUTANTS.items():
        sound = chart.render(chart.ci_values()[release])
        for name, plant in planted.items():
            mutant = copy.deepcopy(sound)
            plant(mutant)
            if not problems(mutant):
                failures += 1
                print(f"no rule notices this mistake: {name}")
    print(f"{len(chart.ci_values())} releases, {len(CHECKS)} rules, {sum(map(len, mutants.MUTANTS.values()))} planted mistakes")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
