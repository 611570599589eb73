#!/bin/sh
# The tests on PostgreSQL need its server. Root on Debian or Ubuntu gets one; everybody else is told its name.
root=${SYSTEM_ROOT:-}  # another one for the script's own test
found() {
  command -v initdb >/dev/null 2>&1 && return 0
  ls "$root"/usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}
found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo 'installing PostgreSQL for the tests on it'
  apt-get update -qq
  # Without a cluster of its own, which would take a port; unless this system has settled that.
  settings=$root/etc/postgresql-common/createcluster.conf
  [ -e "$settings" ] || { mkdir -p "${settings%/*}" && echo 'create_main_cluster = false' >"$settings"; }
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql >/dev/null
fi
found || echo 'note: no PostgreSQL server; install the package postgresql.' >&2
exit 0
