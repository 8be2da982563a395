#!/bin/sh
# Lays out the root file system of an image: one program, the certificates it trusts, a user, and nothing else.
#
#   stage.sh gateway|executor <binary> <directory> [<workflows>]
#
# A static binary needs no library; of a dynamic one the libraries are copied. The executor runs commands, so it gets a
# shell and the usual small tools (busybox, static), an init that reaps what they leave behind (tini, static), and the
# sample workflows. Needs ca-certificates, for the executor also busybox-static and tini.
set -eu

program=$1 binary=$2 root=$3 workflows=${4:-}
fail() { printf 'stage: %s\n' "$*" >&2; exit 1; }

[ -x "$binary" ] || fail "$binary is no program"
[ -e /etc/ssl/certs/ca-certificates.crt ] || fail "no certificates: apt-get install ca-certificates"
[ ! -e "$root" ] || fail "$root exists"

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/tmp"
chmod 1777 "$root/tmp"
install -m 755 "$binary" "$root/usr/bin/$program"
strip "$root/usr/bin/$program" 2>/dev/null || strip --version >/dev/null || fail "no strip: apt-get install binutils"
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'weft:x:65532:65532::/tmp:/bin/false\n' >"$root/etc/passwd"
printf 'weft:x:65532:\n' >"$root/etc/group"

if libraries=$(ldd "$binary" 2>/dev/null); then
    printf '%s\n' "$libraries" | grep -o '/[^ ]*' | sort -u | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        install -m 755 "$library" "$root$library"
    done
fi

if [ "$program" = executor ]; then
    [ -x /bin/busybox ] || fail "no busybox: apt-get install busybox-static"
    ! ldd /bin/busybox >/dev/null 2>&1 || fail "busybox is not static: apt-get install busybox-static"
    [ -x /usr/bin/tini-static ] || fail "no tini: apt-get install tini"
    mkdir -p "$root/bin" "$root/usr/share/weft/workflows"
    install -m 755 /bin/busybox "$root/bin/busybox"
    install -m 755 /usr/bin/tini-static "$root/usr/bin/tini"
    for tool in $(/bin/busybox --list); do
        [ "$tool" = busybox ] || ln -s busybox "$root/bin/$tool"
    done
    [ -d "$workflows" ] || fail "no workflows in '$workflows'"
    cp -R "$workflows/." "$root/usr/share/weft/workflows/"
fi
