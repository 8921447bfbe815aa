#!/usr/bin/env bash
# Installs the Debian 12 packages that Tessera is built from and runs with.
#
#   deploy/install.sh          what building and running takes
#   deploy/install.sh --test   also what the tests and format checks take; one of them is no Debian
#                              package: the openai client, which goes into build/python-venv
#
# Runs as root, or as a user with sudo. May be run again at any time: when everything is there it
# neither touches the network nor asks for a password.
set -euo pipefail

run_packages=(ca-certificates curl openmpi-bin)
build_packages=(
  g++ cmake ninja-build ccache pkg-config
  libboost1.81-dev                    # Beast and Asio: the HTTP server and client
  libzmq3-dev cppzmq-dev              # coordinator <-> ranks
  libcapnp-dev capnproto              # the frames between them
  libopenmpi-dev                      # bootstrap of the ranks
  prometheus-cpp-dev                  # /metrics
  libcurl4-openssl-dev zlib1g-dev     # asked for by prometheus-cpp's CMake package
  libutf8proc-dev                     # Unicode normalisation in tokenizers
  nlohmann-json3-dev libpcre2-dev libcli11-dev libtomlplusplus-dev libspdlog-dev libfmt-dev)
test_packages=(
  libgtest-dev libgmock-dev libbenchmark-dev
  libboost-context1.81-dev            # fibers: CUDA kernels on the host, in tests
  python3 python3-venv                # include rules, strategy names, clients of a running server
  chromium                            # a person on the page
  clang-format-14
  git                                 # the list of files to check
  iproute2                            # two network namespaces for ranks on two hosts
  prometheus)                         # promtool, and a real scrape

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

with_tests=false
packages=("${run_packages[@]}" "${build_packages[@]}")
for argument in "$@"; do
  case "$argument" in
    --test) with_tests=true; packages+=("${test_packages[@]}") ;;
    -h | --help) usage; exit 0 ;;
    *) echo "install.sh: unknown argument $argument (try --help)" >&2; exit 64 ;;
  esac
done

is_installed() {
  [[ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" == ii* ]]
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "install.sh: ${missing[*]} are missing; run it as root, or install sudo" >&2
    exit 1
  fi
}

install_packages() {
  echo "Installing ${#missing[@]} packages: ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"
  # The package would keep a Prometheus server running on this machine; the tests start their own.
  if [[ " ${missing[*]} " == *" prometheus "* && -d /run/systemd/system ]]; then
    as_root systemctl disable --now prometheus
  fi
}

# The client that users of the API have. At test time alone; what is there already is kept.
install_openai_client() {
  local venv
  venv="$(dirname "$0")/../build/python-venv"
  compgen -G "$venv/lib/*/site-packages/openai" >/dev/null && return
  mkdir -p "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "openai>=2,<4"
}

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "All ${#packages[@]} packages are installed."
else
  install_packages
fi
if $with_tests; then install_openai_client; fi
