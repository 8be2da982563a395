#!/usr/bin/env bash
# Checks everything that is made for operators and needs no cluster: the chart, k8s/, the images, compose, dashboards, alerts.
#
#   deploy/check.sh [quick]        about a minute
#   deploy/check.sh full           also mistakes in each alert, a security scan, the images, gateways with the chart's settings,
#                                  the rights on the broker, and, beside these, a live fabric under a real Prometheus: seven minutes.
#                                  Needs root, and the programs: PROGRAMS (default target/debug) for the live fabric, and
#                                  IMAGE_PROGRAMS (default target/<this machine>-unknown-linux-musl/release), static ones, for images
#
# Tools that are missing are fetched and named: Python packages into .cache/ops by pip, Go programs into .cache/ops/bin,
# Debian's by apt-get. A check whose tool cannot be had is NOT RUN, which fails the full run.
set -uo pipefail
cd "$(dirname "$0")/.."

mode=${1:-quick}
case $mode in quick | full) ;; *) printf 'check: what is %s? (quick, full)\n' "$mode" >&2; exit 64 ;; esac

. deploy/ci/steps.sh
compose_go=v2.4.9
kustomize=v5.5.0
checkov=3.3.30

# fetch_go <program> <module> <name that go gives it>
fetch_go() {
    [ -x "$WEFT_CACHE/bin/$1" ] && return
    has go || return 1
    say "building $2 into $WEFT_CACHE/bin"
    local place
    place=$(mktemp -d)
    GOBIN=$place go install "$2" && mkdir -p "$WEFT_CACHE/bin" && mv "$place/$3" "$WEFT_CACHE/bin/$1"
    local outcome=$?
    rm -rf "$place"
    return $outcome
}

# The schemas of CycloneDX; of the package that brings them nothing is run.
fetch_cyclonedx() {
    cmp -s deploy/ci/requirements-sbom.txt "$WEFT_CACHE/cyclonedx/requirements.txt" && return
    say "fetching CycloneDX's schemas into $WEFT_CACHE/cyclonedx"
    rm -rf "$WEFT_CACHE/cyclonedx"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target "$WEFT_CACHE/cyclonedx" \
        -r deploy/ci/requirements-sbom.txt && cp deploy/ci/requirements-sbom.txt "$WEFT_CACHE/cyclonedx/requirements.txt"
}

fetch_checkov() {
    [ -x "$WEFT_CACHE/checkov/bin/checkov" ] && return
    say "installing checkov $checkov into $WEFT_CACHE/checkov"
    python3 -m venv "$WEFT_CACHE/checkov" && "$WEFT_CACHE/checkov/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov"
}

alerts() {
    promtool check rules --lint-fatal deploy/prometheus/alerts.yaml && promtool test rules deploy/prometheus/alerts_test.yaml &&
        "$python" deploy/ci/alerts.py
}

# Of each severity there is one way.
routes() {
    local severity
    amtool check-config deploy/prometheus/alertmanager.yaml >/dev/null || return 1
    for severity in page ticket; do
        [ "$(amtool config routes test --config.file=deploy/prometheus/alertmanager.yaml severity=$severity alertname=WeftEventsLost)" = $severity ] ||
            { printf 'alerts of severity %s go elsewhere\n' $severity; return 1; }
    done
}

dockerfiles() {
    "$WEFT_CACHE/venv/bin/hadolint" deploy/docker/Dockerfile deploy/docker/Dockerfile.runtime && "$python" deploy/ci/dockerfile.py
}

