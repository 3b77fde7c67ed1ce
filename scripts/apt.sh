# Shared by the scripts that fetch Debian's packages: apt's ordinary client with a state of its own, one per architecture and
# release. Needs no root and installs nothing. Source lib.sh first; `apt_for ARCHITECTURE [SUITE]` chooses.
# shellcheck shell=bash

need apt-get apt
need dpkg-deb dpkg
mirror_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$mirror_keyring" ] || die "Debian's archive keys are missing; install them with: sudo apt-get install debian-archive-keyring"

apt_for() {
    apt_arch=$1
    apt_suite=${2:-bookworm}
    apt_root=$guest/apt
    [ "$1" = arm64 ] || apt_root=$guest/apt-$1
    [ "$apt_suite" = bookworm ] || apt_root=$apt_root-$apt_suite
    apt_options=(-q -o Dir="$apt_root" -o Dir::State::status="$apt_root/status"
        -o Dir::Etc::SourceList="$apt_root/etc/sources.list" -o Dir::Etc::SourceParts=-
        -o APT::Architecture="$apt_arch" -o APT::Architectures="$apt_arch")
}

# The mirror this system uses, so that proxies and local mirrors keep working; Debian's own otherwise.
mirror() {
    local uri
    uri=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -E '/debian/?$' | head -n 1 || true)
    printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}

apt_private() {
    apt-get "${apt_options[@]}" -o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}

fetch_lists() {
    apt_private update >>"$guest/apt.log" 2>&1 || die "apt could not fetch Debian's package lists; see $guest/apt.log"
}

apt_cache() {
    apt-cache "${apt_options[@]}" "$@"
}

prepare_apt() {
    [ ! -e "$apt_root/ready" ] || return 0
    mkdir -p "$apt_root"/{etc/apt/apt.conf.d,etc/apt/preferences.d,var/lib/apt/lists/partial,var/cache/apt/archives/partial}
    : >"$apt_root/status"
    local uri
    uri=$(mirror)
    {
        printf 'deb [signed-by=%s] %s %s main\n' "$mirror_keyring" "$uri" "$apt_suite"
        printf 'deb [signed-by=%s] %s %s-backports main\n' "$mirror_keyring" "$uri" "$apt_suite"
    } >"$apt_root/etc/sources.list"
    say "fetching package lists ($apt_suite, $apt_arch)"
    : >"$guest/apt.log"
    fetch_lists
    touch "$apt_root/ready"
}

download_closure() { # PACKAGE...
    apt_private install -y --no-install-recommends --download-only "$@" >>"$guest/apt.log" 2>&1
}

# Fetches packages with everything they depend on (not what they recommend) and unpacks them below a directory.
unpack_closure() { # DIRECTORY PACKAGE...
    local into=$1 file
    shift
    mkdir -p "$into"
    # Lists fetched long ago name versions that the mirror no longer has.
    download_closure "$@" || { fetch_lists && download_closure "$@"; } || die "apt could not fetch $*; see $guest/apt.log"
    for file in "$apt_root"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$file" | tar -x -C "$into" --keep-directory-symlink --no-same-owner \
            --exclude='./usr/share/doc*' --exclude=./usr/share/man --exclude=./usr/share/locale \
            --exclude=./usr/share/javascript --exclude='./dev/*'
    done
    rm -f "$apt_root"/var/cache/apt/archives/*.deb
}
