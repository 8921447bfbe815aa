#!/usr/bin/env bash
# Builds everything and runs every test; ends with CTest's own closing lines and its exit code.
#
#   deploy/test.sh           packages, Release build in build/release, ASan+UBSan and TSan builds of
#                            the tests of common, strategies and coordinator, then all tests
#   deploy/test.sh --quick   Release build and its quick tests: while working
#
# Run the tests of one build again with: ctest --test-dir build/release
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false
for argument in "$@"; do
  case "$argument" in
    --quick) quick=true ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "test.sh: unknown argument $argument (try --help)" >&2; exit 64 ;;
  esac
done

jobs="$(nproc)"
say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

build() {
  local -a options=()
  say "Building $1"
  # Who works in a tree builds one test again and again; who begins one builds all of them once.
  [[ -f "build/$1/CMakeCache.txt" ]] || $quick || options+=(-DTESSERA_UNITY_TESTS=ON)
  cmake --preset "$1" -Wno-dev "${options[@]}" >"build/$1.configure.log" 2>&1 || {
    cat "build/$1.configure.log"
    return 1
  }
  cmake --build "build/$1" --parallel "$jobs"
}

mkdir -p build
if $quick; then
  build release
  say "Testing"
  exec ctest --test-dir build/release --parallel "$jobs" --output-on-failure \
    --label-exclude 'slow|integration'
fi

say "Packages"
deploy/install.sh --test
builds=(release asan tsan)
for name in "${builds[@]}"; do build "$name"; done

# One CTest run over the three builds, so that one summary and one exit code cover all of them.
mkdir -p build/all
printf 'subdirs("%s")\n' "${builds[@]/#/$PWD/build/}" >build/all/CTestTestfile.cmake
say "Testing"
exec ctest --test-dir build/all --parallel "$jobs" --output-on-failure
