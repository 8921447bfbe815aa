#include "worker/comm/nccl_library.h"

#include <dlfcn.h>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr const char* kFile = "libnccl.so.2";
constexpr const char* kWithout = "; --device-collectives host does without it, slowly";

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  TESSERA_CHECK_AS(ErrorCode::kDevice, function != nullptr, kFile, " has no ", name, kWithout);
}

NcclLibrary load_library() {
  void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  TESSERA_CHECK_AS(ErrorCode::kDevice, library != nullptr,
                   "ranks with a GPU each sum over NCCL, which cannot be loaded: ", dlerror(),
                   kWithout);
  NcclLibrary nccl{};
  find(library, "ncclGetUniqueId", nccl.get_unique_id);
  find(library, "ncclCommInitRank", nccl.comm_init_rank);
  find(library, "ncclCommAbort", nccl.comm_abort);
  find(library, "ncclCommGetAsyncError", nccl.comm_get_async_error);
  find(library, "ncclAllGather", nccl.all_gather);
  find(library, "ncclSend", nccl.send);
  find(library, "ncclRecv", nccl.recv);
  find(library, "ncclGroupStart", nccl.group_start);
  find(library, "ncclGroupEnd", nccl.group_end);
  find(library, "ncclGetErrorString", nccl.get_error_string);
  find(library, "ncclGetLastError", nccl.get_last_error);
  return nccl;
}

}  // namespace

const NcclLibrary& NcclLibrary::load() {
  static const NcclLibrary library = load_library();
  return library;
}

void NcclLibrary::check(Result result, const char* function) const {
  TESSERA_CHECK_AS(ErrorCode::kDevice, result == kSuccess, kFile, ": ", function, ": ",
                   get_error_string(result), ". ", get_last_error(nullptr));
}

}  // namespace tessera
