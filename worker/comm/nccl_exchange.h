#pragma once

#include <chrono>
#include <thread>

#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_exchange.h"
#include "worker/comm/nccl_library.h"

namespace tessera {

/// DeviceExchange over NCCL. Ranks may share a GPU: they then talk over sockets, slowly.
///
/// Watches the waits of the back end: one that takes longer than the time-out, or in which NCCL
/// finds an error, ends all work on the device that waits for other ranks and throws.
class NcclExchange final : public DeviceExchange {
 public:
  /// Collective. The ranks meet over `communicator` before NCCL connects them.
  /// @param backend  Borrowed; the GPU of the calling thread is its.
  /// @throws Error{kDevice} as `communicator` does, or if NCCL is not there or fails.
  NcclExchange(Communicator& communicator,
               kernels::Backend& backend,
               std::chrono::milliseconds timeout);

  /// Aborts. No graph of its calls may live any more: NCCL waits for them.
  ~NcclExchange() override;
  NcclExchange(const NcclExchange&) = delete;
  NcclExchange& operator=(const NcclExchange&) = delete;

  std::int32_t rank() const override { return rank_; }
  std::int32_t size() const override { return size_; }
  void all_gather(const float* mine, float* all, std::int64_t count) override;
  void exchange(const float* mine, float* theirs, std::int64_t count) override;
  void abort() noexcept override;

 private:
  void on_wait(std::chrono::milliseconds waited);
  void require_usable() const;

  const NcclLibrary& nccl_;
  kernels::Backend& backend_;
  std::int32_t rank_;
  std::int32_t size_;
  std::chrono::milliseconds timeout_;
  NcclLibrary::Communicator* communicator_ = nullptr;  // null once aborted
  const char* last_call_ = "none";
  std::thread abort_;
};

}  // namespace tessera
