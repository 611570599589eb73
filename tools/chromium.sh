#!/bin/sh
# The browser's test needs a Chromium that runs. Root on Debian or Ubuntu gets one; everybody else is told its name.
found() {
  for name in chromium chromium-browser google-chrome; do
    "$name" --version >/dev/null 2>&1 && return 0
  done
  ls "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}"/chromium-*/chrome-linux*/chrome >/dev/null 2>&1
}
found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo 'installing Chromium for the browser test'
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null
  # Ubuntu's package of this name only asks for a snap; Playwright brings a browser of its own.
  found || .venv/bin/playwright install --with-deps chromium
fi
found || echo 'note: no Chromium; install the package chromium (or google-chrome).' >&2
exit 0
