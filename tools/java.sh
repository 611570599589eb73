#!/bin/sh
# Spark needs Java 17 or later. Root on Debian or Ubuntu gets one; everybody else is told its name.
found() {
  version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 17 ]
}
found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo 'installing Java for the tests of Spark'
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends default-jre-headless >/dev/null
fi
found || echo 'note: no Java 17 or later; install the package default-jre-headless (or openjdk-17-jre-headless).' >&2
exit 0
