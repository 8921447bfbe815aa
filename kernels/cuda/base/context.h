#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "kernels/buffer.h"
#include "kernels/cuda/device/graph.h"
#include "kernels/cuda/device/memory.h"
#include "kernels/step_arrays.h"

namespace tessera::kernels::cuda {

/// What the operations of one back end share: a stream, the way of host arrays to the device, and
/// scratch memory. Owned and called by one thread.
class Context {
 public:
  /// @param deterministic  A row's bits depend on its own inputs alone (kernels/ops.h), at a cost.
  explicit Context(bool deterministic);

  Stream stream() const { return stream_; }
  bool deterministic() const { return deterministic_; }
  const DeviceProperties& device() const { return device_; }

  /// Waits for everything the stream has. @throws Error{kDevice} for what failed in it.
  void wait() const { synchronize(stream_, watch_); }

  /// Copies behind what the stream has, and waits for it. Host memory may be pageable.
  void copy(const void* from, void* to, std::int64_t num_bytes);

  /// As Backend::watch_waits.
  void watch_waits(WaitWatch watch) { watch_ = std::move(watch); }

  /// Copies a host array to the device, behind what the stream has; arrays of the step are there.
  /// @return Device memory, 16-byte aligned, valid for operations called before the next 8 MiB are
  ///         staged; null for an empty array. Of arrays of the step: as aligned as they are in
  ///         the host's memory.
  template <typename T>
  const T* stage(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    return static_cast<const T*>(
        stage_bytes(values.data(), static_cast<std::int64_t>(values.size_bytes())));
  }

  /// As Backend has them.
  void reserve_step_arrays(std::int64_t num_bytes);
  StepArrays& begin_step_arrays();
  void send_step_arrays();
  StepArrays& step_arrays() { return step_arrays_; }

  /// As Backend::capture.
  std::unique_ptr<Graph> capture(const std::function<void()>& work);

  /// What the products of this back end keep between calls, made by the first: a T, always the
  /// same.
  template <typename T>
  T& products() {
    if (products_ == nullptr) products_ = std::make_shared<T>();
    return *static_cast<T*>(products_.get());
  }

  /// Device memory for one operation, not preserved. Grows in the first steps of a model only.
  /// @throws Error{kInternal} if it must grow although there are graphs that use it.
  std::byte* scratch(std::int64_t num_bytes);

 private:
  static constexpr std::int64_t kAlignment = 16;

  const void* stage_bytes(const void* data, std::int64_t num_bytes);

  bool deterministic_;
  DeviceProperties device_;
  Stream stream_;
  WaitWatch watch_;
  Buffer staging_host_;
  Buffer staging_device_;
  std::int64_t staged_ = 0;  // bytes of the ring in use
  Buffer scratch_;
  std::shared_ptr<void> products_;
  bool has_graphs_ = false;
  StepArrays step_arrays_;
  Event step_arrays_copied_;
};

}  // namespace tessera::kernels::cuda
