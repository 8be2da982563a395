"""What the chart confines a program to, in the words of podman and of the kernel: image.sh runs images by it.

    python confinement.py flags gateway      arguments of podman run, one a line
    python confinement.py facts gateway      lines that /proc/<pid>/status must hold

Read from the rendered Deployment, its pod's and its container's security context. A field that is not known here is an error: it
would be one that images are not tried with.
"""

import sys

import chart
import manifests

# What the kernel calls it; everything else has no effect that could be read there.
NO_CAPABILITIES = ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"]


class Unknown(Exception):
    """A field or value that images are not tried with."""


def confined(component):
    """The security context of a component's container, its pod's beneath it, and the directories that it may write."""
    spec = chart.find(chart.render(manifests.values("base")), "Deployment", f"weft-{component}")["spec"]["template"]["spec"]
    container = next(one for one in spec["containers"] if one["name"] == component)
    empty = {volume["name"] for volume in spec.get("volumes", []) if "emptyDir" in volume}
    writable = [mount["mountPath"] for mount in container.get("volumeMounts", []) if mount["name"] in empty]
    return {**spec["securityContext"], **container["securityContext"]}, writable


def translated(context, writable):
    """Arguments of podman, and what the kernel then says."""
    context, flags, facts = dict(context), [], []
    user, group = context.pop("runAsUser"), context.pop("runAsGroup")
    flags.append(f"--user={user}:{group}")
    facts += [f"Uid:\t{user}", f"Gid:\t{group}"]
    if context.pop("readOnlyRootFilesystem", False):
        flags += ["--read-only", "--read-only-tmpfs=false"]
    capabilities = context.pop("capabilities", {})
    dropped = capabilities.pop("drop", [])
    flags += [f"--cap-drop={name}" for name in dropped]
    facts += NO_CAPABILITIES if "ALL" in dropped else []
    if not context.pop("allowPrivilegeEscalation", True):
        flags.append("--security-opt=no-new-privileges")
        facts.append("NoNewPrivs:\t1")
    profile = context.pop("seccompProfile", {}).get("type")
    if profile == "RuntimeDefault":
        # Podman's own.
        facts.append("Seccomp:\t2")
    elif profile is not None:
        raise Unknown(f"seccompProfile: {profile}")
    # What these mean is that of runAsUser; whose a volume is has no meaning without one.
    for name in ("runAsNonRoot", "fsGroup", "fsGroupChangePolicy"):
        context.pop(name, None)
    if context or capabilities:
        raise Unknown(f"securityContext: {context} {capabilities}")
    return [*flags, *(f"--tmpfs={path}:rw,mode=1777" for path in writable)], facts


def main():
    what, component = sys.argv[1:]
    try:
        flags, facts = translated(*confined(component))
    except Unknown as unknown:
        sys.exit(f"image: {component}: not known how to try {unknown}")
    print("\n".join({"flags": flags, "facts": facts}[what]))


if __name__ == "__main__":
    main()
