#pragma once

#include <cstdint>

#include "kernels/cuda/device/target.h"

#ifdef TESSERA_CUDA_EMULATION
#include "kernels/cuda/emulation/shared_tracker.h"
#endif

namespace tessera::kernels::cuda {

/// A run of elements in a CTA's shared memory. On a GPU a pointer and nothing else; in the
/// emulation every access is checked: two threads that touch an element, one of them writing, with
/// no barrier between them are an error.
template <typename T>
class SharedSpan {
 public:
  SharedSpan() = default;
  __device__ explicit SharedSpan(T* data) : data_(data) {}

#ifdef TESSERA_CUDA_EMULATION
  emulation::SharedReference<T> operator[](int index) const {
    return emulation::SharedReference<T>(data_ + index);
  }
#else
  __device__ T& operator[](int index) const {
    return data_[index];
  }
#endif
  __device__ SharedSpan operator+(int offset) const {
    return SharedSpan(data_ + offset);
  }

  /// The same bytes as elements of another type, which `data` must be aligned for.
  template <typename U>
  __device__ SharedSpan<U> as() const {
    return SharedSpan<U>(reinterpret_cast<U*>(data_));
  }

  /// For the wrappers of this folder: copies and tensor cores, which report to the tracker
  /// themselves.
  __device__ T* address() const {
    return data_;
  }

 private:
  T* data_ = nullptr;
};

/// The CTA's dynamic shared memory, handed out from its beginning. Every thread takes the same
/// pieces in the same order; the launch gives the size of all of them.
class SharedMemory {
 public:
  __device__ SharedMemory() {
#ifdef TESSERA_CUDA_EMULATION
    next_ = emulation::dynamic_shared_memory();
#else
    extern __shared__ __align__(1024) unsigned char tessera_shared[];
    next_ = tessera_shared;
#endif
  }

  /// @param count  Elements. Pieces begin on 16 bytes.
  template <typename T>
  __device__ SharedSpan<T> take(int count) {
    T* data = reinterpret_cast<T*>(next_);
    next_ += bytes_of<T>(count);
    return SharedSpan<T>(data);
  }

  /// What take<T>(count) uses.
  template <typename T>
  __host__ __device__ static constexpr int bytes_of(int count) {
    return (static_cast<int>(sizeof(T)) * count + 15) / 16 * 16;
  }

 private:
  unsigned char* next_;
};

/// sum += value by many threads at once.
template <typename T>
__device__ T shared_atomic_add(SharedSpan<T> span, int index, T value) {
#ifdef TESSERA_CUDA_EMULATION
  return emulation::atomic_add_shared(span.address() + index, value);
#else
  return atomicAdd(span.address() + index, value);
#endif
}

}  // namespace tessera::kernels::cuda
