#include "worker/comm/slot_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "kernels/tree_sum.h"

namespace tessera {
namespace {

using Parts = std::array<SlotPart, kMaxRanks>;

constexpr std::size_t kLineFloats = 16;  // parts of two ranks share no cache line

// Splits [0, count) into `size` parts of whole cache lines; the last ones may be short or empty.
SlotPart float_part(std::size_t count, std::int32_t size, std::int32_t rank) {
  const std::size_t ranks = static_cast<std::size_t>(size);
  const std::size_t lines = (count + kLineFloats - 1) / kLineFloats;
  const std::size_t step = (lines + ranks - 1) / ranks * kLineFloats;
  const std::size_t begin = std::min(count, step * static_cast<std::size_t>(rank));
  const std::size_t end = std::min(count, begin + step);
  return {begin * sizeof(float), (end - begin) * sizeof(float)};
}

// memcpy that allows for null pointers of empty ranges.
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace

SlotCommunicator::SlotCommunicator(std::unique_ptr<SlotExchange> exchange)
    : exchange_(std::move(exchange)), rank_(exchange_->rank()), size_(exchange_->size()) {}

void SlotCommunicator::meet(std::string_view call,
                            std::span<const SlotPart> shown,
                            std::span<const SlotPart> read) {
  TESSERA_CHECK_AS(ErrorCode::kDevice, !is_broken_, call,
                   " on a communicator on which a rank was late before");
  is_broken_ = true;
  exchange_->meet(call, shown, read);
  is_broken_ = false;
}

void SlotCommunicator::show_all(std::string_view call, std::size_t bytes) {
  Parts parts;
  parts.fill({0, bytes});
  const std::span<const SlotPart> all(parts.data(), static_cast<std::size_t>(size_));
  meet(call, all, all);
}

void SlotCommunicator::all_reduce_tree(std::span<float> values) {
  const std::size_t most = exchange_->slot_bytes() / sizeof(float);
  while (!values.empty()) {
    const std::span<float> piece = values.first(std::min(values.size(), most));
    if (piece.size_bytes() <= kOneRoundBytes) {
      sum_in_one_round(piece);
    } else {
      sum_in_two_rounds(piece);
    }
    values = values.subspan(piece.size());
  }
}

void SlotCommunicator::sum_in_one_round(std::span<float> values) {
  copy_bytes(exchange_->slot(), values.data(), values.size_bytes());
  show_all("all_reduce_tree", values.size_bytes());
  std::array<const float*, kMaxRanks> inputs{};
  for (std::int32_t r = 0; r < size_; ++r) {
    inputs[r] = r == rank_ ? values.data() : reinterpret_cast<const float*>(exchange_->peer(r));
  }
  kernels::tree_sum({inputs.data(), static_cast<std::size_t>(size_)}, values.data(), values.size());
}

// Rank r sums part r of what all others show it, and shows the sum.
void SlotCommunicator::sum_in_two_rounds(std::span<float> values) {
  const std::size_t ranks = static_cast<std::size_t>(size_);
  auto* const bytes = reinterpret_cast<std::byte*>(values.data());
  Parts parts;
  Parts mine;
  for (std::int32_t r = 0; r < size_; ++r) parts[r] = float_part(values.size(), size_, r);
  const SlotPart own = parts[rank_];
  mine.fill(own);

  const std::size_t own_end = own.begin + own.bytes;
  copy_bytes(exchange_->slot(), bytes, own.begin);
  copy_bytes(exchange_->slot() + own_end, bytes + own_end, values.size_bytes() - own_end);
  meet("all_reduce_tree", {parts.data(), ranks}, {mine.data(), ranks});

  std::array<const float*, kMaxRanks> inputs{};
  for (std::int32_t r = 0; r < size_; ++r) {
    const std::byte* source = r == rank_ ? bytes : exchange_->peer(r);
    inputs[r] = reinterpret_cast<const float*>(source + own.begin);
  }
  auto* const sum = reinterpret_cast<float*>(bytes + own.begin);
  kernels::tree_sum({inputs.data(), ranks}, sum, own.bytes / sizeof(float));
  copy_bytes(exchange_->slot() + own.begin, sum, own.bytes);
  meet("all_reduce_tree", {mine.data(), ranks}, {parts.data(), ranks});

  for (std::int32_t r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    copy_bytes(bytes + parts[r].begin, exchange_->peer(r) + parts[r].begin, parts[r].bytes);
  }
}

void SlotCommunicator::all_reduce_sum(std::span<std::uint64_t> values) {
  const std::size_t most = exchange_->slot_bytes() / sizeof(std::uint64_t);
  while (!values.empty()) {
    const std::span<std::uint64_t> piece = values.first(std::min(values.size(), most));
    copy_bytes(exchange_->slot(), piece.data(), piece.size_bytes());
    show_all("all_reduce_sum", piece.size_bytes());
    for (std::int32_t r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      const auto* theirs = reinterpret_cast<const std::uint64_t*>(exchange_->peer(r));
      for (std::size_t i = 0; i < piece.size(); ++i) piece[i] += theirs[i];
    }
    values = values.subspan(piece.size());
  }
}

void SlotCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  TESSERA_REQUIRE(all.size() == mine.size() * static_cast<std::size_t>(size_), "all_gather of ",
                  mine.size(), " bytes of ", size_, " ranks into ", all.size());
  for (std::size_t done = 0; done < mine.size();) {
    const std::size_t bytes = std::min(mine.size() - done, exchange_->slot_bytes());
    copy_bytes(exchange_->slot(), mine.data() + done, bytes);
    show_all("all_gather", bytes);
    for (std::int32_t r = 0; r < size_; ++r) {
      std::byte* to = all.data() + static_cast<std::size_t>(r) * mine.size() + done;
      const std::byte* from = r == rank_ ? mine.data() + done : exchange_->peer(r);
      std::memmove(to, from, bytes);  // `mine` may be its place in `all`
    }
    done += bytes;
  }
}

void SlotCommunicator::broadcast(std::span<std::byte> bytes, std::int32_t root) {
  TESSERA_REQUIRE(root >= 0 && root < size_, "broadcast from rank ", root, " of ", size_);
  const std::size_t ranks = static_cast<std::size_t>(size_);
  while (!bytes.empty()) {
    const std::span<std::byte> piece = bytes.first(std::min(bytes.size(), exchange_->slot_bytes()));
    Parts shown{};
    Parts read{};
    if (rank_ == root) {
      copy_bytes(exchange_->slot(), piece.data(), piece.size());
      shown.fill({0, piece.size()});
    } else {
      read[root] = {0, piece.size()};
    }
    meet("broadcast", {shown.data(), ranks}, {read.data(), ranks});
    if (rank_ != root) copy_bytes(piece.data(), exchange_->peer(root), piece.size());
    bytes = bytes.subspan(piece.size());
  }
}

void SlotCommunicator::barrier() {
  show_all("barrier", 0);
}

}  // namespace tessera