scripts() {
    local script
    for script in deploy/check.sh deploy/ops.sh deploy/ci/steps.sh deploy/ci/image.sh; do bash -n "$script" || return 1; done
    sh -n deploy/docker/stage.sh && "$python" -c 'import ast, sys; [ast.parse(open(path).read(), path) for path in sys.argv[1:]]' deploy/ci/*.py deploy/ci/ops/*.py deploy/grafana/*.py helm/weft/files/*.py
}

# Left out, with reasons: 11 no CPU limit, which would delay all clients of a pod at once; 15 images have versions; 21 the
# namespace is chosen when it is installed; 35 the programs read the URL of the bus from their environment; 43 a digest is a
# value; 153 forbids also the one line of HAProxy's that semantics.py lets through.
security() {
    local rendered=$WEFT_CACHE/rendered.yaml
    "$python" - <<'PY' >"$rendered" || return 1
import sys
sys.path.insert(0, "deploy/ci")
import chart, yaml
for values in chart.ci_values().values():
    for item in chart.render(chart.merged(values, {"networkPolicy": {"enabled": True}})):
        if not chart.is_test(item):
            print("---\n" + yaml.safe_dump(item))
PY
    "$WEFT_CACHE/checkov/bin/checkov" --file "$rendered" --framework kubernetes --compact --quiet --skip-download \
        --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_21,CKV_K8S_35,CKV_K8S_43,CKV_K8S_153
}

programs=${PROGRAMS:-${CARGO_TARGET_DIR:-target}/debug}
# As releases have them; images of others would show nothing about those.
image_target=$(uname -m)-unknown-linux-musl
image_programs=${IMAGE_PROGRAMS:-${CARGO_TARGET_DIR:-target}/$image_target/release}

if ! fetch_python; then
    say "the Python packages cannot be had; nothing can be checked" >&2
    exit 1
fi

check "scripts can be read" scripts
if has cargo; then
    check "crates of others, unsafe code" "$python" deploy/ci/dependencies.py --bites
    if fetch_cyclonedx; then
        check "bills of materials" "$python" deploy/ci/sbom.py --check "$WEFT_CACHE/cyclonedx/cyclonedx/schema/_res"
    else
        not_run "bills of materials" "CycloneDX's schemas cannot be installed"
    fi
else
    not_run "bills of materials" "needs cargo"
    not_run "crates of others, unsafe code" "needs cargo"
fi
check "chart: values, refusals, README, lint" "$python" deploy/ci/values.py
check "chart: how objects fit together" "$python" deploy/ci/semantics.py
if has kubectl || has kustomize || fetch_go kustomize "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" kustomize; then
    check "k8s: no drift from the chart" "$python" deploy/ci/manifests.py
    if has go; then
        check "chart, k8s: strict schemas" "$python" deploy/ci/schemas.py
    else
        check "chart, k8s: strict schemas, core kinds" "$python" deploy/ci/schemas.py --without-crds
        not_run "chart: schemas of custom resources" "needs go, to download CRDs"
    fi
else
    not_run "k8s, and strict schemas" "needs kubectl, kustomize or go"
fi
check "settings exist" "$python" deploy/ci/settings.py
check "dashboards are what is written" python3 deploy/grafana/dashboards.py --check
if need promtool prometheus; then
    check "dashboards, alerts: metrics exist" "$python" deploy/ci/metrics.py
    check "alerts: rules, tests, runbooks" alerts
    [ "$mode" != full ] || check "alerts: their tests bite" "$python" deploy/ci/bites.py
    if need amtool prometheus-alertmanager; then
        check "alerts: where they go" routes
    else
        not_run "alerts: where they go" "needs amtool (apt-get install prometheus-alertmanager)"
    fi
else
    not_run "dashboards and alerts" "needs promtool (apt-get install prometheus)"
fi
check "Dockerfiles" dockerfiles
if need haproxy haproxy && need promtool prometheus; then
    if fetch_go compose-go "github.com/compose-spec/compose-go/v2/cmd@$compose_go" cmd; then
        check "compose" "$python" deploy/ci/compose.py "$WEFT_CACHE/bin/compose-go"
    else
        check "compose, by our rules" "$python" deploy/ci/compose.py
        not_run "compose, by its own loader" "needs go"
    fi
else
    not_run "compose" "needs haproxy and promtool"
fi

if [ "$mode" = full ]; then
    nats=${WEFT_TEST_NATS_SERVER:-}
    for place in .cache/natsvenv/bin /opt/natsvenv/bin; do
        [ -n "$nats" ] || [ ! -x "$place/nats-server" ] || nats=$place/nats-server
    done
    [ -n "$nats" ] || nats=$(command -v nats-server || true)
    # Which mostly waits for alerts.
    if [ -x "$programs/gateway" ] && [ -x "$programs/executor" ]; then
        if need prometheus prometheus; then
            beside "live dashboards and alerts" "$python" deploy/ci/live.py "$programs"
        else
            not_run "live dashboards and alerts" "needs prometheus"
        fi
    fi
    if fetch_checkov; then check "security scan" security; else not_run "security scan" "checkov cannot be installed"; fi
    if [ ! -x "$image_programs/gateway" ] || [ ! -x "$image_programs/executor" ]; then
        not_run "images" "$image_programs has no programs: deploy/dev/fetch.sh musl, cargo build --release --target $image_target --bins"
    elif [ "$(id -u)" -eq 0 ] && need buildah buildah && need podman podman && need runc runc && need strip binutils &&
        { [ -x /bin/busybox ] || apt_install busybox-static; } && need tini tini; then
        check "images ($image_programs)" deploy/ci/image.sh "$image_programs"
    else
        not_run "images" "needs root, buildah, podman, runc, binutils, busybox-static, tini"
    fi
    if [ ! -x "$programs/gateway" ] || [ ! -x "$programs/executor" ]; then
        not_run "gateways start with the chart's settings" "$programs has no programs: cargo build --bins"
        not_run "rights on the broker" "$programs has no programs: cargo build --bins"
        not_run "live dashboards and alerts" "$programs has no programs: cargo build --bins"
    else
        if need openssl openssl; then
            check "gateways start with the chart's settings" "$python" deploy/ci/starts.py "$programs"
        else
            not_run "gateways start with the chart's settings" "needs openssl"
        fi
        if [ -n "$nats" ] && need redis-server redis-server && need openssl openssl; then
            check "rights on the broker" env "WEFT_TEST_NATS_SERVER=$nats" "$python" deploy/ci/brokers.py --bites "$programs"
        else
            not_run "rights on the broker" "needs nats-server (deploy/dev/fetch.sh nats), redis-server, openssl"
        fi
    fi
    together
fi

summary
[ "$failed" -eq 0 ] && { [ "$mode" = quick ] || [ "$missing" -eq 0 ]; }
