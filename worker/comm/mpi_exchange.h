#pragma once

#include <mpi.h>

#include <array>
#include <memory>

#include "worker/comm/slot_exchange.h"

namespace tessera {

/// SlotExchange over point-to-point messages of MPI, between machines too. In a round every rank
/// sends a message to every other and awaits one from it, be it empty; nothing blocks inside MPI.
class MpiExchange final : public SlotExchange {
 public:
  static constexpr std::size_t kSlotBytes = 256 * 1024;

  /// @param communicator  Borrowed; point-to-point messages on it are this object's alone.
  MpiExchange(MPI_Comm communicator, const WaitOptions& wait);
  ~MpiExchange() override;
  MpiExchange(const MpiExchange&) = delete;
  MpiExchange& operator=(const MpiExchange&) = delete;

  std::int32_t rank() const override { return rank_; }
  std::int32_t size() const override { return size_; }
  std::size_t slot_bytes() const override { return kSlotBytes; }
  std::byte* slot() override { return memory_; }
  void meet(std::string_view call,
            std::span<const SlotPart> shown,
            std::span<const SlotPart> read) override;
  const std::byte* peer(std::int32_t rank) const override { return received(rank); }

 private:
  std::byte* received(std::int32_t rank) const;
  bool all_done();
  std::uint32_t late_ranks();

  MPI_Comm communicator_;
  WaitOptions wait_;
  std::int32_t rank_ = 0;
  std::int32_t size_ = 1;
  std::byte* memory_ = nullptr;  ///< Own slot, then one for what each rank sends.
  bool has_open_requests_ = false;
  /// Send to rank r, receive from rank r: MPI_REQUEST_NULL once done.
  std::array<MPI_Request, 2 * kMaxRanks> requests_{};
};

}  // namespace tessera
