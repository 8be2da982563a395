"""Tests of the chart's values: what each does, what is refused, and that the README lists them all.

    python values.py
"""

import base64
import re
import sys

import helm_python as helm
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

import chart
from chart import Refused, find, merged, render

VALUES = chart.ci_values()
MINIMAL, PRODUCTION, KEDA, SHARED = (VALUES[name] for name in ("minimal", "production", "keda", "shared-secret"))


def gateway(objects, name="weft-gateway"):
    return find(objects, "Deployment", name)


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def env(deployment):
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in pod(deployment)["containers"][0]["env"]}


def test_the_grace_period_is_the_sum_of_the_drain():
    for drain, grace in (({}, 85), ({"preStopSeconds": 0}, 75), ({"preStopSeconds": 20, "delaySeconds": 7, "windowSeconds": 120, "marginSeconds": 30}, 177)):
        deployment = gateway(render(merged(MINIMAL, {"gateway": {"drain": drain}})))
        assert pod(deployment)["terminationGracePeriodSeconds"] == grace, drain
        assert env(deployment)["WEFT_DRAIN_SECS"] == str(drain.get("windowSeconds", 60))
        assert env(deployment)["WEFT_DRAIN_DELAY_SECS"] == str(drain.get("delaySeconds", 0))
        assert deployment["spec"]["minReadySeconds"] == drain.get("windowSeconds", 60) + drain.get("delaySeconds", 0)
        assert ("lifecycle" in pod(deployment)["containers"][0]) == (drain.get("preStopSeconds") != 0)
    executor = find(render(merged(PRODUCTION, {"executor": {"drain": {"windowSeconds": 100}}})), "Deployment", "weft-executor")
    assert pod(executor)["terminationGracePeriodSeconds"] == 110 and env(executor)["WEFT_DRAIN_SECS"] == "100"


def test_min_ready_seconds_can_be_set_also_to_zero():
    for seconds in (0, 5):
        assert gateway(render(merged(MINIMAL, {"gateway": {"minReadySeconds": seconds}})))["spec"]["minReadySeconds"] == seconds


