#include "kernels/cuda/base/context.h"

#include <cstring>

#include "common/base/error.h"
#include "common/tensor/padding.h"

namespace tessera::kernels::cuda {
namespace {

constexpr std::int64_t kStagingBytes = 8 << 20;

}  // namespace

Context::Context(bool deterministic)
    : deterministic_(deterministic),
      device_(device_properties()),
      stream_(create_stream()),
      staging_host_(allocate_pinned(kStagingBytes)),
      staging_device_(allocate_device(kStagingBytes)) {}

const void* Context::stage_bytes(const void* data, std::int64_t num_bytes) {
  if (num_bytes == 0) return nullptr;
  TESSERA_CHECK(num_bytes <= kStagingBytes, "an array of ", num_bytes, " bytes; at most ",
                kStagingBytes, " are staged");
  if (staged_ + num_bytes > kStagingBytes) {
    wait();
    staged_ = 0;
  }
  std::byte* host = staging_host_.as<std::byte>() + staged_;
  std::byte* device = staging_device_.as<std::byte>() + staged_;
  staged_ = round_up(staged_ + num_bytes, kAlignment);
  std::memcpy(host, data, static_cast<std::size_t>(num_bytes));
  copy_async(host, device, num_bytes, stream_);
  return device;
}

std::byte* Context::scratch(std::int64_t num_bytes) {
  if (scratch_.num_bytes() < num_bytes) {
    wait();
    scratch_ = {};
    scratch_ = allocate_device(num_bytes);
  }
  return scratch_.as<std::byte>();
}

}  // namespace tessera::kernels::cuda
