#!/bin/sh
# Fails if an object that is compiled for an instruction set offers code to others: a weak symbol is
# an inline function or a template of a shared header, and the linker may take this copy of it for
# the whole program, which then crashes on machines without the instructions.
#
# Usage: check_private_code.sh NM OBJECT...
nm=$1
shift
checked=0
status=0
for object in "$@"; do
  case ${object##*/} in
    *_avx2.cpp.o | *_avx512.cpp.o) ;;
    *) continue ;;
  esac
  checked=$((checked + 1))
  shared=$("$nm" -C "$object" | grep -E ' [WVu] ')
  if [ -n "$shared" ]; then
    echo "$object offers code to other sources:"
    echo "$shared"
    status=1
  fi
done
echo "$checked objects checked"
[ "$checked" -gt 0 ] && exit $status
exit 1
