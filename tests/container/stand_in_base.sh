#!/usr/bin/env bash
# Makes an image that stands in for python:3.11-slim where no registry can be reached:
# Debian 12 with its own Python 3.11. Needs root, debootstrap and buildah.
#
#   tests/container/stand_in_base.sh [IMAGE]
set -euo pipefail

image=${1:-localhost/debian-python:3.11}
root=$(mktemp -d)
trap 'rm -rf --one-file-system -- "$root"' EXIT

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
  bookworm "$root"
rm -rf -- "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
# mktemp's own mode would keep everyone but root out of the image.
chmod 755 "$root"

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" /
buildah config --cmd python3 "$container"
buildah commit --quiet --rm "$container" "$image"
