# shellcheck shell=bash
# How the images are made. Sourced after lib.sh, by every hook that boots something. The caller sets
#   PACKAGED   the services whose image is Debian's package
#   work       a directory for logs, which the caller removes
# and may set REBUILD=1 to build every image but the base again.
# shellcheck disable=SC2154

TARGET_DIR=$REPO_ROOT/target/harness
# The tenant harness's.
# shellcheck disable=SC2034  # read by its hooks
TENANT_PACKAGED=(postgres redis cf-proxy)

# Steps 1 to 3 of a boot: exports HARNESS_GIT_SHA, HARNESS_BINARY (the services' own, for this host) and
# HARNESS_<NAME>_IMAGE of each service. One at a time in a checkout: the services' image is made in a directory of its
# own. Who boots several stacks at once calls it before them, and share_images.
provide_images() {
    local compilation
    if [[ -n ${HARNESS_IMAGES_SHARED:-} ]]; then
        require_shared_images
        return
    fi
    TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
    [[ $TRIPLE == *-linux-* ]] || die "the services are linked for Linux, and this host is $TRIPLE"
    HARNESS_GIT_SHA=$(git_sha)
    HARNESS_BINARY=$TARGET_DIR/$TRIPLE/release/harness-services
    export HARNESS_GIT_SHA HARNESS_BINARY
    mkdir -p "$TARGET_DIR"
    exec 8> "$TARGET_DIR/images.lock"
    flock 8
    (compile_services) &
    compilation=$!
    provide_packaged_images
    step 3 "the build of the services"
    wait "$compilation" || die "the services cannot be built (linking statically takes the C library's archives: libc6-dev or glibc-static)"
    provide_services_image
    exec 8>&-
}

# What was provided is what the hooks that are started from here boot: they build nothing themselves.
share_images() { export HARNESS_IMAGES_SHARED=1; }

require_shared_images() {
    local name variable
    for name in services "${PACKAGED[@]}"; do
        variable=$(image_variable "$name")
        [[ -n ${!variable:-} ]] || die "HARNESS_IMAGES_SHARED is set, and $variable is not"
    done
}

# The services that nothing was ever built for here, one a line: a boot would take minutes.
unbuilt_images() {
    local name
    if ! image_exists "tackroom-harness/services:$COMPOSE_PROJECT_NAME" || ! compgen -G "$TARGET_DIR/*/release/harness-services" > /dev/null; then
        say services
    fi
    for name in "${PACKAGED[@]}"; do
        image_exists "$(packaged_image "$name")" || say "$name"
    done
}

packaged_image() { printf 'tackroom-harness/%s:%s' "$1" "$(content_tag "$HARNESS_DIR/$1")"; }

# The content of a directory, short: a tag that changes with it, so that what is unchanged is not built again.
content_tag() {
    local digest
    digest=$(tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c . | sha256sum)
    printf '%s' "${digest:0:12}"
}

# The variable that compose.yaml takes a service's image from.
image_variable() {
    local name=${1^^}
    printf 'HARNESS_%s_IMAGE' "${name//-/_}"
}

# build NAME DOCKER-BUILD-ARGUMENT…: quiet unless it fails. Where the engine's network does not reach the package
# mirror, the host's may.
build() {
    local log=$work/$1.log start=$SECONDS name=$1
    shift
    if ! docker build "$@" > "$log" 2>&1; then
        say "building the image of $name failed; trying again with the host's network"
        if ! docker build --network host "$@" > "$log" 2>&1; then
            tail -n 40 "$log" >&2
            die "the image of $name cannot be built"
        fi
    fi
    say "built the image of $name in $((SECONDS - start)) s"
}

# The packaged images are the same for all checkouts on this engine: whoever comes second waits and finds them built.
# Who has them all waits for nobody.
provide_packaged_images() {
    step 1 "the base image"
    local name variable missing=${REBUILD:-}
    for name in "${PACKAGED[@]}"; do
        variable=$(image_variable "$name")
        export "$variable=$(packaged_image "$name")"
        image_exists "${!variable}" || missing=1
    done
    [[ -n $missing ]] || return 0
    exec 9> "${XDG_RUNTIME_DIR:-/tmp}/tackroom-harness-images.lock"
    if ! flock -n 9; then
        say "another checkout is building the images"
        flock 9
    fi
    "$HARNESS_DIR/base-image.sh"
    build_packaged_images
    exec 9>&-
}

build_packaged_images() {
    local name variable pid builds=()
    step 2 "the images of ${PACKAGED[*]}"
    for name in "${PACKAGED[@]}"; do
        variable=$(image_variable "$name")
        if [[ -n ${REBUILD:-} ]] || ! image_exists "${!variable}"; then
            build "$name" ${REBUILD:+--no-cache} --label tackroom.harness=packaged -t "${!variable}" "$HARNESS_DIR/$name" &
            builds+=($!)
        fi
    done
    for pid in ${builds[@]+"${builds[@]}"}; do
        wait "$pid"
    done
    docker image prune -f --filter label=tackroom.harness=packaged > /dev/null
}

# The commit of this checkout; `dev` where it has none, also when it lies inside a repository of something else.
git_sha() {
    local top
    if top=$(git -C "$REPO_ROOT" rev-parse --show-toplevel 2> /dev/null) && [[ $(cd "$top" && pwd -P) == "$REPO_ROOT" ]]; then
        git -C "$REPO_ROOT" rev-parse --verify --quiet HEAD && return
    fi
    printf 'dev\n'
}

# Links statically, for an image without a system. The profile comes by variables and the target directory is its own:
# the user's builds are not touched. Only main.rs sees GIT_SHA, so another commit recompiles no more than that.
compile_services() {
    local cargo_arguments=(-p harness-services --release --target "$TRIPLE" --target-dir "$TARGET_DIR"
        --manifest-path "$REPO_ROOT/Cargo.toml")
    [[ -z ${REBUILD:-} ]] || cargo clean "${cargo_arguments[@]}"
    unset CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR
    export RUSTFLAGS="-C target-feature=+crt-static" GIT_SHA=$HARNESS_GIT_SHA
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off
    export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=symbols
    exec cargo build "${cargo_arguments[@]}"
}

# The services' image belongs to this checkout alone. Its label says what is in it.
provide_services_image() {
    local context=$TARGET_DIR/image image=tackroom-harness/services:$COMPOSE_PROJECT_NAME content
    mkdir -p "$context/bugs"
    cp "$HARNESS_BINARY" "$HARNESS_DIR/services/Dockerfile" "$context"
    content=$(content_tag "$context")
    export HARNESS_SERVICES_IMAGE=$image
    if [[ -z ${REBUILD:-} ]] && [[ $(docker image inspect -f '{{index .Config.Labels "tackroom.harness.content"}}' "$image" 2> /dev/null) == "$content" ]]; then
        return
    fi
    build services -t "$image" \
        --label "tackroom.harness=$COMPOSE_PROJECT_NAME" \
        --label "tackroom.harness.content=$content" \
        --label "org.opencontainers.image.revision=$HARNESS_GIT_SHA" "$context"
}
