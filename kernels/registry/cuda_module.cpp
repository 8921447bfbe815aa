#include "kernels/registry/cuda_module.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

// Exported by kernels/cuda/module.
using Create = Backend* (*)(const BackendOptions&);
constexpr const char* kCreate = "tessera_create_cuda_backend";

std::string loader_error() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

std::filesystem::path module_path() {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  return program.parent_path().parent_path() / "lib" / "libtessera_cuda.so";
}

// Loaded once and never unloaded: its code is in use until the process ends.
Create load_module() {
  TESSERA_CHECK_AS(ErrorCode::kDevice, dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL) != nullptr,
                   "the cuda back end needs an NVIDIA driver, and this machine has none (",
                   loader_error(), "): use --backend cpu");
  const std::filesystem::path path = module_path();
  TESSERA_CHECK_AS(ErrorCode::kDevice, std::filesystem::exists(path), "the cuda back end, ",
                   path.string(), ", is not there: Tessera was built without a CUDA toolkit");
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  TESSERA_CHECK_AS(ErrorCode::kDevice, module != nullptr,
                   "the cuda back end cannot be loaded: ", loader_error());
  const auto create = reinterpret_cast<Create>(dlsym(module, kCreate));
  TESSERA_CHECK_AS(ErrorCode::kDevice, create != nullptr, path.string(), " has no ", kCreate);
  return create;
}

}  // namespace

std::unique_ptr<Backend> load_cuda_backend(const BackendOptions& options) {
  static const Create create = load_module();
  return std::unique_ptr<Backend>(create(options));
}

}  // namespace tessera::kernels
