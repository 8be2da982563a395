"""Checks the compose file and the files it mounts: by the loader of Docker Compose itself, and for what that cannot see.

    python compose.py [<program of github.com/compose-spec/compose-go/v2/cmd>]

Nothing is started: that needs Docker.
"""

import copy
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def problems(model):
    services = model["services"]
    for name, service in services.items():
        if not re.search(r":[^/]+$", service["image"]) or service["image"].endswith(":latest"):
            yield f"{name}: its image has no version"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to the network, and nobody authenticates"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (COMPOSE / source).exists():
                yield f"{name}: {source} is not there"
            if not source.startswith(".") and source not in model["volumes"]:
                yield f"{name}: there is no volume {source}"
        for other in service.get("depends_on", []):
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"
        environment = service.get("environment", {})
        if "WEFT_DRAIN_SECS" in environment:
            if seconds(service["stop_grace_period"]) < int(environment["WEFT_DRAIN_SECS"]) + 10:
                yield f"{name}: is killed before it has left"
            if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
                yield f"{name}: has more rights than in a cluster"
        address = service.get("networks", {}).get("default", {}).get("ipv4_address")
        peers = environment.get("WEFT_PEER_LISTEN")
        if peers and (not address or peers.rsplit(":", 1)[0] != address):
            yield f"{name}: others do not reach it at {peers}"
        if peers and not any(config["target"] == environment.get("WEFT_FLEET_KEY_FILE") for config in service.get("configs", [])):
            yield f"{name}: does not start: it has no key of the fleet"
        proxy_address = services["proxy"]["networks"]["default"]["ipv4_address"]
        if "WEFT_PEER_LISTEN" in environment and environment.get("WEFT_TRUSTED_PROXIES") != proxy_address:
            yield f"{name}: takes all clients for one address"
        build = service.get("build")
        if build:
            dockerfile = (COMPOSE / build["context"] / build["dockerfile"]).read_text()
            if f" AS {build['target']}\n" not in dockerfile:
                yield f"{name}: the Dockerfile has no target {build['target']}"
    addresses = [service["networks"]["default"]["ipv4_address"] for service in services.values() if "networks" in service]
    if len(set(addresses)) != len(addresses):
        yield "two services have one address"
    for name, config in model["configs"].items():
        path = COMPOSE / config.get("file", "")
        if "file" not in config:
            yield f"{name}: Compose copies it into containers that are read-only, and refuses to start them"
        elif not path.is_file() or len(path.read_text().strip()) < 32:
            yield f"{name}: {path.name} is no key of 32 bytes"
        elif not path.stat().st_mode & 0o004:
            yield f"{name}: the gateways' user cannot read {path.name}"
    proxy = (COMPOSE / "haproxy.cfg").read_text()
    if "option forwardfor" not in proxy:
        yield "haproxy.cfg does not say whose requests it passes on"
    served = set(re.findall(r"^\s*server \S+ ([\w-]+):3001$", proxy, re.M))
    gateways = {name for name in services if name.startswith("gateway-")}
    if served != gateways:
        yield f"haproxy.cfg serves {sorted(served)}, not {sorted(gateways)}"
    scraped = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    jobs = {job["job_name"]: {target.split(":")[0] for one in job["static_configs"] for target in one["targets"]} for job in scraped}
    if jobs != {"weft-gateway": gateways, "weft-executor": {"executor"}}:
        yield f"prometheus.yaml scrapes {jobs}"


MUTANTS = {
    "open port": lambda m: m["services"]["grafana"].update(ports=["3000:3000"]),
    "missing file": lambda m: m["services"]["proxy"].update(volumes=["./nginx.conf:/etc/nginx.conf:ro"]),
    "short grace": lambda m: m["services"]["gateway-1"].update(stop_grace_period="5s"),
    "third gateway": lambda m: m["services"].update({"gateway-3": copy.deepcopy(m["services"]["gateway-1"])}),
    "latest": lambda m: m["services"]["nats"].update(image="nats:latest"),
    "address of another": lambda m: m["services"]["gateway-1"]["networks"]["default"].update(ipv4_address="172.29.77.13"),
    "address twice": lambda m: m["services"]["proxy"]["networks"]["default"].update(ipv4_address="172.29.77.12"),
    "proxy not believed": lambda m: m["services"]["gateway-1"]["environment"].pop("WEFT_TRUSTED_PROXIES"),
    "no key of the fleet": lambda m: m["services"]["gateway-2"].update(configs=[]),
    "no file of the key": lambda m: m["configs"]["fleet-key"].update(file="./fleet"),
    "key within": lambda m: m["configs"].update({"fleet-key": {"content": "for-trying-out-on-one-machine-and-nothing-else"}}),
    "root can be written": lambda m: m["services"]["executor"].pop("read_only"),
}


def loads(loader, path):
    run = subprocess.run([Path(loader).resolve(), str(path)], capture_output=True, text=True, cwd=COMPOSE)
    return run.returncode == 0, run.stdout[-300:] + run.stderr


def main():
    path = COMPOSE / "compose.yaml"
    model = yaml.safe_load(path.read_text())
    failures = list(problems(model))
    for name, plant in MUTANTS.items():
        mutant = copy.deepcopy(model)
        plant(mutant)
        if not list(problems(mutant)):
            failures.append(f"this mistake is not noticed: {name}")
    if len(sys.argv) > 1:
        is_good, said = loads(sys.argv[1], path)
        if not is_good:
            failures.append(said)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as bad:
            bad.write("services: {a: {image: a, comand: b}}\n")
            bad.flush()
            if loads(sys.argv[1], bad.name)[0]:
                failures.append("Compose's loader takes an unknown key: it checks nothing")
    for config in (["haproxy", "-c", "-f", "haproxy.cfg"], ["promtool", "check", "config", "--syntax-only", "prometheus.yaml"]):
        run = subprocess.run(config, capture_output=True, text=True, cwd=COMPOSE)
        if run.returncode != 0:
            failures.append(run.stdout + run.stderr)
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{len(model['services'])} services, {'with' if len(sys.argv) > 1 else 'without'} the loader of Compose")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