def test_an_autoscaler_owns_the_replicas():
    scaled = merged(MINIMAL, {"gateway": {"replicas": 7, "autoscaling": {"mode": "hpa", "minReplicas": 4}}})
    assert gateway(render(scaled))["spec"]["replicas"] == 4
    assert "replicas" not in gateway(render(scaled, is_install=False))["spec"]
    assert gateway(render(merged(MINIMAL, {"gateway": {"replicas": 7}}), is_install=False))["spec"]["replicas"] == 7
    metrics = find(render(scaled), "HorizontalPodAutoscaler", "weft-gateway")["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Pods", "Resource"]
    only = render(merged(scaled, {"gateway": {"autoscaling": {"connectionsPerPod": 0}}}))
    assert [metric["type"] for metric in find(only, "HorizontalPodAutoscaler", "weft-gateway")["spec"]["metrics"]] == ["Resource"]
    keda = find(render(KEDA), "ScaledObject", "events-gateway")
    assert [trigger["type"] for trigger in keda["spec"]["triggers"]] == ["prometheus"]
    assert keda["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert 'namespace="events",pod=~"events-gateway-.+"' in keda["spec"]["triggers"][0]["metadata"]["query"]


def test_connections_are_bounded_by_what_memory_bears():
    def told(**gateway_values):
        values = merged(MINIMAL, {"gateway": gateway_values})
        return env(gateway(render(values))).get("WEFT_CONNECTIONS_MAX"), chart.render_texts(values)["weft/templates/NOTES.txt"]

    for most, limit, needed, is_too_many in ((20000, "1Gi", 836, False), (44000, "1Gi", 1076, True), (43000, "1Gi", 1066, False), (44000, "1100M", 1076, False), (20000, 10**9, 836, False)):
        number, notes = told(connectionsMax=most, resources={"limits": {"memory": limit}})
        assert number == str(most) and f"with them it takes some {needed} MB" in notes and ("more than its limit" in notes) == is_too_many, notes
    assert "some 20100 MB" in told(env={"WEFT_LOGS_BYTES_MAX": 9900000000})[1] and "more than its limit" in told(env={"WEFT_LOGS_BYTES_MAX": "9900000000"})[1]
    assert told()[0] == "20000" and told(connectionsMax=0)[0] is None and "as many connections as its descriptors allow" in told(connectionsMax=0)[1]
    # The examples keep to it themselves.
    for values in VALUES.values():
        assert "more than its limit" not in chart.render_texts(values)["weft/templates/NOTES.txt"]


def test_secrets_are_named_and_never_contained():
    objects = render(PRODUCTION)
    assert not [item for item in objects if item["kind"] == "Secret"]
    for name in ("weft-gateway", "weft-executor"):
        told = env(gateway(objects, name))
        assert told["WEFT_BUS"] == {"secretKeyRef": {"name": "weft-bus", "key": "url"}}
        assert told["WEFT_BUS_CREDENTIALS_FILE"] == "/etc/weft/bus-credentials/nats.creds"
        assert told["WEFT_BUS_TLS_CA_FILE"] == "/etc/weft/bus-ca/ca.crt"
        assert told["WEFT_BUS_TLS_KEY_FILE"] == "/etc/weft/bus-tls/tls.key"
        assert secrets(gateway(objects, name)).items() >= {"bus-credentials": "weft-nats", "bus-ca": "nats-ca", "bus-tls": "weft-nats-tls"}.items()


def secrets(deployment):
    return {volume["name"]: volume["secret"]["secretName"] for volume in pod(deployment)["volumes"] if "secret" in volume}


def test_tokens_are_checked_by_what_is_named():
    told = env(gateway(render(PRODUCTION)))
    assert told["WEFT_AUTH"] == "jwt" and told["WEFT_JWKS_URL"] == "https://idp.example:8443/jwks" and "WEFT_ALLOW_ANONYMOUS_REMOTE" not in told
    assert told["WEFT_JWT_ISSUER"] == "https://idp.example/" and told["WEFT_JWT_AUDIENCE"] == "weft" and told["WEFT_JWT_LIFE_SECS_MAX"] == "3600"
    assert told["WEFT_TENANT_REQUIRED"] == "true" and told["WEFT_AUTH_QUERY"] == "on" and told["WEFT_TRUSTED_PROXIES"] == "10.0.0.0/8"
    public = gateway(render(KEDA), "events-gateway")
    assert env(public)["WEFT_JWT_PUBLIC_KEY_FILE"] == "/etc/weft/jwt-public-key/ed25519.pem" and secrets(public)["jwt-public-key"] == "signer"
    assert env(public)["WEFT_AUTH_QUERY"] == "off" and env(public)["WEFT_AUTH_COOKIE"] == "weft" and env(public)["WEFT_ANONYMOUS_ROOMS"] == "execution:demo-*"
    shared = gateway(render(SHARED))
    assert env(shared)["WEFT_JWT_SECRET_FILE"] == "/etc/weft/jwt-secret/secret" and secrets(shared)["jwt-secret"] == "weft-jwt"
    assert env(shared)["WEFT_CONNECTIONS_PER_ADDRESS_MAX"] == "0" and env(shared)["WEFT_PUBLISHES_PER_USER"] == "100"
    # One key of a secret, and no other that happens to be in it.
    volume = [volume for volume in pod(shared)["volumes"] if volume["name"] == "jwt-secret"][0]
    assert volume["secret"]["items"] == [{"key": "secret", "path": "secret"}]
    own = merged(MINIMAL, {"gateway": {"auth": "jwt", "allowAnonymousRemote": False, "env": {"WEFT_JWKS_URL": {"secretKeyRef": {"name": "a", "key": "b"}}}}})
    assert env(gateway(render(own)))["WEFT_JWKS_URL"] == {"secretKeyRef": {"name": "a", "key": "b"}}


def test_an_open_gateway_says_so_loudly():
    for values, words in (
        (MINIMAL, ["!! NOBODY AUTHENTICATES", "Whoever is in the cluster reaches them"]),
        (merged(MINIMAL, {"ingress": {"enabled": True, "hosts": ["a.example"]}}), ["!! NOBODY AUTHENTICATES", "whoever reaches a.example", "trustedProxies is empty"]),
        (VALUES["trial-redis"], ["No NetworkPolicy keeps anybody"]),
    ):
        notes = chart.render_texts(values)["weft/templates/NOTES.txt"]
        assert all(word in notes for word in words), notes
    for values in (PRODUCTION, KEDA, SHARED):
        assert "NOBODY" not in chart.render_texts(values)["weft/templates/NOTES.txt"]


def test_a_service_that_hides_clients_is_told():
    hides = lambda **service: "may hide clients" in chart.render_texts(merged(MINIMAL, {"gateway": {"service": service}}))["weft/templates/NOTES.txt"]
    assert hides(type="LoadBalancer") and hides(type="NodePort", externalTrafficPolicy="Cluster")
    assert not hides(type="LoadBalancer", externalTrafficPolicy="Local") and not hides(type="ClusterIP")
    local = render(merged(MINIMAL, {"gateway": {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}}))
    assert find(local, "Service", "weft-gateway")["spec"]["externalTrafficPolicy"] == "Local"


def test_the_fleet_key_is_made_or_named():
    objects = render(SHARED)
    secret = find(objects, "Secret", "weft-gateway-fleet")
    assert len(base64.b64decode(secret["data"]["key"])) == 64 and secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert secrets(gateway(objects))["fleet-key"] == "weft-gateway-fleet" and env(gateway(objects))["WEFT_FLEET_KEY_FILE"] == "/etc/weft/fleet-key/key"
    assert secrets(gateway(render(PRODUCTION)))["fleet-key"] == "weft-fleet"
    assert secret["data"]["key"] != find(render(SHARED), "Secret", "weft-gateway-fleet")["data"]["key"]
    assert "WEFT_FLEET_KEY_FILE" not in env(gateway(render(MINIMAL)))


def test_gateways_reach_each_other_at_their_pods_address():
    for values, address in ((PRODUCTION, "$(POD_IP):3003"), (SHARED, "[$(POD_IP)]:3003")):
        told = env(gateway(render(values)))
        assert told["WEFT_PEER_LISTEN"] == address and told["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert "WEFT_PEER_LISTEN" not in env(gateway(render(KEDA), "events-gateway"))

    def told(values):
        notes = " ".join(chart.render_texts(values)["weft/templates/NOTES.txt"].split())
        return ["recovers what it followed only at the gateway where it was" in notes, "need a load balancer with affinity" in notes]

    one = merged(MINIMAL, {"gateway": {"replicas": 1}})
    assert [told(values) for values in (MINIMAL, KEDA, PRODUCTION, one)] == [[True, True], [False, True], [False, False], [False, False]]


def test_the_control_listener_is_on_loopback_unless_it_is_asked_for():
    minimal = render(MINIMAL)
    assert "WEFT_CONTROL_LISTEN" not in env(gateway(minimal))
    shared = render(SHARED)
    assert env(gateway(shared))["WEFT_CONTROL_LISTEN"] == "127.0.0.1:9466" and secrets(gateway(shared))["control-token"] == "weft-control"
    assert "control" not in [port["name"] for port in pod(gateway(shared))["containers"][0]["ports"]]
    for objects in (minimal, shared):
        assert not [item for item in objects if item["metadata"]["name"] == "weft-gateway-control"]
    production = render(PRODUCTION)
    assert env(gateway(production))["WEFT_CONTROL_LISTEN"] == "0.0.0.0:9466"
    assert find(production, "Service", "weft-gateway-control")["spec"]["ports"][0]["targetPort"] == "control"
    rules = [rule for rule in find(production, "NetworkPolicy", "weft-gateway")["spec"]["ingress"] if rule["ports"][0]["port"] == "control"]
    assert [rule["from"] for rule in rules] == [[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operations"}}}]]


def test_tokens_in_urls_are_not_logged():
    def annotations(values, change):
        wanted = merged(values, {"ingress": {"enabled": True, "hosts": ["a.example"], **change}})
        objects = [item for item in render(wanted) if item["kind"] == "Ingress"]
        return objects[0]["metadata"].get("annotations", {}), chart.render_texts(wanted)["weft/templates/NOTES.txt"]

    nginx, haproxy = "nginx.ingress.kubernetes.io/enable-access-log", "haproxy.org/backend-config-snippet"
    silent = "http-request set-log-level silent"
    assert annotations(PRODUCTION, {})[0][nginx] == "false" and annotations(SHARED, {})[0][haproxy] == silent
    # Without tokens in URLs there is nothing to keep out, and one may choose.
    assert nginx not in annotations(KEDA, {})[0] and nginx not in annotations(MINIMAL, {})[0]
    assert annotations(MINIMAL, {"accessLog": False})[0][nginx] == "false"
    logged, notes = annotations(PRODUCTION, {"accessLog": True})
    assert nginx not in logged and "Tokens may stand in URLs" in notes
    assert "Tokens may stand in URLs" not in annotations(PRODUCTION, {})[1]
    for controller in ("alb", "none"):
        assert "Tokens may stand in URLs" in annotations(PRODUCTION, {"controller": controller})[1]
    # The error log is the controller's, and only its operator can silence it.
    assert 'error-log-level: "crit"' in annotations(PRODUCTION, {})[1]
    for values, change in ((PRODUCTION, {"controller": "alb"}), (SHARED, {}), (KEDA, {}), (MINIMAL, {})):
        assert "error-log-level" not in annotations(values, change)[1]


def test_traces_go_where_they_are_wanted():
    for values, endpoint, ratio in ((PRODUCTION, "http://collector.monitoring:4318", "0.05"), (SHARED, "https://traces.example", "1")):
        for name in ("weft-gateway", "weft-executor"):
            told = env(gateway(render(values), name))
            assert told["WEFT_OTLP_ENDPOINT"] == endpoint and told["WEFT_TRACE_RATIO"] == ratio
    assert "WEFT_OTLP_ENDPOINT" not in env(gateway(render(MINIMAL)))


def test_the_policy_lets_out_what_settings_name():
    def ports(values, name="weft-gateway"):
        rules = find(render(values), "NetworkPolicy", name)["spec"]["egress"]
        return sorted({port["port"] for rule in rules for port in rule.get("ports", [])})

    assert ports(PRODUCTION) == [53, 3003, 4222, 4318, 5432, 6379, 8443, 26379]
    assert ports(SHARED) == [53, 443, 3003, 6379] and ports(SHARED, "weft-executor") == [53, 443, 6379]
    assert ports(KEDA, "events-gateway") == [53, 443, 4222, 6379, 26379] and ports(MINIMAL) == [53, 4222]
    assert ports(VALUES["memory"]) == [53] and ports(VALUES["trial-nats"]) == [53, 3003, 4222]


def test_the_policy_lets_out_to_the_broker_of_the_url():
    def ports(url, listed=()):
        rules = find(render(merged(MINIMAL, {"bus": {"url": url}, "networkPolicy": {"egress": {"busPorts": list(listed)}}})), "NetworkPolicy", "weft-gateway")["spec"]["egress"]
        return sorted({port["port"] for rule in rules for port in rule["ports"]} - {53})

    for url, wanted in (
        ("nats://a:4223,b,c:4224", [4222, 4223, 4224]),
        ("nats+tls://a:4223,nats+tls://b:4224", [4223, 4224]),
        ("rediss-cluster://a:7000,[::1]:7001,[::2]/3", [6379, 7000, 7001]),
        ("redis-sentinel://a:1,b/mymaster?sentinel_user=s", [1, 6379, 26379]),
        ("redis+pubsub://redis", [6379]),
    ):
        assert ports(url) == wanted, (url, ports(url))
    assert ports("nats://a:4223", [5000]) == [5000]


def test_helm_test_has_a_token_where_one_is_needed():
    tests = lambda values: [item for item in render(values) if chart.is_test(item) and item["kind"] == "Pod"]
    assert env({"spec": {"template": tests(PRODUCTION)[0]}})["WEFT_TEST_TOKEN_FILE"] == "/token/token"
    assert not tests(SHARED) and "test.tokenSecret" in chart.render_texts(SHARED)["weft/templates/NOTES.txt"]
    assert "env" not in tests(MINIMAL)[0]["spec"]["containers"][0]


def test_numbers_come_out_as_they_were_written():
    told = env(gateway(render(PRODUCTION)))
    assert told["WEFT_LOGS_BYTES_MAX"] == "536870912" and told["WEFT_RETENTION_BYTES"] == "107374182400" and told["WEFT_PING_SECS"] == "20"
    assert env(gateway(render(merged(MINIMAL, {"gateway": {"env": {"A": 0.5, "B": True, "C": "x"}}})))).items() >= {"A": "0.5", "B": "true", "C": "x"}.items()


def test_further_environment_and_volumes_reach_the_container():
    deployment = gateway(render(PRODUCTION))
    assert env(deployment)["TOKEN"] == {"secretKeyRef": {"name": "some", "key": "token"}}
    assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in pod(deployment)["containers"][0]["volumeMounts"]
    assert {"name": "keys", "secret": {"secretName": "keys"}} in pod(deployment)["volumes"]


def test_the_executor_stays_on_loopback_unless_it_has_a_token():
    closed = find(render(VALUES["trial-nats"]), "Deployment", "weft-executor")
    assert env(closed)["WEFT_EXECUTOR_LISTEN"] == "127.0.0.1:3002" and "WEFT_EXECUTOR_TOKEN_FILE" not in env(closed)
    assert [port["name"] for port in pod(closed)["containers"][0]["ports"]] == ["admin"]
    objects = render(PRODUCTION)
    told = env(find(objects, "Deployment", "weft-executor"))
    assert told["WEFT_EXECUTOR_LISTEN"] == "0.0.0.0:3002" and told["WEFT_EXECUTOR_TOKEN_FILE"] == "/etc/weft/executor-token/token"
    hosts = "weft-executor,weft-executor.events,weft-executor.events.svc,weft-executor.events.svc.cluster.local,executor.example"
    assert told["WEFT_EXECUTOR_HOSTS"] == hosts and told["WEFT_TENANT"] == "acme"
    assert find(objects, "Service", "weft-executor")


def test_without_a_broker_the_executor_goes_to_the_gateway():
    objects = render(VALUES["memory"])
    assert env(find(objects, "Deployment", "weft-executor"))["WEFT_GATEWAY_URL"] == "http://weft-gateway:80"
    assert gateway(objects)["spec"]["replicas"] == 1
    guarded = {"gateway": {"auth": "jwt", "allowAnonymousRemote": False, "jwt": {"secret": {"name": "a"}}}, "executor": {"gatewayTokenSecret": {"name": "b"}}}
    executor = find(render(merged(VALUES["memory"], guarded)), "Deployment", "weft-executor")
    assert env(executor)["WEFT_GATEWAY_TOKEN_FILE"] == "/etc/weft/gateway-token/token" and secrets(executor)["gateway-token"] == "b"


def test_a_trial_broker_is_where_the_bus_is():
    for kind, url in (("nats", "nats://weft-nats:4222"), ("redis", "redis://weft-redis:6379")):
        objects = render(VALUES[f"trial-{kind}"])
        assert env(gateway(objects))["WEFT_BUS"] == url
        service = find(objects, "Service", f"weft-{kind}")
        assert service["spec"]["ports"][0]["port"] == int(url.rsplit(":", 1)[1])
    assert not [item for item in render(MINIMAL) if item["kind"] == "StatefulSet"]


def test_changed_workflows_replace_the_executors():
    def checksum(text):
        objects = render(merged(KEDA, {"executor": {"workflows": {"hello.yaml": text}}}))
        return find(objects, "Deployment", "events-executor")["spec"]["template"]["metadata"]["annotations"]["checksum/workflows"]

    assert checksum("a") != checksum("b")


def test_a_new_chart_version_alone_replaces_no_pod():
    labels = gateway(render(MINIMAL))["spec"]["template"]["metadata"]["labels"]
    assert "helm.sh/chart" not in labels


def test_the_ingress_keeps_long_connections():
    annotations = find(render(PRODUCTION), "Ingress", "weft-gateway")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600" and annotations["cert-manager.io/cluster-issuer"] == "main"
    mine = merged(PRODUCTION, {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "7200"}}})
    assert find(render(mine), "Ingress", "weft-gateway")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "7200"
    alb = find(render(merged(PRODUCTION, {"ingress": {"controller": "alb"}})), "Ingress", "weft-gateway")["metadata"]["annotations"]
    assert "deregistration_delay.timeout_seconds=150," in alb["alb.ingress.kubernetes.io/target-group-attributes"]
    none = merged(MINIMAL, {"ingress": {"enabled": True, "controller": "none", "hosts": ["a.example"]}})
    assert "annotations" not in find(render(none), "Ingress", "weft-gateway")["metadata"]


def test_only_monitoring_reads_the_admin_port():
    for objects in (render(PRODUCTION), render(MINIMAL)):
        rules = find(objects, "NetworkPolicy", "weft-gateway")["spec"]["ingress"]
        admin = [rule for rule in rules if rule["ports"][0]["port"] == "admin"]
        assert len(admin) == 1 and admin[0]["from"]
        assert all(port["name"] != "admin" for port in find(objects, "Service", "weft-gateway")["spec"]["ports"])


def test_alerts_and_dashboards_are_the_files():
    objects = render(PRODUCTION)
    rendered = find(objects, "PrometheusRule", "weft")["spec"]["groups"]
    files = chart.CHART / "files"
    original = chart.load(files / "alerts.yaml")["groups"]
    for group in rendered:
        for rule in group["rules"]:
            if "annotations" in rule:
                page = rule["annotations"].pop("runbook_url")
                assert page == "https://docs.example/runbooks/" + rule["annotations"]["runbook"].rsplit("/", 1)[1]
    assert rendered == original
    shown = find(objects, "ConfigMap", "weft-dashboards")["data"]
    assert {name.removeprefix("weft-"): text for name, text in shown.items()} == {
        path.name: path.read_text().rstrip("\n") for path in files.glob("dashboards/*.json")
    }
    for path in files.glob("dashboards/*.json"):
        assert (chart.ROOT / "deploy" / "grafana" / path.name).resolve() == path
    assert (chart.ROOT / "deploy" / "prometheus" / "alerts.yaml").resolve() == files / "alerts.yaml"


def test_the_jobs_are_called_as_alerts_and_dashboards_call_them():
    for values, kind, key in ((PRODUCTION, "PodMonitor", "podMetricsEndpoints"), (KEDA, "ServiceMonitor", "endpoints")):
        for item in render(values):
            if item["kind"] == kind:
                component = item["metadata"]["labels"]["app.kubernetes.io/component"]
                assert item["spec"][key][0]["relabelings"] == [{"targetLabel": "job", "replacement": f"weft-{component}"}]


def test_pods_can_listen_on_ipv6():
    objects = render(merged(PRODUCTION, {"listenAddress": "[::]"}))
    assert env(gateway(objects))["WEFT_LISTEN"] == "[::]:3001" and env(gateway(objects))["WEFT_ADMIN_LISTEN"] == "[::]:9464"
    assert env(gateway(objects, "weft-executor"))["WEFT_EXECUTOR_LISTEN"] == "[::]:3002"


def test_names():
    assert chart.title(gateway(render(MINIMAL, name="fabric"), "fabric-weft-gateway"))
    assert chart.title(gateway(render(KEDA), "events-gateway"))
    assert all(len(item["metadata"]["name"]) <= 63 for item in render(merged(PRODUCTION, {"fullnameOverride": "x" * 63})))
    image = pod(gateway(render(PRODUCTION)))["containers"][0]["image"]
    assert image.startswith("registry.example/team/weft-gateway@sha256:0123")


def test_connections_age_and_come_in_at_a_rate():
    for values, age, rate in ((MINIMAL, "1800", "5000"), (merged(MINIMAL, {"gateway": {"connectionAgeSeconds": 0, "limits": {"connectsPerSecond": 0}}}), "0", "0")):
        told = env(gateway(render(values)))
        assert told["WEFT_CONNECTION_AGE_MAX_SECS"] == age and told["WEFT_CONNECTS_PER_SEC"] == rate
        notes = chart.render_texts(values)["weft/templates/NOTES.txt"]
        assert ("N connections make N / 1800." in notes) == (age != "0") and ("for as long as they like" in notes) == (age == "0"), notes


def test_pods_speak_tls_themselves_where_a_secret_is_named():
    deployment = gateway(render(SHARED))
    assert env(deployment)["WEFT_TLS_CERT_FILE"] == "/etc/weft/tls/tls.crt" and env(deployment)["WEFT_TLS_KEY_FILE"] == "/etc/weft/tls/tls.key"
    assert secrets(deployment)["tls"] == "events-tls"
    plain = gateway(render(MINIMAL))
    assert not {"WEFT_TLS_CERT_FILE", "WEFT_TLS_KEY_FILE"} & set(env(plain))
    for values, sign in ((SHARED, "wss"), (MINIMAL, "ws")):
        assert f"connect to  {sign}://" in chart.render_texts(values)["weft/templates/NOTES.txt"]
    for controller, annotation in (("nginx", "nginx.ingress.kubernetes.io/backend-protocol"), ("haproxy", "haproxy.org/server-ssl"), ("alb", "alb.ingress.kubernetes.io/backend-protocol")):
        ingress = {"ingress": {"enabled": True, "hosts": ["a.example"], "controller": controller}}
        for tls in ("", "a"):
            objects = render(merged(merged(MINIMAL, ingress), {"gateway": {"tls": {"secret": tls}}}))
            assert (annotation in find(objects, "Ingress", "weft-gateway")["metadata"]["annotations"]) == bool(tls), controller
    tried = find(render(merged(MINIMAL, {"gateway": {"tls": {"secret": "a"}}})), "Pod", "weft-test")
    assert tried["spec"]["containers"][0]["command"][-1].startswith("https://")


def test_notes_tell_the_budget():
    notes = chart.render_texts(PRODUCTION)["weft/templates/NOTES.txt"]
    assert "15 s preStop (still serving) + 0 s delay (serving, not ready) + 120 s closes spread + 15 s margin = 150 s grace period" in notes
    assert "wss://events.example/api/ws" in notes and "Tokens may stand" not in notes
    assert "several gateways will drain at once" in chart.render_texts(KEDA)["weft/templates/NOTES.txt"]


# What must be refused, and a word of the reason.
REFUSED = [
    ({"gatway": {}}, "gatway"),
    ({"gateway": {"replica": 2}}, "replica"),
    ({"gateway": {"replicas": "two"}}, "replicas"),
    ({"gateway": {"auth": "jwt"}}, "gateway.auth: jwt needs"),
    ({"gateway": {"auth": "none"}}, "auth"),
    ({"gateway": {"auth": "", "env": {"WEFT_AUTH": "off"}}}, "gateway.auth"),
    ({"gateway": {"env": {"WEFT_JWKS_URL": "https://a"}}}, "must be jwt where keys are set"),
    ({"gateway": {"jwt": {"secret": {"name": "a"}}}}, "must be jwt where keys are set"),
    ({"gateway": {"auth": "jwt", "jwt": {"secret": {"name": "a"}}}}, "allowAnonymousRemote"),
    ({"gateway": {"jwt": {"secret": "0123456789abcdef"}}}, "secret"),
    ({"gateway": {"jwt": {"secret": {"value": "0123456789abcdef"}}}}, "value"),
    ({"gateway": {"jwt": {"jwksUrl": "http://idp.example"}}}, "jwksUrl"),
    ({"gateway": {"jwt": {"jwksUrl": "https://a:b@idp.example"}}}, "jwksUrl"),
    ({"gateway": {"jwt": {"audiences": ["a,b"]}}}, "audiences"),
    ({"gateway": {"jwt": {"lifeSeconds": 10}}}, "lifeSeconds"),
    ({"gateway": {"jwt": {"cookie": "weft"}}}, "gateway.jwt.cookie"),
    ({"gateway": {"jwt": {"cookie": "a b"}}}, "cookie"),
    ({"gateway": {"trustedProxies": ["everybody"]}}, "trustedProxies"),
    ({"gateway": {"limits": {"connectionsPerUser": -1}}}, "connectionsPerUser"),
    ({"gateway": {"peers": {"enabled": True}}}, "gateway.fleetKey"),
    ({"gateway": {"fleetKey": {"generate": True, "secret": {"name": "a"}}}}, "gateway.fleetKey"),
    ({"gateway": {"fleetKey": {"key": "0123456789abcdef"}}}, "fleetKey"),
    ({"gateway": {"control": {"enabled": True}}}, "gateway.control.tokenSecret"),
    ({"gateway": {"control": {"service": {"enabled": True}}}}, "needs gateway.control.enabled"),
    ({"gateway": {"control": {"enabled": True, "tokenSecret": {"name": "a"}, "service": {"enabled": True}}}}, "gateway.control.service.from"),
    ({"gateway": {"control": {"enabled": True, "tokenSecret": {"name": "a"}, "service": {"enabled": True, "from": [{}]}}}}, "from"),
    (
        {
            "gateway": {"control": {"enabled": True, "tokenSecret": {"name": "a"}, "service": {"enabled": True, "from": [{"podSelector": {}}]}}},
            "networkPolicy": {"enabled": False},
        },
        "networkPolicy.enabled",
    ),
    ({"gateway": {"service": {"externalTrafficPolicy": "Local"}}}, "NodePort and LoadBalancer"),
    ({"gateway": {"ports": {"peers": 3001}}}, "gateway.ports"),
    ({"gateway": {"env": {"WEFT_CONNECTS_PER_ADDRESS": "5"}}}, "WEFT_CONNECTS_PER_ADDRESS"),
    ({"traces": {"endpoint": "collector:4318"}}, "endpoint"),
    ({"traces": {"ratio": 2}}, "ratio"),
    ({"ingress": {"accessLog": "quiet"}}, "accessLog"),
    ({"gateway": {"auth": ""}}, "gateway.auth"),
    ({"gateway": {"allowAnonymousRemote": False}}, "allowAnonymousRemote"),
    ({"gateway": {"drain": {"windowSeconds": 0}}}, "windowSeconds"),
    ({"gateway": {"drain": {"delaySeconds": -1}}}, "delaySeconds"),
    ({"gateway": {"tls": {"secret": "a"}}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}}, "gateway.tls"),
    ({"gateway": {"tls": {"secret": 5}}}, "secret"),
    ({"gateway": {"connectionAgeSeconds": 5}}, "connectionAgeSeconds"),
    ({"gateway": {"limits": {"connectsPerSecond": "many"}}}, "connectsPerSecond"),
    ({"gateway": {"drain": {"marginSeconds": 1}}}, "marginSeconds"),
    ({"gateway": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds"),
    ({"gateway": {"ports": {"http": 80}}}, "http"),
    ({"gateway": {"origins": ["app.example"]}}, "origins"),
    ({"gateway": {"env": {"WEFT_DRAIN_SECS": "5"}}}, "WEFT_DRAIN_SECS"),
    ({"gateway": {"env": {"A": {"secret": "x"}}}}, "env"),
    ({"gateway": {"env": {"A-B": "x"}}}, "A-B"),
    ({"gateway": {"resources": {"limits": {"memory": "1 GB"}}}}, "memory"),
    ({"gateway": {"autoscaling": {"mode": "vpa"}}}, "mode"),
    ({"gateway": {"autoscaling": {"mode": "hpa", "cpuPercent": 0, "connectionsPerPod": 0}}}, "connectionsPerPod or cpuPercent"),
    ({"gateway": {"autoscaling": {"mode": "hpa", "minReplicas": 13}}}, "minReplicas"),
    ({"gateway": {"autoscaling": {"mode": "hpa", "connectionsPerPod": 20000}}}, "gateway.connectionsMax"),
    ({"gateway": {"autoscaling": {"mode": "keda"}, "connectionsMax": 10000}}, "gateway.connectionsMax"),
    ({"gateway": {"connectionsMax": -1}}, "connectionsMax"),
    ({"gateway": {"env": {"WEFT_CONNECTIONS_MAX": "5"}}}, "WEFT_CONNECTIONS_MAX"),
    ({"gateway": {"pdb": {"maxUnavailable": 0}}}, "maxUnavailable"),
    ({"gateway": {"image": {"digest": "sha256:1"}}}, "digest"),
    ({"gateway": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "b", "labelSelector": {}}]}}, "topologySpread"),
    ({"bus": {"url": ""}}, "exactly one"),
    ({"bus": {"trial": "nats"}}, "exactly one"),
    ({"bus": {"url": "kafka://x"}}, "url"),
    ({"bus": {"url": "memory:"}}, "one process"),
    ({"bus": {"retention": {"seconds": 0}}}, "seconds"),
    ({"bus": {"password": "x"}}, "password"),
    ({"executor": {"enabled": True, "http": {"enabled": True}}}, "token"),
    ({"executor": {"enabled": True, "workflows": {"a.yaml": "x"}, "workflowsConfigMap": "b"}}, "workflows"),
    ({"executor": {"workflows": {"a.txt": "x"}}}, "a.txt"),
    ({"executor": {"tenant": "a.b"}}, "tenant"),
    ({"executor": {"enabled": True, "gatewayTokenSecret": {"name": "a"}}}, "gatewayTokenSecret"),
    (
        {
            "bus": {"url": "memory:"},
            "gateway": {"replicas": 1, "auth": "jwt", "allowAnonymousRemote": False, "jwt": {"secret": {"name": "a"}}},
            "executor": {"enabled": True},
        },
        "gatewayTokenSecret",
    ),
    ({"ingress": {"enabled": True}}, "hosts"),
    ({"ingress": {"controller": "caddy"}}, "controller"),
    ({"httpRoute": {"enabled": True}}, "parentRefs"),
    ({"monitor": {"kind": "Probe"}}, "kind"),
    ({"monitor": {"interval": "often"}}, "interval"),
    ({"alerts": {"runbookUrl": "docs"}}, "runbookUrl"),
    ({"log": {"format": "xml"}}, "format"),
    ({"trial": {"storage": "much"}}, "storage"),
]


