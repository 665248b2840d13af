#!/bin/sh
# What action.yml runs. With docker and this project's image a container of that does the work; else
# the tool does: the one that is installed here, the single file beside this script, or this clone's.
set -euf
here=$(dirname "$0")
tool=$(command -v binfmt-setup) || tool=$here/binfmt-setup.pyz
[ -f "$tool" ] || tool=$here/../../scripts/bootstrap
cached=$RUNNER_TEMP/binfmt-setup/$IMAGE.tar # as in action.yml

# fail STATUS WORDS
fail() {
    printf '::error title=binfmt-setup::%s\n' "$2"
    exit "$1"
}

# group TITLE COMMAND…: whose exit status it has.
group() {
    printf '::group::%s\n' "$1"
    shift
    status=0
    "$@" || status=$?
    echo '::endgroup::'
    return "$status"
}

# yes INPUT VALUE
yes() {
    case $2 in
        true | True | TRUE) return 0 ;;
        false | False | FALSE) return 1 ;;
    esac
    fail 2 "$1 is true or false"
}

# What an image is, by docker: its id, its digests, what is in it.
fetch_image() {
    name=$IMAGE
    if [ -f "$cached" ]; then
        name=binfmt-setup:cached
        docker load --quiet --input "$cached" || return
    elif ! docker pull --quiet -- "$name"; then
        echo "not pulled; looking whether it is here"
    fi
    id=$(docker image inspect --format '{{.Id}}' -- "$name") &&
        digests=$(docker image inspect --format '{{join .RepoDigests " "}}' -- "$name") &&
        version=$(docker run --rm --privileged -- "$id" --version 2>&1) &&
        printf '%s\n' "$id" "$digests" "$version"
}

# A tag may become another image: all calls of this job name the id that it has now.
keep_image() {
    case $IMAGE in
        *@sha256:*) ;;
        *) printf '::notice title=binfmt-setup::a tag may change; now it is %s\n' "${digests%% *}" ;;
    esac
    if [ -n "$cached" ] && [ ! -f "$cached" ]; then
        mkdir -p "$(dirname "$cached")"
        docker tag -- "$id" binfmt-setup:cached
        docker save --output "$cached" binfmt-setup:cached
    fi
}

in_container() {
    docker run --rm --privileged -- "$id" "$@"
}

# The summary is copied out of it: the daemon need not see the files of this machine.
check_in_container() {
    container=$(docker create --privileged --env GITHUB_STEP_SUMMARY=/run/summary -- "$id" "$@")
    status=0
    docker start --attach "$container" || status=$?
    docker cp "$container:/run/summary" - | tar -xO >>"$GITHUB_STEP_SUMMARY"
    docker rm --volumes "$container" >/dev/null
    return "$status"
}

on_runner() {
    if [ "$(id -u)" = 0 ]; then
        "$tool" "$@"
    else
        sudo -n env GITHUB_STEP_SUMMARY="$GITHUB_STEP_SUMMARY" "$tool" "$@"
    fi
}

install_on_runner() {
    shift
    if [ -n "$IMAGE" ]; then
        on_runner install --no-persist --qemu "image:$IMAGE" "$@"
    else
        on_runner install --no-persist --install-qemu "$@"
    fi
}

# Of all that container images come for: "all" would leave out what the machine runs by itself.
platforms_that_run() {
    "$run" check --format json amd64 amd64/v2 amd64/v3 386 arm64 arm/v7 arm/v6 arm/v5 \
        loong64 mips64le ppc64le riscv64 s390x | awk -F '"' '
        /^      "platform": / { name = $4 }
        /^      "ok": / { ok = /true/ }
        /^      "how": "native"/ && ok { own = own "," name }
        /^      "how": "emulated"/ && ok { others = others "," name }
        END { print substr(own others, 2) }'
}

# The versions of QEMU that run these platforms, a word for each.
versions() {
    "$run" check --format json "$@" | awk -F '"' '
        /^      "platform": / { answered = 1 }
        /^        "pinned_version": / { split($4, words, " "); print words[1] ? words[1] : "unknown" }
        END { if (!answered) print "unknown" }' | sort -u
}

take_over='' exercise=''
! yes reset "$RESET" || take_over=--take-over
! yes deep "$DEEP" || exercise=--deep
yes check "$CHECK" || CHECK=''
yes cache-image "$CACHE_IMAGE" || cached=''
case $IMAGE in
    *@sha256:*) ;;
    *) cached='' ;;
esac
# Both end up in lines that GitHub reads: neither may hold another line.
case $IMAGE in *[!A-Za-z0-9._:/@-]*) fail 2 "image is the name of a container image" ;; esac
case $QEMU_VERSION in *[!A-Za-z0-9.+~-]*) fail 2 "qemu-version is a version, such as 10.0" ;; esac
case ${IMAGE##*/} in
    '' | *[@:]*) ;;
    *) IMAGE=$IMAGE${QEMU_VERSION:+":qemu-v$QEMU_VERSION"} ;;
esac

version=''
if [ -n "$IMAGE" ] && docker version >/dev/null 2>&1; then
    group "The image" fetch_image || fail 6 "the image cannot be had or does not start, see above"
fi
case $version in
    *binfmt/binfmt-setup-*)
        run=in_container install=in_container check=check_in_container
        keep_image
        ;;
    *)
        run=on_runner install=install_on_runner check=on_runner
        group "The tool" "$run" --version || fail 6 "the tool cannot be had, see above"
        ;;
esac

# shellcheck disable=SC2046 # One word for each platform.
set -- $(printf %s "$PLATFORMS" | tr ',\n' '  ')
[ "$*" != all ] || set --
[ -z "$take_over" ] || group "Take back what was left" "$run" uninstall ||
    fail "$?" "what was left cannot be taken back, see above"
installed=0 checked=0
group "Install ${*:-all}" "$install" install ${take_over:+"$take_over"} -- "$@" || installed=$?
[ -z "$CHECK" ] || "$check" check --format github -- "$@" || checked=$?
[ "$installed" = 0 ] || fail "$installed" "install ended with status $installed, see its log above"
[ "$checked" = 0 ] || exit "$checked"
# No QEMU can do all of it: what fails is told, and fails no job.
exercised=0
[ -z "$exercise" ] || group Exercises "$run" check "$exercise" -- "$@" || exercised=$?
case $exercised in
    0) ;;
    1) printf '::warning title=binfmt-setup::%s\n' "exercises fail, see the group Exercises" ;;
    *) fail "$exercised" "the exercises ended with status $exercised, see their log above" ;;
esac
if [ -n "$QEMU_VERSION" ]; then
    for found in $(versions -- "$@"); do
        case $found in
            "$QEMU_VERSION" | "$QEMU_VERSION".*) ;;
            *) fail 1 "QEMU $found runs here, not $QEMU_VERSION: name an image that has it, or reset" ;;
        esac
    done
fi
printf 'platforms=%s\n' "$(platforms_that_run)" | tee -a "$GITHUB_OUTPUT"
