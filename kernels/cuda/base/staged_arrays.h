#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "common/tensor/padding.h"
#include "kernels/cuda/base/context.h"

namespace tessera::kernels::cuda {

/// Host arrays that go to the device in one copy: a small copy costs as much time as a small
/// kernel.
class StagedArrays {
 public:
  /// Adds an array. @return What at() knows it by.
  template <typename T>
  std::int64_t add(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    const auto offset = round_up(static_cast<std::int64_t>(bytes_.size()), kAlignment);
    bytes_.resize(static_cast<std::size_t>(offset) + values.size_bytes());
    if (!values.empty()) std::memcpy(bytes_.data() + offset, values.data(), values.size_bytes());
    return offset;
  }

  /// Copies them all; Context::stage() says how long they stay.
  void send(Context& context) { device_ = context.stage(std::span<const std::byte>(bytes_)); }

  /// An array on the device, after send().
  template <typename T>
  const T* at(std::int64_t offset) const {
    return reinterpret_cast<const T*>(device_ + offset);
  }

 private:
  static constexpr std::int64_t kAlignment = 16;

  std::vector<std::byte> bytes_;
  const std::byte* device_ = nullptr;
};

}  // namespace tessera::kernels::cuda
