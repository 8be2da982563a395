"""Starts gateways with the very environment that the chart gives them, for every CI values file.

    python starts.py [directory with the programs]       default: target/debug

Only what must be otherwise on this machine is changed: the bus is in memory, addresses are of loopback with free ports, files
hold keys made here. Each must come up, let strangers in or not as it was asked to, and pass the chart's own test; each setting
that is spoilt must stop it with its name. Needs openssl.
"""

import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import chart
from lab import ROOT, Lab, free_port, token

# What others provide and no memory bus can have.
FOREIGN = ("WEFT_BUS_CREDENTIALS_FILE", "WEFT_BUS_TLS_CA_FILE", "WEFT_BUS_TLS_CERT_FILE", "WEFT_BUS_TLS_KEY_FILE")
# One for each kind of setting that the chart makes up or passes on.
SPOILT = {
    "WEFT_AUTH": "yes",
    "WEFT_JWT_SECRET_FILE": "/nowhere",
    "WEFT_JWT_PUBLIC_KEY_FILE": "/nowhere",
    "WEFT_JWKS_URL": "http://idp.example/",
    "WEFT_AUTHORIZE_URL": "jwks",
    "WEFT_ORIGINS": "app.example",
    "WEFT_TRUSTED_PROXIES": "10.0.0.0/99",
    "WEFT_FLEET_KEY_FILE": "/nowhere",
    "WEFT_PEER_LISTEN": "$(POD_IP):3003",
    "WEFT_CONTROL_TOKEN_FILE": "/nowhere",
    "WEFT_CONNECTIONS_MAX": "0",
    "WEFT_CONNECTIONS_PER_ADDRESS_MAX": "-1",
    "WEFT_TRACE_RATIO": "2",
    "WEFT_DRAIN_DELAY_SECS": "-1",
    "WEFT_CONNECTION_AGE_MAX_SECS": "old",
    "WEFT_CONNECTS_PER_SEC": "many",
    "WEFT_TLS_CERT_FILE": "/nowhere",
    "WEFT_TLS_KEY_FILE": "/nowhere",
}


GIVEN = set()
# Its certificate is made here.
ANYBODY = ssl._create_unverified_context()


def unused_port():
    """One that no other setting here has been given."""
    while (port := free_port()) in GIVEN:
        pass
    GIVEN.add(port)
    return port


def content(variable, directory):
    if variable == "WEFT_JWT_PUBLIC_KEY_FILE":
        key = directory / "ed25519.key"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
        return subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout
    if variable in ("WEFT_TLS_CERT_FILE", "WEFT_TLS_KEY_FILE"):
        certificate, key = directory / "made.crt", directory / "made.key"
        if not key.exists():
            made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
            subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return (certificate if variable == "WEFT_TLS_CERT_FILE" else key).read_text()
    return os.urandom(32).hex()


def environment(objects, program, directory):
    """What the chart says, for this machine."""
    deployment = next(item for item in objects if item["kind"] == "Deployment" and item["metadata"]["name"].endswith(f"-{program}"))
    env, references = {}, {"POD_IP": "127.0.0.1"}
    for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        name, value = entry["name"], entry.get("value")
        if name in FOREIGN or name in references:
            continue
        if value is None:
            value = {"metadata.name": "weft-gateway-0"}.get(entry["valueFrom"].get("fieldRef", {}).get("fieldPath"), "secret")
        if name.endswith("_FILE"):
            path = directory / value.strip("/").replace("/", "-")
            path.write_text(content(name, directory))
            value = str(path)
        if name.endswith("_LISTEN"):
            value = f"127.0.0.1:{unused_port()}"
        env[name] = value
    return {**env, "WEFT_BUS": "memory:"}


def listens(env):
    """What it answers to whoever brings nothing."""
    try:
        scheme = "https" if "WEFT_TLS_CERT_FILE" in env else "http"
        with urllib.request.urlopen(f"{scheme}://{env['WEFT_LISTEN']}/api/executions", timeout=5, context=ANYBODY) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def receives(lab, env):
    """What the chart's own test says of it, where a token for it can be made here."""
    secret, variables = env.get("WEFT_JWT_SECRET_FILE"), {}
    if env["WEFT_AUTH"] == "jwt" and not secret:
        return None
    if secret:
        path = lab.directory / "token"
        path.write_text(token(Path(secret).read_text(), "test", scope="events:publish", rooms=["execution:test-*"]))
        variables["WEFT_TEST_TOKEN_FILE"] = str(path)
    scheme = "https" if "WEFT_TLS_CERT_FILE" in env else "http"
    command = [sys.executable, ROOT / "helm/weft/files/receives.py", f"{scheme}://{env['WEFT_LISTEN']}", "20"]
    run = subprocess.run([str(part) for part in command], env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=60)
    print((run.stdout + run.stderr).strip())
    return None if run.returncode == 0 else run.stderr


def came_up(lab, name, env):
    lab.start(name, lab.programs / "gateway", **env)
    try:
        lab.wait(name, f"http://{env['WEFT_ADMIN_LISTEN']}/livez", 20)
    except SystemExit as reason:
        return str(reason)
    # A key set that cannot be reached is no reason not to start; nobody is let in.
    status, wanted = listens(env), (401, 503) if env["WEFT_AUTH"] == "jwt" else (200,)
    if status not in wanted:
        return f"{name}: answers {status} to a stranger, not {wanted}"
    return receives(lab, env)


def stops(lab, env):
    run = subprocess.run([lab.programs / "gateway"], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=20)
    return run.returncode, (run.stderr.strip().splitlines() or [""])[-1]


def main():
    lab = Lab(sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug")
    failures, releases, spoilt = [], chart.ci_values(), set()
    try:
        for name, values in releases.items():
            env = environment(chart.render(values), "gateway", lab.directory)
            env["WEFT_DRAIN_SECS"] = "1"
            problem = came_up(lab, name, env)
            failures += [problem] if problem else []
            for setting in SPOILT.keys() & env.keys() - spoilt:
                spoilt.add(setting)
                code, said = stops(lab, {**env, setting: SPOILT[setting], "WEFT_ADMIN_LISTEN": f"127.0.0.1:{unused_port()}", "WEFT_LISTEN": f"127.0.0.1:{unused_port()}"})
                # 69: what is to be there, such as a file, is not.
                if code not in (64, 69) or setting not in said:
                    failures.append(f"{name}: with {setting}={SPOILT[setting]} it ends with {code}: {said}")
    finally:
        lab.end()
    failures += [f"{setting} is in no CI values" for setting in SPOILT.keys() - spoilt]
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{len(releases)} releases, {len(spoilt)} spoilt settings")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
