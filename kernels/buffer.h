#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace tessera::kernels {

/// Memory of a back end: weights, K/V pages, activations, workspaces. Zero-filled, 64-byte
/// aligned, in huge pages where the machine gives them. Owns; movable; freed by the destructor.
class Buffer {
 public:
  Buffer() = default;

  /// @param num_bytes  >= 0.  @throws Error{kDevice} if the machine has no such memory.
  explicit Buffer(std::int64_t num_bytes);

  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        num_bytes_(std::exchange(other.num_bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(num_bytes_, other.num_bytes_);
    return *this;
  }
  ~Buffer();

  void* data() const { return data_; }
  std::int64_t num_bytes() const { return num_bytes_; }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::int64_t num_bytes_ = 0;
};

}  // namespace tessera::kernels
