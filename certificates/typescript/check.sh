#!/bin/sh
# Installs, builds and tests the TypeScript verifier. DROPBEAR_CORPUS and DROPBEAR_REQUIRE_BROWSER: see README.md.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund
rm -rf dist
npm run --silent build
npm test --silent
npm run --silent bench
