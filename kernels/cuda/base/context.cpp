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
      staging_device_(allocate_device(kStagingBytes)),
      step_arrays_copied_(create_event()) {}

void Context::copy(const void* from, void* to, std::int64_t num_bytes) {
  // The driver waits in a copy of pageable memory, where nobody watches.
  if (watch_) wait();
  copy_async(from, to, num_bytes, stream_);
  wait();
}

const void* Context::stage_bytes(const void* data, std::int64_t num_bytes) {
  if (num_bytes == 0) return nullptr;
  if (const void* there = step_arrays_.on_device(data, num_bytes)) return there;
  TESSERA_CHECK(!is_captured(stream_), "an array of ", num_bytes,
                " bytes in a graph that is not one of the step's");
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

void Context::reserve_step_arrays(std::int64_t num_bytes) {
  if (step_arrays_.capacity() >= num_bytes) return;
  wait();
  step_arrays_ = {};
  step_arrays_ = {allocate_pinned(num_bytes), allocate_device(num_bytes)};
}

StepArrays& Context::begin_step_arrays() {
  if (!has_happened(step_arrays_copied_)) wait();
  step_arrays_.clear();
  return step_arrays_;
}

void Context::send_step_arrays() {
  const StepArrays::Transfer transfer = step_arrays_.send();
  copy_async(transfer.host, transfer.device, transfer.num_bytes, stream_);
  record(step_arrays_copied_, stream_);
}

std::unique_ptr<Graph> Context::capture(const std::function<void()>& work) {
  Capture capture(stream_);
  work();
  std::unique_ptr<Graph> graph = capture.finish();
  has_graphs_ = true;
  return graph;
}

std::byte* Context::scratch(std::int64_t num_bytes) {
  if (scratch_.num_bytes() < num_bytes) {
    TESSERA_CHECK(!has_graphs_ && !is_captured(stream_), "an operation needs ", num_bytes,
                  " bytes of scratch memory, and graphs were made with ", scratch_.num_bytes());
    wait();
    scratch_ = {};
    scratch_ = allocate_device(num_bytes);
  }
  return scratch_.as<std::byte>();
}

}  // namespace tessera::kernels::cuda
