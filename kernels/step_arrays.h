#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "kernels/buffer.h"

namespace tessera::kernels {

/// The host arrays that a step gives to the operations, in one piece of memory: one copy takes all
/// of them to the device, where each lies at the same offset. Arrays of equal sizes that are taken
/// in an equal order are at equal addresses, in every step.
///
/// Owned by a back end and used by its thread.
class StepArrays {
 public:
  StepArrays() = default;

  /// @param device  As large as `host`; empty: operations read what lies in `host`.
  StepArrays(Buffer host, Buffer device);

  std::int64_t capacity() const { return host_.num_bytes(); }

  /// Forgets the arrays.
  void clear();

  /// An array behind those taken before, 64-byte aligned, with whatever lies there.
  /// @throws Error{kInternal} if there is no room.
  template <typename T>
  std::span<T> take(std::int64_t count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    return {static_cast<T*>(take_bytes(count * static_cast<std::int64_t>(sizeof(T)))),
            static_cast<std::size_t>(count)};
  }

  /// Room that `count` values of T take at most.
  template <typename T>
  static constexpr std::int64_t bytes_of(std::int64_t count) {
    return count * static_cast<std::int64_t>(sizeof(T)) + kAlignment;
  }

  /// For the back end: equal if equally many arrays were taken that begin at the same offsets.
  std::uint64_t layout() const { return layout_; }

  /// For the back end: all arrays taken, and where they are to be copied, which counts as done.
  struct Transfer {
    const void* host = nullptr;
    void* device = nullptr;
    std::int64_t num_bytes = 0;
  };
  Transfer send();

  /// For the back end: where bytes of these arrays lie on the device; null for other memory.
  /// @throws Error{kInternal} for arrays that were not sent.
  const void* on_device(const void* data, std::int64_t num_bytes) const;

 private:
  static constexpr std::int64_t kAlignment = 64;

  void* take_bytes(std::int64_t num_bytes);

  Buffer host_;
  Buffer device_;
  std::int64_t taken_ = 0;  // bytes
  std::int64_t sent_ = 0;
  std::uint64_t layout_ = 0;
};

}  // namespace tessera::kernels