def test_bad_values_are_refused_by_name():
    for change, word in REFUSED:
        try:
            render(merged(MINIMAL, change))
        except Refused as refused:
            assert word in str(refused), f"{change}: {refused}"
        else:
            raise AssertionError(f"not refused: {change}")
    try:
        render({})
    except Refused as refused:
        assert "bus" in str(refused) or "gateway.auth" in str(refused)
    else:
        raise AssertionError("the defaults alone must not install an open gateway")


def test_lint_finds_nothing():
    for name, values in VALUES.items():
        report = helm.lint(chart.CHART, values, strict=True, kube_version="v1.34.0")
        # An icon is a recommendation (severity 1).
        said = [message for message in report["messages"] if message["severity"] > 1]
        assert not said and not report["errors"], f"{name}: {report}"


def test_rendered_yaml_is_tidy():
    rules = YamlLintConfig("{extends: relaxed, rules: {line-length: disable, empty-lines: disable, indentation: {indent-sequences: whatever}}}")
    for name, values in VALUES.items():
        texts = {path: text for path, text in chart.render_texts(values).items() if path.endswith(".yaml") and "dashboards" not in path and "tests/" not in path}
        for path, text in texts.items():
            found = [str(problem) for problem in linter.run(text, rules) if problem.level == "error"]
            assert not found, f"{name}, {path}: {found}"


