#!/usr/bin/env bash
# Fails if a C++ source is not formatted as .clang-format says.
#
# Usage: check_format.sh REPO_ROOT
set -euo pipefail
cd "$1"
mapfile -t sources < <(
  find common kernels strategies coordinator worker tests benchmarks -name '*.h' -o -name '*.cpp')
if ((${#sources[@]} == 0)); then
  echo "no sources found: wrong root?"
  exit 1
fi
printf '%s\0' "${sources[@]}" | xargs -0 -P "$(nproc)" -n 20 clang-format-14 --dry-run -Werror
echo "${#sources[@]} files are formatted"
