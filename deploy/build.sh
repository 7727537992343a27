#!/usr/bin/env bash
# Build the image, push it, and write the Flex Template that launches it.
#
#   deploy/build.sh IMAGE TEMPLATE [BUNDLE]
#
# IMAGE     where the image goes, with a tag: europe-west1-docker.pkg.dev/PROJECT/REPOSITORY/terraseam:0.1.0
# TEMPLATE  where the template goes: gs://BUCKET/templates/terraseam.json
# BUNDLE    a folder, here or at gs://, that goes into the image as /bundles/NAME
#
# DEVICE=gpu in the environment takes the libraries of CUDA along.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
image=$1 template=$2 bundle=${3:-}
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "$bundle" ]; then
    name=$(basename "$bundle")
    rm -rf "${here:?}/bundles/$name"
    case $bundle in
        gs://*) gcloud storage cp --recursive "$bundle" "$here/bundles/" ;;
        *) cp -R "$bundle" "$here/bundles/$name" ;;
    esac
    if [ ! -f "$here/bundles/$name/card.json" ]; then
        echo "build.sh: $bundle has no card.json, so it is not a bundle" >&2
        exit 2
    fi
fi

docker build --file "$here/Dockerfile" --build-arg "DEVICE=${DEVICE:-cpu}" --build-arg "IMAGE=$image" \
    --tag "$image" "$here/.."
docker push "$image"
gcloud dataflow flex-template build "$template" --image "$image" --sdk-language PYTHON \
    --metadata-file "$here/metadata.json"
