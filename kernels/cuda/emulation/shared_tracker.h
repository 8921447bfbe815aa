#pragma once

#include <cstdint>
#include <source_location>

#include "kernels/cuda/emulation/execution.h"

namespace tessera::kernels::cuda::emulation {

/// Of the CTA that runs; filled with bytes of 0xFF (NaN) before every CTA.
unsigned char* dynamic_shared_memory();

enum class Access : std::uint8_t { kRead, kWrite, kAtomic };

/// Records an access of this thread to shared memory.
/// @throws Error{kInternal} if it is out of bounds, or races with an access of another thread.
void track(const void* address, int num_bytes, Access access);

/// What SharedSpan's [] gives: reads and writes that are tracked.
template <typename T>
class SharedReference {
 public:
  explicit SharedReference(T* address) : address_(address) {}

  operator T() const {
    track(address_, sizeof(T), Access::kRead);
    return *address_;
  }
  SharedReference& operator=(const T& value) {
    track(address_, sizeof(T), Access::kWrite);
    *address_ = value;
    return *this;
  }
  SharedReference& operator=(const SharedReference& other) { return *this = static_cast<T>(other); }
  SharedReference& operator+=(const T& value) { return *this = static_cast<T>(*this) + value; }
  SharedReference& operator*=(const T& value) { return *this = static_cast<T>(*this) * value; }

 private:
  T* address_;
};

template <typename T>
T atomic_add_shared(T* address, T value) {
  track(address, sizeof(T), Access::kAtomic);
  const T before = *address;
  *address = before + value;
  return before;
}

/// cp.async: the target is unusable (0xFF) until the wait that covers the copy, by this thread.
void async_copy(void* to, const void* from, int num_bytes, bool present);
void async_commit();
void async_wait(int num_pending);

// Of device/phase_barrier.h: what the warp of a thread that arrives has done is ordered before what
// those do that have waited.
void init_phase_barrier(const void* barrier, int num_arrivals);
void arrive_at_phase(const void* barrier);
void wait_for_phase(const void* barrier, unsigned parity, const Site& site = Site::current());

}  // namespace tessera::kernels::cuda::emulation
