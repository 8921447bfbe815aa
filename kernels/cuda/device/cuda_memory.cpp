#include <sched.h>

#include <array>

#include "kernels/cuda/device/cuda_check.h"
#include "kernels/cuda/device/memory.h"

namespace tessera::kernels::cuda {
namespace {

void free_device(void* data, std::int64_t) {
  cudaFree(data);
}
void free_pinned(void* data, std::int64_t) {
  cudaFreeHost(data);
}

}  // namespace

Buffer allocate_device(std::int64_t num_bytes) {
  TESSERA_REQUIRE(num_bytes >= 0, "buffer of ", num_bytes, " bytes");
  if (num_bytes == 0) return {};
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, static_cast<std::size_t>(num_bytes));
  if (status == cudaErrorMemoryAllocation) {
    std::size_t free_bytes = 0;
    std::size_t all_bytes = 0;
    TESSERA_CUDA_CHECK(cudaGetLastError() == cudaErrorMemoryAllocation ? cudaSuccess : status);
    TESSERA_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
    TESSERA_CHECK_AS(ErrorCode::kDevice, false, "the GPU has ", free_bytes >> 20, " of ",
                     all_bytes >> 20, " MiB left, ", num_bytes >> 20,
                     " MiB were asked for: lower kv_memory, max_step_rows or max_model_len");
  }
  TESSERA_CUDA_CHECK(status);
  Buffer buffer(data, num_bytes, &free_device);
  // The stream of this call is another one than those of the back ends, which do not wait for it.
  TESSERA_CUDA_CHECK(cudaMemset(data, 0, static_cast<std::size_t>(num_bytes)));
  TESSERA_CUDA_CHECK(cudaStreamSynchronize(nullptr));
  return buffer;
}

std::int64_t free_device_bytes() {
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  TESSERA_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  return static_cast<std::int64_t>(free_bytes);
}

Buffer allocate_pinned(std::int64_t num_bytes) {
  if (num_bytes == 0) return {};
  void* data = nullptr;
  TESSERA_CUDA_CHECK(cudaMallocHost(&data, static_cast<std::size_t>(num_bytes)));
  return {data, num_bytes, &free_pinned};
}

Stream create_stream() {
  Stream stream = nullptr;
  TESSERA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void copy_async(const void* from, void* to, std::int64_t num_bytes, Stream stream) {
  if (num_bytes == 0) return;
  TESSERA_CUDA_CHECK(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(num_bytes), cudaMemcpyDefault, stream));
}

Event create_event() {
  Event event = nullptr;
  TESSERA_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

void record(Event event, Stream stream) {
  TESSERA_CUDA_CHECK(cudaEventRecord(event, stream));
}

bool has_happened(Event event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status != cudaErrorNotReady) TESSERA_CUDA_CHECK(status);
  return status == cudaSuccess;
}

void synchronize(Stream stream, const WaitWatch& watch) {
  if (!watch) {
    TESSERA_CUDA_CHECK(cudaStreamSynchronize(stream));
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    const cudaError_t status = cudaStreamQuery(stream);
    if (status == cudaSuccess) return;
    if (status != cudaErrorNotReady) TESSERA_CUDA_CHECK(status);
    watch(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                begin));
    sched_yield();  // ranks may have fewer cores than they are
  }
}

DeviceProperties device_properties() {
  int device = 0;
  int major = 0;
  int minor = 0;
  DeviceProperties properties;
  TESSERA_CUDA_CHECK(cudaGetDevice(&device));
  TESSERA_CUDA_CHECK(cudaDeviceGetAttribute(&properties.num_multiprocessors,
                                            cudaDevAttrMultiProcessorCount, device));
  TESSERA_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  TESSERA_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  properties.compute_capability = major * 10 + minor;
  std::array<char, 32> address{};
  TESSERA_CUDA_CHECK(
      cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()), device));
  properties.name = address.data();
  return properties;
}

}  // namespace tessera::kernels::cuda