def leaves(values, path=""):
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        # Empty maps, and maps whose keys are the user's own, are one value.
        if isinstance(value, dict) and value and here not in OPEN:
            yield from leaves(value, here)
        else:
            yield here, value


OPEN = {f"{part}.resources" for part in ("gateway", "executor")} | {"dashboards.labels"}


def test_the_schema_knows_exactly_the_values():
    schema = yaml.safe_load((chart.CHART / "values.schema.json").read_text())

    def paths(node, path=""):
        for key, value in node.get("properties", {}).items():
            here = f"{path}.{key}" if path else key
            if value.get("properties") and here not in OPEN:
                yield from paths(value, here)
            elif "$ref" in value and "properties" in schema["$defs"][value["$ref"].rsplit("/", 1)[1]]:
                yield from paths(schema["$defs"][value["$ref"].rsplit("/", 1)[1]], here)
            else:
                yield here

    def closed(node):
        if isinstance(node, dict):
            if "properties" in node:
                assert node.get("additionalProperties") is False, f"open for unknown keys: {sorted(node['properties'])}"
            for key, value in node.items():
                if key != "oneOf":
                    closed(value)

    closed({key: value for key, value in schema.items() if key != "$defs"})
    listed = {path for path, _ in leaves(chart.load(chart.CHART / "values.yaml"))}
    assert set(paths(schema)) - {"global"} == listed, set(paths(schema)) ^ listed


