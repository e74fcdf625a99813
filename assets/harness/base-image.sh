#!/usr/bin/env bash
# Provides debian:bookworm-slim: pulled, or made with debootstrap where no registry can be reached.
#   PULL_TIMEOUT=60   seconds to wait for the registry
#   DEBIAN_MIRROR=…   where debootstrap gets its packages
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

image=debian:bookworm-slim
suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if image_exists "$image"; then
    exit 0
fi

say "pulling $image"
if timeout --foreground "${PULL_TIMEOUT:-60}" docker pull -q "$image"; then
    exit 0
fi
say "no registry answers: making $image with debootstrap"

if [[ $(id -u) != 0 ]]; then
    die "making $image takes root: run '$HARNESS_DIR/base-image.sh' as root once, or 'docker load' that image"
fi
if ! command -v debootstrap > /dev/null; then
    command -v apt-get > /dev/null || die "debootstrap is needed to make $image"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-base.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$work/root

if ! debootstrap --variant=minbase "$suite" "$root" "$mirror" > "$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    die "debootstrap failed"
fi

cat > "$root/etc/apt/sources.list" << SOURCES
deb $mirror $suite main
deb $mirror $suite-updates main
deb http://deb.debian.org/debian-security $suite-security main
SOURCES

# As in the official image: packages start no services while they are installed, and bring no documentation.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
cat > "$root/etc/dpkg/dpkg.cfg.d/docker" << 'DPKG'
path-exclude /usr/share/doc/*
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-include /usr/share/doc/*/copyright
force-unsafe-io
DPKG
cat > "$root/etc/apt/apt.conf.d/docker-clean" << 'APT'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Acquire::Languages "none";
APT

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
    "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/log/*
# The host's own.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

tar --numeric-owner -C "$root" -c . | docker import -c 'CMD ["bash"]' - "$image" > /dev/null
say "made $image"
