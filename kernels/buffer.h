#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace tessera::kernels {

/// Memory for weights, K/V pages, activations, workspaces: the host's, or that of a back end which
/// has its own (Backend::allocate). Zero-filled, 64-byte aligned. Owns; movable; freed by the
/// destructor.
class Buffer {
 public:
  /// Gives memory of `num_bytes` bytes back.
  using Release = void (*)(void* data, std::int64_t num_bytes);

  Buffer() = default;

  /// Host memory, in huge pages where the machine gives them.
  /// @param num_bytes  >= 0.  @throws Error{kDevice} if the machine has no such memory.
  explicit Buffer(std::int64_t num_bytes);

  /// Takes `data` over.
  Buffer(void* data, std::int64_t num_bytes, Release release)
      : data_(data), num_bytes_(num_bytes), release_(release) {}

  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        num_bytes_(std::exchange(other.num_bytes_, 0)),
        release_(other.release_) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(num_bytes_, other.num_bytes_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) release_(data_, num_bytes_);
  }

  void* data() const { return data_; }
  std::int64_t num_bytes() const { return num_bytes_; }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  /// All of it, as elements of T.
  template <typename T>
  std::span<T> values() const {
    return {as<T>(), static_cast<std::size_t>(num_bytes_) / sizeof(T)};
  }

 private:
  void* data_ = nullptr;
  std::int64_t num_bytes_ = 0;
  Release release_ = nullptr;
};

}  // namespace tessera::kernels
