# Sourced by the builds of the images that tests run, on machines that can pull none: Debian's packages, and nothing else.
# Needs mmdebstrap and a running Docker engine. A second build with the same recipe does nothing.

release=bookworm # the Debian release whose packages they are made of

recipe_of() { docker image inspect --format '{{index .Config.Labels "savepoint.recipe"}}' "$1" 2>/dev/null || true; }

build_image() { # IMAGE FOLDER PACKAGES FURNISHING
    local image=$1 folder=$2 packages=$3 furnishing=$4 recipe context
    recipe=$(find "$folder" "${BASH_SOURCE[0]}" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)
    if [[ $(recipe_of "$image") != "$recipe" ]]; then
        context=$(mktemp -d)
        trap "rm -rf '$context'" EXIT
        mmdebstrap --quiet --variant=extract --include="$packages" --aptopt='APT::Install-Recommends "false"' \
            --extract-hook="$furnishing" "$release" "$context/root.tar"
        cp "$folder/Dockerfile" "$context"
        docker build --quiet --build-arg recipe="$recipe" --tag "$image" "$context" >/dev/null
    fi
    echo "$image is ready (recipe $recipe)."
}

tag_unless_real() { # IMAGE OFFICIAL: one that was pulled on this machine is the real one, and better than ours
    if ! docker image inspect "$2" >/dev/null 2>&1 || [[ -n $(recipe_of "$2") ]]; then
        docker tag "$1" "$2"
    fi
}
