"""The proxies of deploy/proxy with the addresses of gateways on this machine, and nothing else changed."""

import os
import re
import shutil

from lab import ROOT, steady_port

FILES = ROOT / "deploy" / "proxy"
CACHE = os.environ.get("WEFT_CACHE", str(ROOT / ".cache" / "ops"))
NAMES = ("nginx", "haproxy", "envoy")


def gateways_of(name, gateways):
    """What stands between the comments "gateways" and "end"."""
    for number, gateway in enumerate(gateways, 1):
        if name == "nginx":
            yield f"server 127.0.0.1:{gateway.http} max_fails=3 fail_timeout=2s;"
        elif name == "haproxy":
            yield f"server gateway-{number} 127.0.0.1:{gateway.http} port {gateway.admin}"
        else:
            yield "- endpoint:"
            yield f"    address: {{socket_address: {{address: 127.0.0.1, port_value: {gateway.http}}}}}"
            yield f"    health_check_config: {{port_value: {gateway.admin}}}"


def configuration(name, gateways, port, **changes):
    """A file of deploy/proxy for this machine; `changes` replaces further words, each of which must be there."""
    text = next((FILES / name).iterdir()).read_text()
    block = re.compile(r"^( *)# gateways\n.*?^ *# end\n", re.M | re.S)
    assert block.search(text), f"{name}: no gateways"
    text = block.sub(lambda found: "".join(f"{found[1]}{line}\n" for line in gateways_of(name, gateways)), text)
    words = {"nginx": {"listen 8080": f"listen 127.0.0.1:{port}"}, "haproxy": {"bind :8080": f"bind 127.0.0.1:{port}"},
             "envoy": {"address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {port}"}}[name]
    for old, new in {**words, **changes}.items():
        assert old in text, f"{name}: no {old}"
        text = text.replace(old, new)
    return text


def command(name, path, lab):
    if name == "nginx":
        # Without root it may not write where Debian's nginx does.
        return [found("nginx"), "-c", path, "-p", lab.directory, "-g", f"daemon off; pid {lab.directory}/nginx.pid;"]
    if name == "haproxy":
        return [found("haproxy"), "-db", "-f", path]
    return [found("envoy"), "-c", path, "--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]


def found(program):
    return shutil.which(program) or shutil.which(program, path=f"{CACHE}/envoy/bin:/usr/sbin:/usr/local/sbin") or program


def start(lab, name, gateways, **changes):
    """Its address, once it answers."""
    port = steady_port()
    path = lab.directory / f"{name}.{'yaml' if name == 'envoy' else 'conf'}"
    path.write_text(configuration(name, gateways, port, **changes))
    lab.start(name, *command(name, path, lab))
    lab.wait(name, f"http://127.0.0.1:{port}/api/ws/health")
    return f"http://127.0.0.1:{port}"
