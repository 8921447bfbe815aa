#include "worker/comm/shared_memory_exchange.h"

#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "worker/comm/poll_until.h"

namespace tessera {
namespace {

constexpr std::size_t kHeaderBytes = 4096;

}  // namespace

std::size_t SharedMemoryExchange::region_bytes(std::int32_t size) {
  return kHeaderBytes + static_cast<std::size_t>(size) * 2 * kSlotBytes;
}

SharedMemoryExchange::SharedMemoryExchange(SharedRegion region,
                                           std::int32_t rank,
                                           std::int32_t size,
                                           const WaitOptions& wait)
    : region_(std::move(region)), rank_(rank), size_(size), wait_(wait) {
  static_assert(sizeof(Counter) * kMaxRanks <= kHeaderBytes);
  TESSERA_CHECK(region_.bytes() >= region_bytes(size), "a region of ", region_.bytes(),
                " bytes for ", size, " ranks");
  // The pages come here, near this rank, and not in the first steps.
  std::memset(slot_of(rank_, 0), 0, 2 * kSlotBytes);
}

SharedMemoryExchange::Counter& SharedMemoryExchange::counter(std::int32_t rank) const {
  // Zeroed memory is a counter at 0.
  return reinterpret_cast<Counter*>(region_.data())[rank];
}

std::byte* SharedMemoryExchange::slot_of(std::int32_t rank, std::uint64_t round) const {
  const std::size_t index = static_cast<std::size_t>(rank) * 2 + round % 2;
  return region_.data() + kHeaderBytes + index * kSlotBytes;
}

std::uint32_t SharedMemoryExchange::late_ranks() const {
  std::uint32_t late = 0;
  for (std::int32_t r = 0; r < size_; ++r) {
    if (counter(r).round.load(std::memory_order_acquire) < round_) late |= 1U << r;
  }
  return late;
}

void SharedMemoryExchange::meet(std::string_view call,
                                std::span<const SlotPart> /*shown*/,
                                std::span<const SlotPart> /*read*/) {
  ++round_;
  counter(rank_).round.store(round_, std::memory_order_release);
  std::uint32_t late = 0;
  const auto all_came = [&] { return (late = late_ranks()) == 0; };
  if (!poll_until(all_came, wait_.num_spins, wait_.timeout)) throw_late(call, late, wait_.timeout);
}

}  // namespace tessera
