"""Mistakes that are planted into renders of the chart, to see that the rules of semantics.py notice them."""

import copy

import chart
from semantics import environment


def gateway(objects):
    return chart.find(objects, "Deployment", "weft-gateway")


def container(objects):
    return gateway(objects)["spec"]["template"]["spec"]["containers"][0]


def executor_container(objects):
    return chart.find(objects, "Deployment", "weft-executor")["spec"]["template"]["spec"]["containers"][0]


def policy(objects):
    return chart.find(objects, "NetworkPolicy", "weft-gateway")["spec"]


def rule_to(objects, port):
    return next(rule for rule in policy(objects)["ingress"] if rule["ports"][0]["port"] == port)


def without_source(objects, component):
    sources = rule_to(objects, "http")["from"]
    sources[:] = [one for one in sources if one.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component") != component]


def secret_volume(objects, name):
    return next(volume for volume in gateway(objects)["spec"]["template"]["spec"]["volumes"] if volume["name"] == name)


def mount(objects, name):
    return next(mount for mount in container(objects)["volumeMounts"] if mount["name"] == name)


def without_egress(objects, port):
    rules = policy(objects)["egress"]
    rules[:] = [rule for rule in rules if port not in [one["port"] for one in rule["ports"]]]


def without(entry_list, name):
    entry_list[:] = [entry for entry in entry_list if entry["name"] != name]


def gateway_of(objects):
    return chart.find(objects, "Deployment", "events-gateway")["spec"]["template"]["spec"]


def monitor(objects, kind="ServiceMonitor", name="events-gateway"):
    found = chart.find(objects, kind, name)["spec"]
    return found["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"][0]


def route(objects):
    return chart.find(objects, "HTTPRoute", "events-gateway")["spec"]


def scaled(objects):
    return chart.find(objects, "ScaledObject", "events-gateway")["spec"]


def trigger(objects):
    return next(one for one in scaled(objects)["triggers"] if one["type"] == "prometheus")["metadata"]


# Each plants one mistake into the production render; some rule must notice it, and none before.
PRODUCTION = {
    "selector of the deployment": lambda o: gateway(o)["spec"]["selector"]["matchLabels"].update({"a": "b"}),
    "selector of the service": lambda o: chart.find(o, "Service", "weft-gateway")["spec"]["selector"].update({"a": "b"}),
    "selector of the budget": lambda o: chart.find(o, "PodDisruptionBudget", "weft-gateway")["spec"]["selector"]["matchLabels"].update({"a": "b"}),
    "selector of the policy": lambda o: chart.find(o, "NetworkPolicy", "weft-gateway")["spec"]["podSelector"]["matchLabels"].pop("app.kubernetes.io/component"),
    "selector of the monitor": lambda o: chart.find(o, "PodMonitor", "weft-gateway")["spec"]["selector"]["matchLabels"].update({"a": "b"}),
    "port of a probe": lambda o: container(o)["readinessProbe"]["httpGet"].update(port="metrics"),
    "port of the service": lambda o: chart.find(o, "Service", "weft-gateway")["spec"]["ports"][0].update(targetPort="web"),
    "path of the monitor": lambda o: monitor(o, "PodMonitor", "weft-gateway").update(path="/"),
    "job of the monitor": lambda o: monitor(o, "PodMonitor", "weft-gateway")["relabelings"][0].update(replacement="gateway"),
    "port of the monitor": lambda o: chart.find(o, "PodMonitor", "weft-gateway")["spec"]["podMetricsEndpoints"][0].update(port="metrics"),
    "port of the policy": lambda o: chart.find(o, "NetworkPolicy", "weft-gateway")["spec"]["ingress"][0]["ports"][0].update(port="web"),
    "backend of the ingress": lambda o: chart.find(o, "Ingress", "weft-gateway")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="web"),
    "grace below the drain": lambda o: gateway(o)["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=30),
    "grace far beyond the drain": lambda o: gateway(o)["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=300),
    "preStop beyond the grace": lambda o: container(o)["lifecycle"]["preStop"]["sleep"].update(seconds=600),
    "delay beyond the grace": lambda o: next(one for one in container(o)["env"] if one["name"] == "WEFT_DRAIN_DELAY_SECS").update(value="600"),
    "preStop that needs a shell": lambda o: container(o)["lifecycle"].update(preStop={"exec": {"command": ["sleep", "5"]}}),
    "progress deadline": lambda o: gateway(o)["spec"].update(progressDeadlineSeconds=60),
    "target of the autoscaler": lambda o: chart.find(o, "HorizontalPodAutoscaler", "weft-gateway")["spec"]["scaleTargetRef"].update(name="web"),
    "autoscaler takes several": lambda o: chart.find(o, "HorizontalPodAutoscaler", "weft-gateway")["spec"]["behavior"]["scaleDown"]["policies"][0].update(value=4),
    "autoscaler without metrics": lambda o: chart.find(o, "HorizontalPodAutoscaler", "weft-gateway")["spec"].update(metrics=[]),
    "no replicas": lambda o: chart.find(o, "Deployment", "weft-executor")["spec"].update(replicas=0),
    "no budget": lambda o: o.remove(chart.find(o, "PodDisruptionBudget", "weft-gateway")),
    "rollout takes first": lambda o: gateway(o)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
    "equal probes": lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/readyz"),
    "root": lambda o: gateway(o)["spec"]["template"]["spec"]["securityContext"].pop("runAsUser"),
    "no seccomp": lambda o: gateway(o)["spec"]["template"]["spec"]["securityContext"].pop("seccompProfile"),
    "token of the cluster": lambda o: gateway(o)["spec"]["template"]["spec"].update(automountServiceAccountToken=True),
    "network of the node": lambda o: gateway(o)["spec"]["template"]["spec"].update(hostNetwork=True),
    "processes of the node": lambda o: gateway(o)["spec"]["template"]["spec"].update(hostPID=True),
    "memory of the node": lambda o: gateway(o)["spec"]["template"]["spec"].update(hostIPC=True),
    "privileged": lambda o: container(o)["securityContext"].update(privileged=True),
    "writable root": lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False),
    "escalation": lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda o: container(o)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
    "image without version": lambda o: container(o).update(image="registry.example/weft-gateway"),
    "no limit of memory": lambda o: container(o)["resources"]["limits"].clear(),
    "limit of CPU": lambda o: container(o)["resources"]["limits"].update(cpu="1"),
    "no request": lambda o: container(o)["resources"].pop("requests"),
    "bad quantity": lambda o: container(o)["resources"]["requests"].update(cpu="10 cores"),
    "address and port differ": lambda o: environment(container(o))["WEFT_LISTEN"].update(value="0.0.0.0:3009"),
    "open executor": lambda o: without(executor_container(o)["env"], "WEFT_EXECUTOR_TOKEN_FILE"),
    "file that is not mounted": lambda o: without(container(o)["volumeMounts"], "bus-ca"),
    "mount without a volume": lambda o: without(gateway(o)["spec"]["template"]["spec"]["volumes"], "bus-ca"),
    "variable set twice": lambda o: container(o)["env"].append({"name": "WEFT_BUS_PREFIX", "value": "x"}),
    "no such account": lambda o: o.remove(chart.find(o, "ServiceAccount", "weft-gateway")),
    "secret in the open": lambda o: container(o)["env"].append({"name": "WEFT_JWT_SECRET", "value": "x"}),
    "password in a URL": lambda o: container(o)["env"].append({"name": "X", "value": "https://a:b@idp.example/"}),
    "secret for all users": lambda o: secret_volume(o, "fleet-key")["secret"].update(defaultMode=0o444),
    "secret of Kubernetes' own mode": lambda o: secret_volume(o, "control-token")["secret"].pop("defaultMode"),
    "secret for writing": lambda o: mount(o, "fleet-key").pop("readOnly"),
    "secret that stays old": lambda o: mount(o, "fleet-key").update(subPath="key"),
    "anonymous unsaid": lambda o: (without(container(o)["env"], "WEFT_JWKS_URL"), environment(container(o))["WEFT_AUTH"].update(value="off")),
    "off with keys": lambda o: (environment(container(o))["WEFT_AUTH"].update(value="off"), container(o)["env"].append({"name": "WEFT_ALLOW_ANONYMOUS_REMOTE", "value": "true"})),
    "tokens without keys": lambda o: without(container(o)["env"], "WEFT_JWKS_URL"),
    "no word on authentication": lambda o: without(container(o)["env"], "WEFT_AUTH"),
    "tokens and anonymous": lambda o: container(o)["env"].append({"name": "WEFT_ALLOW_ANONYMOUS_REMOTE", "value": "true"}),
    "peers without a key": lambda o: without(container(o)["env"], "WEFT_FLEET_KEY_FILE"),
    "control without a token": lambda o: without(container(o)["env"], "WEFT_CONTROL_TOKEN_FILE"),
    "reference to what comes later": lambda o: container(o)["env"].reverse(),
    "reference to nothing": lambda o: without(container(o)["env"], "POD_IP"),
    "address of peers and port differ": lambda o: environment(container(o))["WEFT_PEER_LISTEN"].update(value="$(POD_IP):9"),
    "peers on the clients' service": lambda o: chart.find(o, "Service", "weft-gateway")["spec"]["ports"].append({"name": "p", "port": 3003, "targetPort": "peers"}),
    "admin on the clients' service": lambda o: chart.find(o, "Service", "weft-gateway")["spec"]["ports"].append({"name": "a", "port": 9, "targetPort": 9464}),
    "control on the clients' service": lambda o: chart.find(o, "Service", "weft-gateway")["spec"]["ports"].append({"name": "c", "port": 9, "targetPort": "control"}),
    "peers open to all": lambda o: rule_to(o, "peers").pop("from"),
    "peers open to executors": lambda o: rule_to(o, "peers")["from"].append({"podSelector": {"matchLabels": {"app.kubernetes.io/component": "executor"}}}),
    "peers closed to gateways": lambda o: policy(o)["ingress"].remove(rule_to(o, "peers")),
    "peers out of reach": lambda o: without_egress(o, 3003),
    "control open to all": lambda o: rule_to(o, "control")["from"].clear(),
    "control without a policy": lambda o: o.remove(chart.find(o, "NetworkPolicy", "weft-gateway")),
    "clients closed to the test": lambda o: without_source(o, "test"),
    "everything open to all": lambda o: policy(o)["ingress"].append({}),
    "snippet of nginx": lambda o: chart.find(o, "Ingress", "weft-gateway")["metadata"]["annotations"].update({"nginx.ingress.kubernetes.io/configuration-snippet": "x"}),
    "snippet of HAProxy": lambda o: chart.find(o, "Ingress", "weft-gateway")["metadata"]["annotations"].update({"haproxy.org/backend-config-snippet": "x"}),
    "key set out of reach": lambda o: without_egress(o, 8443),
    "collector out of reach": lambda o: without_egress(o, 4318),
    "object twice": lambda o: o.append(copy.deepcopy(gateway(o))),
}

# The same in the render with KEDA, Gateway API and ServiceMonitors, of what the other does not have.
KEDA = {
    "selector of the ServiceMonitor": lambda o: chart.find(o, "ServiceMonitor", "events-gateway")["spec"]["selector"]["matchLabels"].update({"a": "b"}),
    "ServiceMonitor of all services": lambda o: chart.find(o, "ServiceMonitor", "events-gateway")["spec"]["selector"]["matchLabels"].pop("weft/admin"),
    "ServiceMonitor of the executor": lambda o: chart.find(o, "ServiceMonitor", "events-gateway")["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/component": "executor"}),
    "port of the ServiceMonitor": lambda o: monitor(o).update(port="http"),
    "path of the ServiceMonitor": lambda o: monitor(o).update(path="/"),
    "job of the ServiceMonitor": lambda o: monitor(o).pop("relabelings"),
    "ServiceMonitor without endpoints": lambda o: chart.find(o, "ServiceMonitor", "events-gateway")["spec"].update(endpoints=[]),
    "ServiceMonitor without its service": lambda o: o.remove(chart.find(o, "Service", "events-gateway-admin")),
    "port of the ServiceMonitor's service": lambda o: chart.find(o, "Service", "events-gateway-admin")["spec"]["ports"][0].update(targetPort="metrics"),
    "backend of the route": lambda o: route(o)["rules"][0]["backendRefs"][0].update(name="web"),
    "port of the route's backend": lambda o: route(o)["rules"][0]["backendRefs"][0].update(port=1),
    "route without a backend": lambda o: route(o)["rules"][0].update(backendRefs=[]),
    "route without a Gateway": lambda o: route(o).update(parentRefs=[]),
    "timeout of the route": lambda o: route(o)["rules"][0]["timeouts"].update(request="15s"),
    "target of KEDA": lambda o: scaled(o)["scaleTargetRef"].update(name="web"),
    "KEDA without a fallback": lambda o: scaled(o).pop("fallback"),
    "KEDA's fallback shrinks the fleet": lambda o: scaled(o)["fallback"].update(behavior="static"),
    "KEDA's fallback is none": lambda o: scaled(o)["fallback"].update(replicas=0),
    "KEDA takes no value for none": lambda o: trigger(o).update(ignoreNullValues="true"),
    "KEDA counts something else": lambda o: trigger(o).update(query="sum(up)"),
    "KEDA without triggers": lambda o: scaled(o).update(triggers=[]),
    "KEDA takes several": lambda o: scaled(o)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["policies"][0].update(value=4),
    "grace below the drain, without preStop": lambda o: gateway_of(o).update(terminationGracePeriodSeconds=60),
}

# And without a broker.
MEMORY = {
    "clients closed to the executor": lambda o: without_source(o, "executor"),
    "clients closed to the test, without a broker": lambda o: without_source(o, "test"),
}

# And with a broker whose URL is no secret.
SHARED = {"broker out of reach": lambda o: without_egress(o, 6379)}

# By the CI values file that is rendered.
MUTANTS = {"production": PRODUCTION, "keda": KEDA, "memory": MEMORY, "shared-secret": SHARED}
