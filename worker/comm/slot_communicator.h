#pragma once

#include <memory>
#include <string_view>

#include "worker/comm/communicator.h"
#include "worker/comm/slot_exchange.h"

namespace tessera {

/// Largest message, in bytes, of which every rank computes the whole sum itself; of longer ones
/// each computes one part and the parts are exchanged in a second round.
inline constexpr std::size_t kOneRoundBytes = 16 * 1024;

/// The collectives of Communicator as rounds of a SlotExchange: written once for all transports.
class SlotCommunicator final : public Communicator {
 public:
  explicit SlotCommunicator(std::unique_ptr<SlotExchange> exchange);

  std::int32_t rank() const override { return rank_; }
  std::int32_t size() const override { return size_; }
  void all_reduce_tree(std::span<float> values) override;
  void all_reduce_sum(std::span<std::uint64_t> values) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void broadcast(std::span<std::byte> bytes, std::int32_t root) override;
  void barrier() override;

 private:
  void sum_in_one_round(std::span<float> values);
  void sum_in_two_rounds(std::span<float> values);
  void show_all(std::string_view call, std::size_t bytes);
  void meet(std::string_view call, std::span<const SlotPart> shown, std::span<const SlotPart> read);

  std::unique_ptr<SlotExchange> exchange_;
  std::int32_t rank_;
  std::int32_t size_;
  bool is_broken_ = false;  ///< A rank was late once: rounds no longer match.
};

}  // namespace tessera
