#pragma once

#include <cstring>

#include "kernels/available_memory.h"
#include "kernels/ops.h"

namespace tessera::kernels {

/// Memory of back ends that compute in the host's.
class HostBackend : public Backend {
 public:
  Buffer allocate(std::int64_t num_bytes) override { return Buffer(num_bytes); }
  void upload(const void* host, void* device, std::int64_t num_bytes) override {
    copy(host, device, num_bytes);
  }
  void download(const void* device, void* host, std::int64_t num_bytes) override {
    copy(device, host, num_bytes);
  }

  bool computes_in_host_memory() const override { return true; }
  std::int64_t memory_for_pages() const override {
    constexpr double kShare = 0.6;  // the machine has other things to do
    return static_cast<std::int64_t>(kShare * static_cast<double>(available_memory_bytes()));
  }

 private:
  static void copy(const void* from, void* to, std::int64_t num_bytes) {
    if (num_bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(num_bytes));
  }
};

}  // namespace tessera::kernels
