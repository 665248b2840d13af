#!/bin/sh
# Any other system, and a shell: an image for another platform, on a machine with Docker.
set -eu
: "${BINFMT_IMAGE:=registry.example.com/binfmt@sha256:DIGEST}"
docker run --rm --privileged "$BINFMT_IMAGE" install arm64
docker run --rm --privileged "$BINFMT_IMAGE" check arm64
docker buildx build --platform linux/arm64 .