def shown(value):
    if value is None:
        return "–"
    return "`" + yaml.safe_dump(value, default_flow_style=True, width=1000).replace("\n...", "").strip() + "`"


def table():
    """The README's table of values, from values.yaml and its comments."""
    help_of, stack, waiting = {}, [], []
    for line in (chart.CHART / "values.yaml").read_text().splitlines():
        comment = re.match(r"^\s*# -- (.*)$", line)
        if comment:
            waiting = [comment[1]]
            continue
        key = re.match(r"^(\s*)([A-Za-z]+):", line)
        if key:
            stack = stack[: len(key[1]) // 2] + [key[2]]
            help_of[".".join(stack)] = " ".join(waiting)
            waiting = []
    rows = ["| value | default | |", "|---|---|---|"]
    for path, value in leaves(chart.load(chart.CHART / "values.yaml")):
        text = help_of.get(path, "").replace("|", "\\|")
        rows.append(f"| `{path}` | {shown(value)} | {text} |")
    return "\n".join(rows)


def test_the_readme_lists_every_value():
    readme = (chart.CHART / "README.md").read_text()
    before, _, rest = readme.partition("<!-- values -->\n")
    _, _, after = rest.partition("<!-- /values -->")
    wanted = f"{before}<!-- values -->\n{table()}\n<!-- /values -->{after}"
    if "--write" in sys.argv:
        (chart.CHART / "README.md").write_text(wanted)
    else:
        assert readme == wanted, "run python deploy/ci/values.py --write"


def main():
    failures = 0
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    for name, test in tests.items():
        try:
            test()
        except Exception as error:  # every test is to be run, whatever one of them does
            failures += 1
            print(f"{name.removeprefix('test_').replace('_', ' ')}: {type(error).__name__}: {error}")
    print(f"{len(tests)} tests, {len(REFUSED)} refused values")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
