#!/usr/bin/env bash
# install.sh DIR: installs Postfix and Dovecot with apt, unpacks Exim into DIR/exim-package, since its
# package conflicts with Postfix's, and aiosmtpd from PyPI into DIR/aiosmtpd-package, where no other
# Python program meets it. Fast when everything is there. Meant for a container or a machine of CI: what
# apt installs stays, though none of the daemons is started.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || die "usage: install.sh DIR"
need_root
command -v apt-get >/dev/null || die "no apt-get here: these scripts know Debian and its derivatives only"
mkdir -p "$1"
cd "$1"

packages=(
  postfix postfix-pcre
  sasl2-bin libsasl2-modules libsasl2-modules-db # AUTH of Postfix and Exim
  dovecot-core dovecot-lmtpd dovecot-submissiond
  openssl
  ca-certificates # what the platform trusts: the tests prove that this is not everybody
)
cache=/var/cache/apt/archives # where apt keeps packages, and where "apt-get clean" removes them
policy=/usr/sbin/policy-rc.d
exim="exim-package/usr/sbin/exim4"

apt() {
  # --no-remove: never take away another mail server that someone uses.
  # Lock::Timeout: wait for an apt that is already running.
  DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-remove --no-install-recommends \
    -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root "$@" >>install.log 2>&1
}

# get VERB PACKAGE...: a failure may come from package lists that are missing or old.
get() {
  apt "$@" || { apt update && apt "$@"; } || die "cannot $*" install.log
}

# install PACKAGE...: without starting any daemon. policy-rc.d is how Debian is told so; one that is
# there already is somebody else's and stays as it is.
install() {
  echo "live: installing $*" >&2
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
  get install "$@"
}

installed=$(dpkg-query --show --showformat '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed || true)
[ "$installed" -eq ${#packages[@]} ] || install "${packages[@]}"

# What Exim's own installation would do: its program, the libraries it depends on, its user.
archive() {
  find $cache -name 'exim4-daemon-heavy_*.deb' | sort -V | tail -n 1
}
if [ ! -x $exim ]; then
  if [ -z "$(archive)" ]; then
    get download exim4-daemon-heavy
    mv exim4-daemon-heavy_*.deb $cache # moved when complete, so that the cache never holds half a package
  fi
  dpkg-deb --extract "$(archive)" exim-package
  chmod 755 $exim # it comes setuid root, which no file in a temporary directory should be
fi
if ldd $exim | grep -q 'not found'; then
  mapfile -t libraries < <(dpkg-deb --field "$(archive)" Depends | tr , '\n' | sed 's/^ *\([^ |]*\).*/\1/' |
    grep -vx -e exim4-base -e debconf)
  install "${libraries[@]}"
fi
id Debian-exim >/dev/null 2>&1 ||
  useradd --system --badname --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin Debian-exim

# One release, so that a run next year meets the same server.
aiosmtpd="aiosmtpd-package"
if [ ! -d $aiosmtpd/aiosmtpd ]; then
  python3 -m pip --version >/dev/null 2>&1 || install python3 python3-pip
  python3 -m pip install --quiet --root-user-action=ignore --target $aiosmtpd.new aiosmtpd==1.4.6 >>install.log 2>&1 ||
    die "cannot install aiosmtpd from PyPI" install.log
  mv $aiosmtpd.new $aiosmtpd # moved when complete, so that half of it never passes for it
fi
