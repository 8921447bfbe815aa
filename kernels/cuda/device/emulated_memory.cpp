#include <cstring>

#include "kernels/available_memory.h"
#include "kernels/cuda/device/memory.h"
#include "kernels/cuda/emulation/recording.h"

namespace tessera::kernels::cuda {

int emulated_compute_capability = 80;

Buffer allocate_device(std::int64_t num_bytes) {
  emulation::forbid_while_recording("an allocation");
  return Buffer(num_bytes);
}

std::int64_t free_device_bytes() {
  return available_memory_bytes();
}

Buffer allocate_pinned(std::int64_t num_bytes) {
  return Buffer(num_bytes);
}

Stream create_stream() {
  return nullptr;
}

void copy_async(const void* from, void* to, std::int64_t num_bytes, Stream) {
  if (num_bytes == 0) return;
  const auto run = [=] { std::memcpy(to, from, static_cast<std::size_t>(num_bytes)); };
  if (auto* work = emulation::recorded_work()) {
    work->push_back(run);
  } else {
    run();
  }
}

Event create_event() {
  return nullptr;
}

void record(Event, Stream) {}

bool has_happened(Event) {
  return true;
}

void synchronize(Stream, const WaitWatch&) {
  emulation::forbid_while_recording("a wait");
}

DeviceProperties device_properties() {
  // Few multiprocessors, so that small cases have several CTAs for each.
  return {.num_multiprocessors = 4,
          .compute_capability = emulated_compute_capability,
          .name = "emulated"};
}

}  // namespace tessera::kernels::cuda
