#!/usr/bin/env python3
"""Writes the dashboards: what is shown is decided here, the JSON is for Grafana.

    python3 deploy/grafana/dashboards.py            writes helm/weft/files/dashboards/*.json
    python3 deploy/grafana/dashboards.py --check    fails if they are not what would be written
"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "helm" / "weft" / "files" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
WIDTH, HEIGHT = 8, 8


def target(expression, legend, form="time_series"):
    return {"datasource": SOURCE, "expr": expression, "legendFormat": legend, "format": form, "editorMode": "code", "range": True}


def panel(kind, title, description, unit, queries, **more):
    options, defaults = {}, {"unit": unit}
    defaults.update({key: more.pop(key) for key in ("min", "max", "decimals", "thresholds", "mappings") if key in more})
    if kind == "timeseries":
        options = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}, "tooltip": {"mode": "multi", "sort": "desc"}}
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "stacking": {"mode": more.pop("stack", "none")}}
        defaults.setdefault("min", 0)
    elif kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    elif kind == "heatmap":
        options = {"calculate": False, "yAxis": {"unit": unit}, "color": {"mode": "scheme", "scheme": "Oranges"}, "cellGap": 1}
    elif kind == "state-timeline":
        options = {"showValue": "never", "legend": {"showLegend": False}, "mergeValues": True}
    form = "heatmap" if kind == "heatmap" else "time_series"
    return {
        "type": kind, "title": title, "description": description, "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        "targets": [{**target(expression, legend, form), "refId": chr(65 + index)} for index, (expression, legend) in enumerate(queries)],
        **more,
    }


def lines(title, description, unit, *queries, **more):
    return panel("timeseries", title, description, unit, queries, **more)


def stat(title, description, unit, expression, red_from=None, red_below=None, **more):
    steps = [{"color": "text", "value": None}]
    if red_from is not None:
        steps.append({"color": "red", "value": red_from})
    if red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "text", "value": red_below}]
    more["thresholds"] = {"mode": "absolute", "steps": steps}
    return panel("stat", title, description, unit, [(expression, "")], **more)


def up(title, description, expression, legend, good=1):
    texts = {str(good): {"text": "yes", "color": "green"}, str(1 - good): {"text": "no", "color": "red"}}
    return panel("state-timeline", title, description, "none", [(expression, legend)], mappings=[{"type": "value", "options": texts}])


def quantiles(title, description, metric, selector, by="", unit="s"):
    group = f"le,{by}" if by else "le"
    queries = []
    for name, quantile in (("p50", "0.5"), ("p99", "0.99")):
        expression = f"histogram_quantile({quantile}, sum by ({group}) (rate({metric}_bucket{{{selector}}}{RATE})))"
        queries.append((expression, f"{name} {{{{{by}}}}}" if by else name))
    return lines(title, description, unit, *queries)


def heatmap(title, description, metric, selector):
    return panel("heatmap", title, description, "s", [(f"sum by (le) (increase({metric}_bucket{{{selector}}}{RATE}))", "{{le}}")])


def rate(metric, selector, by="", extra=""):
    inside = f"rate({metric}{{{selector}{extra}}}{RATE})"
    return f"sum by ({by}) ({inside})" if by else f"sum({inside})"


def total(metric, selector, by="", kind="sum"):
    return f"{kind} by ({by}) ({metric}{{{selector}}})" if by else f"{kind}({metric}{{{selector}}})"


def variable(name, label, query, **more):
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"}, **more,
    }


def dashboard(uid, title, description, variables, rows):
    panels, y = [], 0
    for name, members, is_folded in rows:
        row = {"type": "row", "title": name, "collapsed": is_folded, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        y, x = y + 1, 0
        placed = []
        for member in members:
            w, h = (4, 4) if member["type"] == "stat" else (WIDTH, HEIGHT)
            if x + w > 24:
                x, y = 0, y + h
            placed.append({**member, "gridPos": {"x": x, "y": y, "w": w, "h": h}})
            x += w
        y += placed[-1]["gridPos"]["h"]
        panels.append(row)
        (row["panels"] if is_folded else panels).extend(placed)
    number = 0
    for item in panels:
        for one in [item, *item.get("panels", [])]:
            number += 1
            one["id"] = number
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    alerts = {
        "name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red", "titleFormat": "{{alertname}}",
        "expr": 'ALERTS{alertname=~"Weft.+",alertstate="firing"}', "step": "60s",
    }
    leaving = {
        "name": "Gateways that leave", "datasource": SOURCE, "enable": True, "iconColor": "blue", "titleFormat": "{{instance}} drains",
        "expr": "weft_gateway_draining == 1", "step": "60s",
    }
    links = [{"type": "dashboards", "title": "Weft", "tags": ["weft"], "asDropdown": False, "keepTime": True, "includeVars": True}]
    return {
        "uid": uid, "title": title, "description": description, "tags": ["weft"], "editable": False, "graphTooltip": 1,
        "schemaVersion": 39, "version": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "", "links": links,
        "annotations": {"list": [alerts, leaving]}, "templating": {"list": [source, *variables]}, "panels": panels,
    }


NAMESPACE = variable("namespace", "Namespace", "label_values(up, namespace)")
FAILED = "weft_gateway_failed_deliveries_total"
# Told to read by HTTP what is still stored.
NOT_LIMIT = ',reason!="limit"'
DELIVERED = "weft_gateway_deliveries_total"


def success(selector, window):
    failed, delivered = f"sum(increase({FAILED}{{{selector}{NOT_LIMIT}}}{window}))", f"sum(increase({DELIVERED}{{{selector}}}{window}))"
    return f"{failed} / ({failed} + {delivered})"


def delivery(s, by):
    legend = f"{{{{{by}}}}}"
    return [
        lines("Events received and delivered", "Received once from the bus, delivered to each socket that follows.", "short",
              (rate("weft_gateway_events_received_total", s), "received"), (rate(DELIVERED, s), "delivered")),
        lines("Fan-out", "Deliveries for each event received.", "short",
              (f"{rate(DELIVERED, s, by)} / {rate('weft_gateway_events_received_total', s, by)}", legend), decimals=1),
        lines("Failed deliveries", "Events that sessions should have had and never got: by gaps told to them (retention), frames that could not be made (encode), connections that were lost (disconnected). limit: still stored, to be read by HTTP.", "short",
              (rate(FAILED, s, "reason"), "{{reason}}")),
        quantiles("From the gateway's receipt to the socket", "Of one connection in 16. No clock of another machine is in it.", "weft_gateway_delivery_seconds", s),
        quantiles("From the gateway's receipt to the last client", "That keeps up, of one event in 64, over all connections.", "weft_gateway_fanout_seconds", s),
        quantiles("How far sessions are behind", "Events that a session has not handed to its socket, looked at whenever it is due for a ping.", "weft_gateway_cursor_lag_events", s, unit="short"),
        lines("Events of the past", "Read for sessions that came back or fell behind: from history, or from a room's log.", "short",
              (rate("weft_gateway_replayed_events_total", s), "events")),
        lines("Events conflated", "That a later one stood for, where a client asked for that.", "short", (rate("weft_gateway_conflated_total", s), "events")),
        heatmap("From the gateway's receipt to the socket, spread", "Deliveries by the time they took.", "weft_gateway_delivery_seconds", s),
        quantiles("From the broker's store to the socket", "The skew of two clocks is in it.", "weft_gateway_published_to_socket_seconds", s),
    ]


def repair(s, by):
    return [
        lines("Repairs", "Reads begun because live events were missing. tail, without a reconnect, is a silent loss on the broker's live path.", "short",
              (rate("weft_gateway_repairs_total", s, "cause"), "{{cause}}")),
        lines("Gaps in rooms", "History that is no longer there: retention is normal; reset and unreadable are the broker's.", "short",
              (rate("weft_gateway_room_gaps_total", s, "reason"), "{{reason}}")),
        lines("Subscribes", "resumed found everything; gap came too late, or the history was lost.", "short",
              (rate("weft_gateway_subscribes_total", s, "outcome"), "{{outcome}}")),
        lines("History reads", "On the broker, for sessions that are behind and to keep logs true; shared ones cost nothing.", "short",
              (rate("weft_gateway_history_reads_total", s), "sessions"), (rate("weft_gateway_history_shared_total", s), "shared"),
              (rate("weft_gateway_feed_reads_total", s), "feed")),
        lines("Events that were dropped", "Repeated and unfollowed ones are harmless; invalid ones are somebody's mistake.", "short",
              (rate("weft_gateway_repeated_events_total", s), "repeated"), (rate("weft_gateway_events_unfollowed_total", s), "unfollowed"),
              (rate("weft_gateway_invalid_events_total", s), "invalid")),
        lines("Heads", "Durable states of executions: those that could not be moved, and those put off because the queue was full.", "short",
              (rate("weft_gateway_head_failures_total", s), "failed"), (rate("weft_gateway_heads_put_off_total", s), "put off")),
    ]


def memory(s, by):
    legend = f"{{{{{by}}}}}"
    return [
        lines("Rooms", "Followed on the bus, lingering ones included, and as many as may be.", "short", (total("weft_gateway_rooms", s, by), legend),
              (total("weft_gateway_rooms_max", s, by), f"most {legend}")),
        lines("Logs in memory", "Bytes of published events, and as many as there may be with the frames made of them.", "bytes", (total("weft_gateway_log_bytes", s, by), legend),
              (total("weft_gateway_logs_bytes_max", s, by), f"most {legend}")),
        lines("History pages in memory", "Kept for readers behind, at most 10 s each.", "bytes", (total("weft_gateway_history_bytes", s, by), legend)),
        lines("Frames in memory", "Made of events in logs and history pages; within the logs' budget.", "bytes", (total("weft_gateway_frame_bytes", s, by), legend)),
        lines("Live events that wait", "For a read of their room's history.", "bytes", (total("weft_gateway_buffered_bytes", s, by), legend)),
        lines("Logs over budget", "Times that an addition found the logs a quarter above their budget.", "short",
              (rate("weft_gateway_log_over_budget_total", s, by), legend)),
        lines("Checks due", "Checks of rooms' ends that are planned: one for each followed room.", "short", (total("weft_gateway_checks_due", s, by), legend)),
        lines("Replies awaited", "Commands given to executors by HTTP that are remembered.", "short", (total("weft_gateway_replies_awaited", s, by), legend)),
        lines("Log lines dropped", "That standard error did not take in time.", "short", (rate("weft_log_lines_dropped_total", s, by), legend)),
        lines("Spans", "Handed to the collector of traces; failed ones are lost.", "short", (rate("weft_trace_spans_total", s, "result"), "{{result}}")),
    ]


def process(s, by):
    legend = f"{{{{{by}}}}}"
    return [
        lines("CPU of the process", "User and system time: 1 is one processor.", "none", (rate("process_cpu_seconds_total", s, by), legend)),
        lines("Memory of the process", "Resident. The kernel's share of connections is not in it, but in a container's limit.", "bytes", (total("process_resident_memory_bytes", s, by), legend)),
        lines("Virtual memory", "And as much as there may be, where there is a bound.", "bytes", (total("process_virtual_memory_bytes", s, by), legend),
              (total("process_virtual_memory_max_bytes", s, by, "max"), f"most {legend}")),
        lines("Descriptors", "Of those that there may be: each connection takes one.", "percentunit",
              (f"max by ({by}) (process_open_fds{{{s}}} / process_max_fds{{{s}}})", legend)),
        lines("Threads", "Of the process.", "short", (total("process_threads", s, by), legend)),
        lines("Threads that run tasks, busy", "Share of their time. Near 1 everything waits.", "percentunit",
              (f"sum by ({by}) (rate(weft_runtime_busy_seconds_total{{{s}}}{RATE})) / sum by ({by}) (weft_runtime_workers{{{s}}})", legend)),
        lines("Tasks", "That have not ended: one for most connections and one for each request.", "short", (total("weft_runtime_tasks", s, by), legend)),
        lines("Tasks that wait", "For any thread to take them.", "short", (total("weft_runtime_waiting_tasks", s, by), legend)),
        lines("Uptime", "Since the process began.", "s", (f"time() - max by ({by}) (process_start_time_seconds{{{s}}})", legend)),
    ]


def access(s):
    return [
        lines("Tokens", "Shown by clients, by outcome; accepted and expired ones are everyday.", "reqps", (rate("weft_guard_tokens_total", s, "outcome"), "{{outcome}}")),
        lines("Clients limited", "Connections and publications refused by what one client may take, by the bound that was reached.", "reqps",
              (rate("weft_guard_limited_total", s, "limit"), "{{limit}}")),
        lines("Fetches of the key set", "Where tokens are signed by an identity provider.", "reqps", (rate("weft_guard_jwks_fetches_total", s, "outcome"), "{{outcome}}")),
        lines("Authorization hook", "Questions to WEFT_AUTHORIZE_URL, by outcome.", "reqps", (rate("weft_guard_hook_total", s, "outcome"), "{{outcome}}")),
        lines("Revocations", "Known now; lines of their journal that are none.", "short", (total("weft_guard_revocations", s, kind="max"), "known"),
              (f"sum(increase(weft_guard_revocations_invalid_total{{{s}}}{RATE}))", "invalid")),
        lines("Control listener", "Requests to /admin/*, by what was asked and what came of it. Empty until the first.", "reqps",
              (rate("weft_guard_control_total", s, "action, outcome"), "{{action}} {{outcome}}")),
    ]


def tls(s, by):
    return [
        lines("TLS handshakes", "With clients and operators, by outcome.", "reqps",
              (rate("weft_gateway_tls_handshakes_total", s, "outcome"), "{{outcome}}")),
        lines("Certificate, time left", "Of the certificate that clients are shown. Empty until the first gateway speaks TLS.", "s",
              (f"min by ({by}) (weft_gateway_tls_expires_timestamp_seconds{{{s}}} > 0) - time()", f"{{{{{by}}}}}")),
        lines("Certificates read again", "Because their files had changed; unusable ones leave the old one in place.", "short",
              (rate("weft_gateway_tls_reloads_total", s, "outcome"), "{{outcome}}")),
    ]


def socketio(s):
    return [
        lines("Socket.IO sessions that came back", "recovered: nothing was missed and nothing asked again.", "reqps",
              (rate("weft_gateway_recoveries_total", s, "outcome"), "{{outcome}}")),
        lines("Requests passed on", "Of polling sessions that another gateway holds, by outcome.", "reqps",
              (rate("weft_gateway_passed_on_total", s, "outcome"), "{{outcome}}")),
        lines("WebSockets passed through", "To the gateways that hold their sessions.", "short", (total("weft_gateway_passages", s), "WebSockets")),
    ]


def coming_and_going(s):
    return [
        lines("Connections ended, by reason", "drain, max_age and shed are ours and nobody's fault; lost ones were cut by a proxy or the network.", "reqps",
              (rate("weft_gateway_closes_total", s, "reason"), "{{reason}}"), stack="normal"),
        lines("Connections begun", "By what carries them and how their clients speak.", "reqps",
              (rate("weft_gateway_connections_opened_total", s, "transport, dialect"), "{{dialect}} by {{transport}}"), stack="normal"),
        lines("Connections by kind", "Open now, by what carries them and how their clients speak.", "short",
              (total("weft_gateway_connections", s, "transport, dialect"), "{{dialect}} by {{transport}}"), stack="normal"),
        quantiles("How long connections last", "From begin to end, of those that ended.", "weft_gateway_connection_seconds", s),
        lines("Turned away", "Clients that were not let in, or got no history, by reason: rate and history are admission at work, capacity is a gateway that is full.", "reqps",
              (rate("weft_gateway_turned_away_total", s, "reason"), "{{reason}}")),
        lines("Waiting", "Handshakes that wait to be let in, and reads of history that wait for their turn.", "short",
              (total("weft_gateway_admission_waiting", s), "handshakes"), (total("weft_gateway_history_waiting", s), "reads of history")),
        lines("Late and large requests", "Bodies that did not come within WEFT_BODY_SECS; heads and bodies beyond their bytes.", "short",
              (rate("weft_gateway_late_bodies_total", s), "late bodies"), (rate("weft_gateway_large_requests_total", s, "part"), "large {{part}}")),
        quantiles("Round trip of pings", "From a ping to the client's answer: the quality of connections.", "weft_gateway_round_trip_seconds", s),
    ]


def bus(s, by):
    legend = f"{{{{{by}}}}}"
    return [
        up("Broker connected", "The live path is confirmed by a canary every two seconds.", total("weft_bus_up", s, by, "min"), legend),
        quantiles("Round trip of the canary", "Through the broker and back.", "weft_bus_probe_seconds", s),
        lines("Reconnects to the broker", "Times that the live path was lost and restored.", "short",
              (f"sum by ({by}) (increase(weft_bus_reconnects_total{{{s}}}{RATE}))", legend)),
        lines("Publications", "One for each room of an event, by what became of it.", "short", (rate("weft_bus_published_total", s, "outcome"), "{{outcome}}")),
        lines("Reads on the broker", "By what is read.", "short", (rate("weft_bus_reads_total", s, "kind"), "{{kind}}")),
        lines("Live messages dropped", "reader_behind: this process read too slowly; every room is checked then.", "short",
              (rate("weft_bus_live_dropped_total", s, "cause"), "{{cause}}")),
        lines("Bus in memory", "Bytes of the events of all rooms, where the bus is inside one gateway. Empty until the first.", "bytes", (total("weft_bus_memory_bytes", s, by), legend)),
    ]


def containers(name):
    inside = f'namespace=~"$namespace",container="{name}"'
    return [
        lines("CPU", "From the kubelet (cAdvisor).", "none", (f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{inside}}}{RATE}))", "{{pod}}")),
        lines("Memory", "Working set, from the kubelet (cAdvisor): what the limit counts.", "bytes",
              (f"sum by (pod) (container_memory_working_set_bytes{{{inside}}})", "{{pod}}")),
        lines("Restarts", "From kube-state-metrics.", "short", (f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{inside}}}{RATE}))", "{{pod}}")),
    ]


def fleet():
    s = 'namespace=~"$namespace",instance=~"$instance"'
    connections = total("weft_gateway_connections", s, "instance")
    overview = [
        stat("Connections", "Client connections open now.", "short", total("weft_gateway_connections", s)),
        stat("Gateways", "That report.", "none", f"count(count by (instance) (weft_gateway_connections{{{s}}}))"),
        stat("Deliveries", "Event frames handed to sockets.", "reqps", rate(DELIVERED, s)),
        stat("Failed deliveries", "Share of the last hour. The objective is 0.1 %.", "percentunit", success(s, "[1h]"), red_from=0.001, decimals=3),
        stat("p99 to the socket", "From the gateway's receipt.", "s",
             f"histogram_quantile(0.99, sum by (le) (rate(weft_gateway_delivery_seconds_bucket{{{s}}}{RATE})))", red_from=0.25),
        stat("Error budget left", "Of 30 days, with 99.9 % of deliveries as the objective.", "percentunit", f"1 - ({success(s, '[30d]')}) / 0.001", red_below=0),
        stat("Without broker", "Gateways whose live path is lost.", "none", f'sum(1 - weft_bus_up{{{s},job="weft-gateway"}})', red_from=1),
        stat("Degraded", "Gateways that have not caught up yet.", "none", total("weft_gateway_bus_degraded", s), red_from=1),
        stat("Leaving", "Gateways that drain.", "none", total("weft_gateway_draining", s)),
        stat("Reconnects", "Connections that resumed at least one room, in a second.", "reqps", rate("weft_gateway_reconnects_total", s)),
        stat("Tail repairs", "Rooms in which live events were lost silently, in the last hour.", "short",
             f'sum(increase(weft_gateway_repairs_total{{{s},cause="tail"}}[1h]))', red_from=1, decimals=0),
        stat("Rooms", "Followed on the bus, over all gateways.", "short", total("weft_gateway_rooms", s)),
        stat("Versions", "That run: two during a rollout.", "none", f"count(count by (version, revision) (weft_build_info{{{s},job=\"weft-gateway\"}}))"),
    ]
    people = [
        lines("Connections by gateway", "How even they are; a new gateway fills within the maximum age of connections.", "short", (connections, "{{instance}}")),
        lines("Connections by version", "How far a rollout is.", "short",
              (f"sum by (version, revision) (weft_gateway_connections{{{s}}} * on (namespace, instance) group_left (version, revision) weft_build_info{{{s}}})", "{{version}} {{revision}}")),
        lines("Places used", "Connections of those that a gateway may have.", "percentunit",
              (f"sum by (instance) (weft_gateway_connections{{{s}}}) / sum by (instance) (weft_gateway_connections_max{{{s}}})", "{{instance}}")),
        lines("Imbalance", "(largest - smallest) / mean.", "percentunit", (f"(max({connections}) - min({connections})) / avg({connections})", "imbalance")),
        lines("Reconnects by gateway", "Connections that resumed at least one room.", "reqps", (rate("weft_gateway_reconnects_total", s, "instance"), "{{instance}}")),
        lines("Connections ended", "By close code: 1012 drain, 4408 no answer to pings, 4409 does not read, 4401 and 4403 refused, 0 none.", "reqps",
              (rate("weft_gateway_closes_total", s, "code"), "{{code}}"), stack="normal"),
        up("Leaving by gateway", "Gateways that drain.", total("weft_gateway_draining", s, "instance", "max"), "{{instance}}", good=0),
        lines("Commands", "From clients, by their answer.", "reqps", (rate("weft_gateway_commands_total", s, "outcome"), "{{outcome}}")),
    ]
    scaling = containers("gateway") + [
        lines("Memory for each connection", "Working set divided by connections; logs and the process itself included.", "bytes",
              ('sum(container_memory_working_set_bytes{namespace=~"$namespace",container="gateway"}) / sum(weft_gateway_connections{namespace=~"$namespace"})', "bytes")),
        lines("Replicas", "From kube-state-metrics.", "none",
              ('sum by (deployment) (kube_deployment_status_replicas_available{namespace=~"$namespace",deployment=~".*-gateway"})', "available {{deployment}}"),
              ('sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_desired_replicas{namespace=~"$namespace"})', "wanted {{horizontalpodautoscaler}}")),
    ]
    instance = variable("instance", "Gateway", 'label_values(weft_gateway_connections{namespace=~"$namespace"}, instance)')
    rows = [("Overview", overview, False), ("Connections", people + coming_and_going(s) + socketio(s), False), ("Access", access(s) + tls(s, "instance"), False),
            ("Delivery", delivery(s, "instance"), False), ("Loss and repair", repair(s, "instance"), False), ("Broker", bus(f'{s},job="weft-gateway"', "instance"), False),
            ("Memory and bounds", memory(s, "instance"), False), ("Processes", process(f'{s},job="weft-gateway"', "instance"), False), ("Kubernetes", scaling, True)]
    return dashboard("weft-fleet", "Weft / Fleet", "All gateways.", [NAMESPACE, instance], rows)


def one_gateway():
    s = 'namespace=~"$namespace",instance="$instance"'
    overview = [
        stat("Connections", "Client connections open now.", "short", total("weft_gateway_connections", s)),
        stat("Rooms", "Followed on the bus.", "short", total("weft_gateway_rooms", s)),
        stat("Deliveries", "Event frames handed to sockets.", "reqps", rate(DELIVERED, s)),
        stat("Broker", "1: connected and confirmed.", "none", total("weft_bus_up", s, kind="min"), red_below=1),
        stat("Degraded", "1: not caught up yet.", "none", total("weft_gateway_bus_degraded", s, kind="max"), red_from=1),
        stat("Leaving", "1: it drains.", "none", total("weft_gateway_draining", s, kind="max")),
    ]
    people = [
        lines("Connections", "Open now, and as many as there may be.", "short", (total("weft_gateway_connections", s), "connections"),
              (total("weft_gateway_connections_max", s), "most")),
        lines("Reconnects", "Connections that resumed at least one room.", "reqps", (rate("weft_gateway_reconnects_total", s), "reconnects")),
        lines("Connections ended", "By close code; 0 is an end without one.", "reqps", (rate("weft_gateway_closes_total", s, "code"), "{{code}}"), stack="normal"),
        lines("Errors of accepting", "Mostly for want of descriptors.", "short", (rate("weft_gateway_accept_errors_total", s), "errors")),
        lines("Commands", "From clients, by their answer.", "reqps", (rate("weft_gateway_commands_total", s, "outcome"), "{{outcome}}")),
        heatmap("From the broker's store to the socket, spread", "The skew of two clocks is in it.", "weft_gateway_published_to_socket_seconds", s),
    ]
    events = [
        lines("Head advances", "Of what comes by POST /api/events.", "short", (rate("weft_head_advances_total", s, "result"), "{{result}}")),
        lines("Executions known", "Whose owner this process remembers.", "short", (total("weft_heads_known", s), "executions")),
    ]
    instance = variable("instance", "Gateway", 'label_values(weft_gateway_connections{namespace=~"$namespace"}, instance)', multi=False, includeAll=False, current={})
    rows = [("Overview", overview, False), ("Connections", people + coming_and_going(s) + socketio(s), False), ("Access", access(s) + tls(s, "instance"), False),
            ("Delivery", delivery(s, "instance"), False), ("Loss and repair", repair(s, "instance"), False), ("Broker", bus(s, "instance"), False), ("Memory and bounds", memory(s, "instance"), False),
            ("Events that come by HTTP", events, False), ("Process", process(s, "instance"), False)]
    return dashboard("weft-gateway", "Weft / One gateway", "Everything that one gateway measures.", [NAMESPACE, instance], rows)


def executors_and_broker():
    s = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
    running = [
        stat("Executions", "That run now.", "short", total("weft_executor_running", s)),
        stat("Not stored yet", "Events in the retry buffers.", "short", total("weft_publisher_pending_events", s), red_from=10000),
        stat("Stored", "Events stored in every room they reach.", "reqps", rate("weft_publisher_stored_total", s)),
        stat("Without broker", "Processes whose live path is lost.", "none", f"sum(1 - weft_bus_up{{{s}}})", red_from=1),
        stat("p99 to the store", "From giving an event to the publisher until it is stored in every room.", "s",
             f"histogram_quantile(0.99, sum by (le) (rate(weft_publisher_store_seconds_bucket{{{s}}}{RATE})))", red_from=1),
        stat("Buffer", "The fullest retry buffer, of what it may hold.", "percentunit", f"max(weft_publisher_buffer_bytes{{{s}}} / weft_publisher_buffer_bytes_max{{{s}}})", red_from=0.75),
    ]
    executions = [
        lines("Executions that run", "By executor, and as many as may.", "short", (total("weft_executor_running", s, "instance"), "{{instance}}"),
              (total("weft_executor_executions_max", s, "instance"), "most {{instance}}")),
        lines("Executions that ended", "By outcome, refused ones included.", "reqps", (rate("weft_executor_executions_total", s, "outcome"), "{{outcome}}")),
        quantiles("Time of a node", "Of one attempt, by kind.", "weft_executor_node_seconds", s, by="kind"),
        lines("Nodes", "Attempts that ended, by outcome.", "reqps", (rate("weft_executor_nodes_total", s, "outcome"), "{{outcome}}")),
        lines("Commands", "Taken from the bus or a gateway.", "reqps", (rate("weft_executor_commands_total", s, "kind, outcome"), "{{kind}} {{outcome}}")),
        lines("HTTP requests", "Answered by executors.", "reqps", (rate("weft_executor_http_requests_total", s, "status"), "{{status}}")),
        lines("Output that was cut", "Lines beyond the bounds of a node, counted and not told.", "short",
              (rate("weft_executor_output_lines_cut_total", s), "lines")),
        lines("Events refused", "By the publisher, at once.", "short", (rate("weft_executor_events_refused_total", s), "events")),
    ]
    publishing = [
        lines("Events not stored yet", "In the retry buffers.", "short", (total("weft_publisher_pending_events", s, "instance"), "{{instance}}")),
        lines("Retry buffers", "And as much as they may hold; when one is full, what produces events waits.", "bytes",
              (total("weft_publisher_buffer_bytes", s, "instance"), "{{instance}}"), (total("weft_publisher_buffer_bytes_max", s, "instance"), "most {{instance}}")),
        lines("Events stored", "In every room they reach.", "reqps", (rate("weft_publisher_stored_total", s, "instance"), "{{instance}}")),
        quantiles("Time to the store", "From giving an event to the publisher until it is stored in every room.", "weft_publisher_store_seconds", s),
        lines("Retries", "Events put back to be sent again.", "short", (rate("weft_publisher_retries_total", s, "instance"), "{{instance}}")),
        lines("Events lost", "The one loss that no gap can tell.", "short", (rate("weft_publisher_lost_total", s, "reason"), "{{reason}}")),
        lines("Head advances", "Attempts to move an execution's durable state to the end of what is stored.", "short",
              (rate("weft_head_advances_total", s, "result"), "{{result}}")),
        lines("Executions known", "Whose owner a process remembers.", "short", (total("weft_heads_known", s, "instance"), "{{instance}}")),
        lines("Heads far behind", "Times that events went on although their execution's head was far behind.", "short",
              (rate("weft_head_waits_exceeded_total", s), "times")),
    ]
    nats = [
        lines("NATS connections", "From prometheus-nats-exporter.", "short", ("sum by (server_id) (gnatsd_varz_connections)", "{{server_id}}")),
        lines("NATS slow consumers", "From prometheus-nats-exporter. Each lost live messages.", "short", ("sum by (server_id) (gnatsd_varz_slow_consumers)", "{{server_id}}")),
        lines("NATS memory", "From prometheus-nats-exporter.", "bytes", ("sum by (server_id) (gnatsd_varz_mem)", "{{server_id}}")),
    ]
    redis = [
        lines("Redis clients", "From redis_exporter.", "short", ("sum by (instance) (redis_connected_clients)", "{{instance}}")),
        lines("Redis memory", "From redis_exporter.", "bytes", ("sum by (instance) (redis_memory_used_bytes)", "{{instance}}")),
        lines("Redis commands", "From redis_exporter.", "reqps", (f"sum by (instance) (rate(redis_commands_processed_total{RATE}))", "{{instance}}")),
    ]
    job = variable("job", "Job", 'label_values(weft_bus_up{namespace=~"$namespace"}, job)')
    instance = variable("instance", "Process", 'label_values(weft_bus_up{namespace=~"$namespace",job=~"$job"}, instance)')
    rows = [("Overview", running, False), ("Executions", executions, False), ("Publishing", publishing, False), ("Broker, as processes see it", bus(s, "instance"), False),
            ("Processes", process(s, "instance"), False),
            ("NATS", nats, True), ("Redis", redis, True), ("Kubernetes", containers("executor"), True)]
    return dashboard("weft-executors-and-broker", "Weft / Executors and broker", "What is run, published and stored.", [NAMESPACE, job, instance], rows)


def main():
    wrong = []
    for name, board in {"fleet": fleet(), "gateway": one_gateway(), "executors-and-broker": executors_and_broker()}.items():
        path, text = TARGET / f"{name}.json", json.dumps(board, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            wrong.append(path.name)
    if wrong:
        sys.exit(f"not what dashboards.py writes: {', '.join(wrong)}; run python3 deploy/grafana/dashboards.py")


if __name__ == "__main__":
    main()
